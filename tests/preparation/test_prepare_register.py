"""An MRI finds its place on the PET, or is refused."""

import functools
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage
from scipy.spatial.transform import Rotation

from m2diff.errors import BadInput
from m2diff.preparation import mask, register
from m2diff.preparation.mask import PetOnGrid
from m2diff.preparation.pair import prepare
from m2diff.volume import Volume

EDGE = 3.0
SHAPE = (56, 64, 52)
AFFINE = np.diag([EDGE, EDGE, EDGE, 1.0])
AFFINE[:3, 3] = [-EDGE * (n - 1) / 2 for n in SHAPE]


@functools.cache
def pair(noise=0.15, seed=3):
    """A head with folds: grey, white and CSF from one random pattern, as an MRI and as a PET of it."""
    rng = np.random.default_rng(seed)
    x, y, z = np.stack(np.meshgrid(*[(np.arange(n) - (n - 1) / 2) * EDGE for n in SHAPE], indexing="ij"))
    brain = (x / 62) ** 2 + (y / 78) ** 2 + ((z + 0.15 * y) / 56) ** 2 < 1
    folds = ndimage.gaussian_filter(rng.normal(size=SHAPE), 2.5)
    folds /= folds.std()
    tissue = np.where(folds < -0.8, 0, np.where(folds < 0.5, 1, 2))  # CSF, grey, white
    mri = np.where(brain, np.choose(tissue, [0.25, 0.7, 1.0]), 0.0)
    pet = ndimage.gaussian_filter(np.where(brain, np.choose(tissue, [0.05, 1.0, 0.4]), 0.0), 0.8)
    pet += noise * ndimage.gaussian_filter(rng.normal(size=SHAPE), 0.7) * 3 * np.sqrt(pet + 0.01)
    return Volume((900 * mri).astype(np.float32), AFFINE), Volume((5000 * pet).astype(np.float32), AFFINE)


def displacement(degrees, mm, seed=0):
    rng = np.random.default_rng(seed)
    axis, way = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.deg2rad(degrees) * axis).as_matrix()
    matrix[:3, 3] = mm * way
    return matrix


@functools.cache
def aligned(degrees, mm):
    """The pair's MRI, displaced and placed again."""
    mri, pet = pair()
    return register.align(moved(mri, displacement(degrees, mm)), pet)


def moved(volume, matrix):
    return Volume(volume.data, matrix @ volume.affine)


def miss(matrix):
    """Median distance (mm) by which ``matrix`` misplaces the points of the head."""
    points = np.random.default_rng(0).uniform(-50, 50, size=(200, 3))
    return np.median(np.linalg.norm(points @ matrix[:3, :3].T + matrix[:3, 3] - points, axis=1))


@pytest.mark.parametrize(("degrees", "mm"), [(0, 0), (8, 15), (28, 40)])
def test_a_displaced_mri_finds_its_place(degrees, mm):
    found = aligned(degrees, mm)
    assert miss(found.matrix @ displacement(degrees, mm)) < 2.0
    assert found.folds > register.LEAST_FOLDS + 0.2  # far from the edge: machines differ in the last digits
    assert not found.ambiguous


def test_the_same_pair_gives_the_same_matrix():
    mri, pet = pair()
    again = register.align(moved(mri, displacement(8, 15)), pet)
    assert np.array_equal(aligned(8, 15).matrix, again.matrix)


def refused(mri, pet=None):
    with pytest.raises(BadInput, match="does not fit") as caught:
        register.align(mri, pair()[1] if pet is None else pet)
    assert "\n" not in str(caught.value)
    assert "--no-align" in str(caught.value)


@functools.cache
def template():
    """MNI152 at 3 mm and a noisy FDG-like PET of it."""
    from nilearn import datasets

    loaders = (datasets.load_mni152_template, datasets.load_mni152_gm_template, datasets.load_mni152_wm_template)
    t1, grey, white = (load(resolution=3) for load in loaders)
    activity = np.asarray(grey.dataobj) + 0.45 * np.asarray(white.dataobj)
    rng = np.random.default_rng(0)
    pet = ndimage.gaussian_filter(activity + 0.3 * rng.normal(size=activity.shape) * np.sqrt(activity + 0.01), 0.8)
    mri = Volume(np.asarray(t1.dataobj, dtype=np.float32), t1.affine)
    return mri, Volume((5000 * pet).astype(np.float32), t1.affine)


def test_a_real_head_fits_its_own_pet():
    mri, pet = template()
    found = register.align(moved(mri, displacement(10, 12)), pet)
    assert miss(found.matrix @ displacement(10, 12)) < 2.0
    assert found.ambiguous  # the template is symmetric


@pytest.mark.parametrize("axis", [1, 2])
def test_a_head_with_front_and_back_or_top_and_bottom_exchanged_is_refused(axis):
    mri, pet = template()
    refused(Volume(np.flip(mri.data, axis).copy(), mri.affine), pet)


def test_left_and_right_exchanged_is_refused():
    mri, _ = pair()
    refused(Volume(np.flip(mri.data, 0).copy(), mri.affine))


def test_the_mri_of_another_person_is_refused():
    refused(pair(seed=8)[0])


def test_an_mri_of_noise_is_refused():
    refused(Volume(np.random.default_rng(0).random(SHAPE).astype(np.float32), AFFINE))


def test_a_ball_in_place_of_an_mri_is_refused():
    distance = np.linalg.norm(np.indices(SHAPE).T - np.array(SHAPE) / 2, axis=-1).T
    refused(Volume(np.clip(25 - distance, 0, None).astype(np.float32), AFFINE))


