"""One scale a volume, and where the head is."""

import numpy as np
import pytest
from scipy import ndimage

from m2diff.errors import BadInput
from m2diff.preparation import intensity, mask

SHAPE = (80, 90, 70)
PLACE = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
BRAIN = (PLACE**2).sum(0) < 0.7**2
HEAD = (PLACE**2).sum(0) < 0.9**2
NOISE = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 1.0)
NOISE /= NOISE.std()


def pet(level=1.0, noise=0.0, head=0.0):
    clean = ndimage.gaussian_filter(np.where(BRAIN, level, np.where(HEAD, head * level, 0.0)), 1.5)
    return (clean + noise * level * NOISE * np.sqrt(clean / level + 0.01)).astype(np.float32)


def test_the_scale_of_a_brain_is_about_its_mean():
    assert intensity.pet_scale(pet(3.0)) == pytest.approx(3.0, rel=0.2)


@pytest.mark.parametrize("k", [1e-3, 1000.0, 7.3])
def test_the_scale_follows_the_unit(k):
    assert intensity.pet_scale(pet() * np.float32(k)) == pytest.approx(k * intensity.pet_scale(pet()), rel=1e-5)


def test_noise_hardly_moves_the_scale():
    assert intensity.pet_scale(pet(noise=0.35)) == pytest.approx(intensity.pet_scale(pet()), rel=0.03)


def test_hot_spots_hardly_move_the_scale():
    hot = pet()
    hot[40:44, 40:44, 30:34] = 20
    assert intensity.pet_scale(hot) == pytest.approx(intensity.pet_scale(pet()), rel=0.02)


def test_a_negative_background_does_not_move_the_scale():
    assert intensity.pet_scale(pet() - 0.05 * ~HEAD) == pytest.approx(intensity.pet_scale(pet()), rel=0.02)


def test_a_scalp_hardly_moves_the_scale():
    assert intensity.pet_scale(pet(head=0.25)) == pytest.approx(intensity.pet_scale(pet()), rel=0.05)


def test_the_field_of_view_does_not_move_the_scale():
    wide = np.pad(pet(), 20)
    assert intensity.pet_scale(wide) == pytest.approx(intensity.pet_scale(pet()), rel=0.01)


@pytest.mark.parametrize("data", [np.zeros(SHAPE, np.float32), -pet()])
def test_a_scan_without_activity_is_refused(data):
    with pytest.raises(BadInput, match="no activity"):
        intensity.pet_scale(data)


def mri(stripped=False, gain=1.0):
    tissue = np.where((PLACE**2).sum(0) < 0.5**2, 1.2, 0.8)
    outside = 0.0 if stripped else np.where(HEAD & ((PLACE**2).sum(0) > 0.82**2), 2.5, 0.1 * HEAD)
    return (gain * np.where(BRAIN, tissue, outside)).astype(np.float32)


def test_a_whole_head_and_a_stripped_brain_get_the_same_mri_values():
    calm = mask.calmed(pet())
    brain = mask.brain(calm, mask.uptake_level(calm))
    whole, stripped = (intensity.normalise_mri(mri(s), within=brain) for s in (False, True))
    inside = ndimage.binary_erosion(BRAIN, iterations=3)
    assert np.allclose(whole[inside], stripped[inside], rtol=0.02)
    assert np.median(stripped[inside]) == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("gain", [1e-3, 4000.0])
def test_the_mri_has_no_unit(gain):
    assert np.allclose(intensity.normalise_mri(mri(gain=gain)), intensity.normalise_mri(mri()), rtol=1e-3, atol=1e-4)


def test_mri_values_are_limited():
    bright = mri()
    bright[40, 45, 35] = 1e4
    assert intensity.normalise_mri(bright).max() == intensity.MRI_CEILING


def test_an_empty_mri_is_refused():
    with pytest.raises(BadInput, match="no tissue"):
        intensity.normalise_mri(np.zeros(SHAPE, np.float32))


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_support_holds_the_head_and_little_more(noise):
    found = mask.support(pet(noise=noise, head=0.25))
    assert found[HEAD].mean() > 0.99
    assert found.sum() < 1.7 * HEAD.sum()


def test_the_support_is_one_piece_without_the_neighbours():
    noisy = pet()
    noisy[:4, :4, :4] = 1.0
    assert not mask.support(noisy)[:3, :3, :3].any()


def test_a_box_holds_its_mask_and_stays_inside():
    box = mask.box(BRAIN, margin=100)
    assert box == tuple(slice(0, n) for n in SHAPE)
    tight = mask.box(BRAIN)
    assert BRAIN[tight].sum() == BRAIN.sum()
    assert all(BRAIN[tight].any(axis=tuple(a for a in range(3) if a != axis)).all() for axis in range(3))
