"""Consistency along z against errors whose answer is known."""

import numpy as np
import pytest

from m2diff.evaluation.consistency import consistency, slice_axis

SHAPE = (40, 44, 36)
AT = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
MASK = (AT**2).sum(axis=0) < 0.8
TRUTH = np.where(MASK, 5000 + 3000 * AT[2], 100.0)  # changes along z, as anatomy does


def white(sd: float, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, sd, SHAPE)


def test_white_noise_has_one_whatever_the_truth_and_the_mask():
    flat = [MASK & (np.abs(AT[axis]) < 0.3) for axis in (0, 2)]
    for mask in (MASK, *flat):
        found = [consistency(TRUTH + white(100, seed), TRUTH, mask) for seed in range(12)]
        assert np.mean([each.roughness for each in found]) == pytest.approx(1, abs=0.02)
        assert np.mean([each.flicker for each in found]) == pytest.approx(1, abs=0.1)


def test_an_offset_of_each_slice_has_the_roughness_that_its_size_says():
    offsets = np.random.default_rng(1).normal(0, 50, SHAPE[2])
    found = consistency(TRUTH + white(100) + offsets, TRUTH, MASK)
    steps = MASK[..., 1:] & MASK[..., :-1]
    added = np.mean((np.diff(offsets) * np.ones(SHAPE)[..., 1:])[steps] ** 2)
    assert found.roughness == pytest.approx(np.sqrt(1 + added / (2 * 100**2)), rel=0.02)
    assert found.flicker > 10  # whole planes show what single voxels hide


def test_a_small_flicker_is_found_under_much_noise():
    offsets = 5.0 * (-1.0) ** np.arange(SHAPE[2])
    found = consistency(TRUTH + white(100) + offsets, TRUTH, MASK)
    assert found.roughness < 1.05 and found.flicker > 2


def test_an_error_without_slices_of_its_own_has_none():
    found = consistency(TRUTH + 300 * np.sin(9 * AT[0]) + 300 * np.sin(9 * AT[1]), TRUTH, MASK)
    assert found.roughness == pytest.approx(0, abs=1e-9)


def test_another_unit_or_another_axis_changes_nothing():
    noisy = TRUTH + white(100) + 40 * np.random.default_rng(2).normal(size=SHAPE[2])
    plain = consistency(noisy, TRUTH, MASK)
    scaled = consistency(7 * noisy, 7 * TRUTH, MASK)
    assert (scaled.roughness, scaled.flicker) == (pytest.approx(plain.roughness), pytest.approx(plain.flicker))
    turned = consistency(*(np.moveaxis(x, 2, 0) for x in (noisy, TRUTH, MASK)), axis=0)
    assert turned.flicker == pytest.approx(plain.flicker)


def test_planes_that_share_next_to_no_voxels_have_no_say_in_the_flicker():
    ball = (AT**2).sum(axis=0) < 0.4
    stalk = ball.copy()
    stalk[20, 22] = True  # one voxel wide, beyond the ball at both ends
    image = TRUTH + white(100) + np.where(stalk & ~ball, 1e5 * (-1.0) ** np.arange(SHAPE[2]), 0.0)
    with_it, without = (consistency(image, TRUTH, mask).flicker for mask in (stalk, ball))
    assert with_it == pytest.approx(without, rel=0.1)


def test_no_error_is_no_number():
    found = consistency(TRUTH, TRUTH, MASK)
    assert np.isnan(found.roughness) and np.isnan(found.flicker)


def test_the_axis_is_that_of_the_body():
    assert slice_axis(np.diag([2.0, 2, 2, 1])) == slice_axis(np.diag([-2.0, 2, -2, 1])) == 2
    sagittal = np.zeros((4, 4))
    sagittal[1, 0], sagittal[2, 1], sagittal[0, 2], sagittal[3, 3] = -2, 2, 2, 1
    assert slice_axis(sagittal) == 1