def test_explained_is_1_for_a_function_and_0_for_noise():
    x = np.random.default_rng(0).random(20000).astype(np.float32)
    assert register.explained((x - 0.5) ** 2, x) > 0.95
    assert register.explained(np.random.default_rng(1).random(20000).astype(np.float32), x) < 0.01
    assert register.explained(x, np.ones_like(x)) == 0


def test_a_prepared_pair_lies_on_one_grid_and_goes_back():
    mri, pet = pair()
    prepared = prepare(pet, mri, drf=20, align=False)
    assert prepared.low.shape == prepared.mri.shape == prepared.support.shape
    assert prepared.restore(prepared.low).same_grid(pet)
    assert np.abs(prepared.restore(prepared.low).data - pet.data).max() < 1e-3 * pet.data.max()
    assert prepared.mri_on_pet().same_grid(pet)
    assert prepared.drf == 20
    assert prepared.low[prepared.support].max() < 5


def test_the_brain_of_the_mri_is_near_1_however_bright_the_rest_of_the_head_is():
    mri, pet = pair()
    brain = mri.data > 0
    bright = mri.with_data(np.where(brain, mri.data, np.float32(1.5 * mri.data.max())), "in a bright body")
    prepared = prepare(pet, bright, align=False)
    calm = mask.calmed(prepared.low)
    assert np.median(prepared.mri[mask.brain(calm, mask.uptake_level(calm))]) == pytest.approx(1.0, abs=0.1)


def test_a_scan_of_the_full_dose_is_prepared_as_one():
    assert prepare(pair()[1], drf=1).drf == 1.0


def test_a_thousandfold_scan_is_prepared_alike():
    _, pet = pair()
    once, often = prepare(pet), prepare(pet.with_data(pet.data * 1000, "x 1000"))
    assert np.allclose(once.low, often.low, atol=1e-4)
    assert often.scale == pytest.approx(1000 * once.scale, rel=1e-5)
    assert np.isnan(once.drf)


def test_the_placement_found_is_the_one_applied():
    mri, pet = pair()
    straight = prepare(pet, mri, align=False).mri
    mended = prepare(pet, moved(mri, displacement(8, 15))).mri
    assert np.corrcoef(straight.ravel(), mended.ravel())[0, 1] > 0.95


def test_a_placement_that_is_known_is_taken_as_it_is():
    mri, pet = pair()
    place = displacement(8, 15)
    known = register.Alignment(np.linalg.inv(place), register.Quality(1.0, 1.0))
    found = prepare(pet, moved(mri, place), align=known)
    assert found.alignment is known
    assert np.allclose(found.mri, prepare(pet, mri, align=False).mri, atol=1e-4)


def test_the_mri_that_is_shown_beside_the_scan_is_the_mri():
    mri, pet = pair()
    shown = prepare(pet, mri, align=False).mri_on_pet()
    assert np.corrcoef(shown.data.ravel(), mri.data.ravel())[0, 1] > 0.95


def test_an_mri_elsewhere_is_refused_where_nothing_is_aligned():
    mri, pet = pair()
    with pytest.raises(BadInput, match="does not cover"):
        prepare(pet, moved(mri, displacement(0, 300)), align=False)


@pytest.mark.parametrize("dose", [0, -3, 0.5, float("nan"), float("inf")])
def test_an_impossible_dose_is_refused(dose):
    with pytest.raises(BadInput, match="dose"):
        prepare(pair()[1], drf=dose)


def test_a_fit_that_hardly_passes_is_told():
    quality = register.Quality(0.9, 0.5)
    sure, hardly, wrong = (register.Alignment(np.eye(4), quality, folds=folds) for folds in (1.2, 0.86, 0.6))
    assert sure.fits and hardly.fits and not wrong.fits
    assert hardly.doubtful and not sure.doubtful


@pytest.mark.parametrize(("overlap", "fits"), [(0.3, False), (0.4, True)])  # a stripped brain in a head: 0.5
def test_heads_that_hardly_overlap_do_not_fit_whatever_their_folds_say(overlap, fits):
    assert register.Alignment(np.eye(4), register.Quality(overlap, 0.5), folds=1.4).fits == fits


@pytest.mark.parametrize(("handed", "ambiguous"), [(1.0, True), (1.1, True), (1.2, False), (float("nan"), False)])
def test_a_fit_that_is_hardly_better_than_its_mirror_image_is_ambiguous(handed, ambiguous):
    assert register.Alignment(np.eye(4), register.Quality(0.9, 0.5), folds=1.4, handed=handed).ambiguous == ambiguous


def test_heads_that_cover_each_other_overlap_by_one_and_half_a_head_by_two_thirds():
    """Dice: twice the common part over both."""
    block = np.zeros((40, 40, 40), np.float32)
    block[8:32, 8:32, 8:32] = 1.0
    shape = Volume(block, np.diag([2.0, 2.0, 2.0, 1.0]))
    pet = replace(PetOnGrid.of(shape), head=block > 0.5)
    pair_of_blocks = replace(register._Pair.of(shape, pet), mri_head=shape)
    assert pair_of_blocks.quality(np.eye(4)).overlap == pytest.approx(1.0)
    half = block * (np.arange(40) < 20)[:, None, None]
    cut = replace(pair_of_blocks, mri_head=shape.with_data(half, "cut"))
    assert cut.quality(np.eye(4)).overlap == pytest.approx(2 / 3)
