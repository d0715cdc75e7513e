"""One scale a volume, and where the head is."""

import numpy as np
import pytest
from scipy import ndimage

from m2diff.errors import BadInput
from m2diff.preparation import mask
from m2diff.preparation.mask import PetOnGrid
from m2diff.volume import Volume

SHAPE = (80, 90, 70)
PLACE = np.stack(np.meshgrid(*[np.linspace(-1, 1, n) for n in SHAPE], indexing="ij"))
BRAIN = (PLACE**2).sum(0) < 0.7**2
HEAD = (PLACE**2).sum(0) < 0.9**2
NOISE = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=SHAPE), 1.0)
NOISE /= NOISE.std()


def pet(level=1.0, noise=0.0, head=0.0):
    clean = ndimage.gaussian_filter(np.where(BRAIN, level, np.where(HEAD, head * level, 0.0)), 1.5)
    return (clean + noise * level * NOISE * np.sqrt(clean / level + 0.01)).astype(np.float32)


def on_grid(data):
    return PetOnGrid.of(Volume(np.asarray(data, dtype=np.float32), np.diag([2.0, 2.0, 2.0, 1.0])))


def pet_scale(data):
    return on_grid(data).scale


def test_the_scale_of_a_brain_is_about_its_mean():
    assert pet_scale(pet(3.0)) == pytest.approx(3.0, rel=0.2)


@pytest.mark.parametrize("k", [1e-3, 1000.0, 7.3])
def test_the_scale_follows_the_unit(k):
    assert pet_scale(pet() * np.float32(k)) == pytest.approx(k * pet_scale(pet()), rel=1e-5)


def test_noise_hardly_moves_the_scale():
    assert pet_scale(pet(noise=0.35)) == pytest.approx(pet_scale(pet()), rel=0.03)


def test_hot_spots_hardly_move_the_scale():
    hot = pet()
    hot[40:44, 40:44, 30:34] = 20
    assert pet_scale(hot) == pytest.approx(pet_scale(pet()), rel=0.02)


def test_a_negative_background_does_not_move_the_scale():
    assert pet_scale(pet() - 0.05 * ~HEAD) == pytest.approx(pet_scale(pet()), rel=0.02)


def test_a_scalp_hardly_moves_the_scale():
    assert pet_scale(pet(head=0.25)) == pytest.approx(pet_scale(pet()), rel=0.05)


def test_the_field_of_view_does_not_move_the_scale():
    wide = np.pad(pet(), 20)
    assert pet_scale(wide) == pytest.approx(pet_scale(pet()), rel=0.01)


@pytest.mark.parametrize("data", [np.zeros(SHAPE, np.float32), -pet()])
def test_a_scan_without_activity_is_refused(data):
    with pytest.raises(BadInput, match="no activity"):
        pet_scale(data)


def mri(stripped=False, gain=1.0):
    tissue = np.where((PLACE**2).sum(0) < 0.5**2, 1.2, 0.8)
    outside = 0.0 if stripped else np.where(HEAD & ((PLACE**2).sum(0) > 0.82**2), 2.5, 0.1 * HEAD)
    return (gain * np.where(BRAIN, tissue, outside)).astype(np.float32)


def test_a_whole_head_and_a_stripped_brain_get_the_same_mri_values():
    calm = mask.calmed(pet())
    brain = mask.brain(calm, mask.uptake_level(calm))
    whole, stripped = (mask.normalise_mri(mri(s), within=brain) for s in (False, True))
    inside = ndimage.binary_erosion(BRAIN, iterations=3)
    assert np.allclose(whole[inside], stripped[inside], rtol=0.02)
    assert np.median(stripped[inside]) == pytest.approx(1, abs=0.25)


@pytest.mark.parametrize("gain", [1e-3, 4000.0])
def test_the_mri_has_no_unit(gain):
    assert np.allclose(mask.normalise_mri(mri(gain=gain)), mask.normalise_mri(mri()), rtol=1e-3, atol=1e-4)


def test_mri_values_are_limited():
    bright = mri()
    bright[40, 45, 35] = 1e4
    assert mask.normalise_mri(bright).max() == mask.MRI_CEILING


def test_the_mri_lies_between_nothing_and_four_times_its_tissue():
    """What the networks were trained on; a vessel may shine, and a spline may swing below zero."""
    odd = mri() - 0.05 * ~HEAD
    odd[40, 45, 35] = 1e4
    found = mask.normalise_mri(odd.astype(np.float32))
    assert found.min() == 0.0 and found.max() == 4.0


def test_a_few_vessels_that_shine_do_not_move_the_scale_of_the_mri():
    bright, brain = mri(), on_grid(pet()).brain
    bright[40:44, 45:49, 35:39] = 1e4
    whole, plain = (mask.normalise_mri(image, within=brain) for image in (bright, mri()))
    far = BRAIN & (np.linalg.norm(np.indices(SHAPE).T - [42, 47, 37], axis=-1).T > 10)
    assert np.allclose(whole[far], plain[far], rtol=0.02)


def neck():
    """A brain of 1 in a body of 3 that has many times its volume, and where the brain is."""
    body = np.full(SHAPE, 3.0, np.float32)
    brain = (PLACE**2).sum(0) < 0.4**2
    body[(PLACE**2).sum(0) < 0.5**2] = 0.0
    body[brain] = 1.0
    return body, brain


def test_the_scale_of_the_mri_is_that_of_the_brain_however_much_else_it_shows():
    body, brain = neck()
    inside = ndimage.binary_erosion(brain, iterations=3)
    assert np.median(mask.normalise_mri(body)[inside]) == pytest.approx(1 / 3, rel=0.01)
    assert np.median(mask.normalise_mri(body, within=brain)[inside]) == pytest.approx(1.0, rel=0.01)


def test_a_brain_that_the_mri_hardly_shows_has_no_say_in_its_scale():
    body, brain = neck()
    body[((PLACE**2).sum(0) < 0.8**2) & ~brain] = 0.0
    elsewhere = np.abs((PLACE**2).sum(0) ** 0.5 - 0.6) < 0.1
    elsewhere[brain & (np.abs(PLACE[0]) < 0.05)] = True  # a slice of the brain
    assert np.array_equal(mask.normalise_mri(body, within=elsewhere), mask.normalise_mri(body))


def test_bright_fat_does_not_cut_grey_matter_from_the_tissue():
    radius = (PLACE**2).sum(0)
    head = np.select([radius < 0.35**2, radius < 0.7**2, (radius > 0.8**2) & HEAD], [1.0, 0.7, 1.8], 0.0)
    found = mask.normalise_mri(head.astype(np.float32), within=BRAIN)
    assert np.median(found[BRAIN]) == pytest.approx(1.0, abs=0.01)  # grey is most of the brain


def test_the_level_is_what_100_ml_exceed_or_a_twentieth_of_a_small_image():
    rng = np.random.default_rng(0)
    for size, voxels in ((64, 12_500), (20, 400)):
        image = rng.permutation(size**3).astype(np.float32).reshape(size, size, size)
        assert (image > mask.uptake_level(image)).sum() == voxels


def test_an_empty_mri_is_refused():
    with pytest.raises(BadInput, match="no tissue"):
        mask.normalise_mri(np.zeros(SHAPE, np.float32))


@pytest.mark.parametrize("noise", [0.0, 0.5])
def test_the_support_holds_the_head_and_little_more(noise):
    found = mask.support(pet(noise=noise, head=0.25))
    assert found[HEAD].mean() > 0.99
    assert found.sum() < 1.7 * HEAD.sum()


def test_the_support_is_one_piece_without_the_neighbours():
    noisy = pet()
    noisy[:4, :4, :4] = 1.0
    assert not mask.support(noisy)[:3, :3, :3].any()


def test_the_support_reaches_as_far_beyond_a_sharp_edge_as_its_settings_say():
    """A Gaussian of 10 mm leaves 12 % of an edge's height 5 mm outside; with the margin that is 11 mm."""
    block = np.zeros((70, 70, 70), np.float32)
    block[20:50, 10:60, 10:60] = 1.0
    reach = 2.0 * (mask.support(block)[:, 35, 35].sum() - 30) / 2
    assert reach == pytest.approx(11.0, abs=1.1)


def test_what_is_cold_inside_a_head_belongs_to_it_though_the_neck_is_cut():
    hollow = ((PLACE**2).sum(0) < 0.9**2) & ((PLACE**2).sum(0) > 0.6**2)
    hollow[:, :, :8] = False
    hollow[38:42, 43:47, :30] = False  # a way in from below
    found = mask.support(hollow.astype(np.float32))
    assert found[40, 45, 35] and found[(PLACE**2).sum(0) < 0.5**2].all()


def test_where_nothing_stands_out_the_whole_image_is_the_support():
    assert mask.support(np.zeros((12, 12, 12), np.float32)).all()


def test_the_tissue_of_an_mri_is_one_piece():
    apart = mri()
    apart[:6, :6, :6] = 1.0
    found = mask.tissue(apart)
    assert found[40, 45, 35] and not found[:6, :6, :6].any()


def test_a_mask_grown_by_a_voxel_takes_the_neighbours_that_share_a_face():
    point = np.zeros((5, 5, 5), dtype=bool)
    point[2, 2, 2] = True
    assert mask.grown(point, 1).sum() == 7


def test_a_box_holds_its_mask_and_stays_inside():
    box = mask.box(BRAIN, margin=100)
    assert box == tuple(slice(0, n) for n in SHAPE)
    tight = mask.box(BRAIN)
    assert BRAIN[tight].sum() == BRAIN.sum()
    assert all(BRAIN[tight].any(axis=tuple(a for a in range(3) if a != axis)).all() for axis in range(3))
