"""Regions and lesions: the table says what was put in, and counts only what it should."""

import math

import numpy as np
import pytest

from m2diff.errors import BadInput
from m2diff.evaluation.lesions import LesionTruth, measure
from m2diff.evaluation.regions import cov_percent, eroded, table

VOXEL = (2.0, 2.0, 2.0)


@pytest.fixture()
def brain():
    """(reference, labels, names): cortex and white matter large, a ventricle, and a region of 0.2 mL."""
    labels = np.zeros((30, 30, 30), dtype=np.int16)
    labels[2:14, 2:28, 2:28], labels[14:28, 2:28, 2:28] = 3, 41
    labels[10:16, 10:16, 10:16] = 77
    labels[3:6, 3:6, 3:6] = 200
    reference = np.select([labels == 3, labels == 41, labels == 77, labels == 200], [8000, 4000, 500, 6000], 0)
    names = {3: "Left cortex", 41: "Left Cerebral White Matter", 77: "3rd Ventricle"}
    return reference.astype(np.float32), labels, names


def test_a_known_bias_comes_back_with_its_means_and_volume(brain):
    reference, labels, names = brain
    image = reference * np.where(labels == 3, 1.02, np.where(labels == 41, 0.95, 1.0)).astype(np.float32)
    found = table(image, labels, voxel_size=VOXEL, names=names, reference=reference)
    rows = {row.name: row for row in found.rows}
    assert rows["Left cortex"].bias_percent == pytest.approx(2.0, abs=1e-3)
    assert rows["Left cortex"].mean == pytest.approx(8160)
    assert rows["Left cortex"].reference_mean == pytest.approx(8000)
    assert rows["Left cortex"].volume_ml == pytest.approx((labels == 3).sum() * 0.008)
    assert found.worst.name == "Left Cerebral White Matter"
    assert found.mean_absolute_bias_percent == pytest.approx((2 + 5) / 2, abs=1e-3)


def test_small_regions_and_fluid_spaces_are_listed_but_never_the_worst(brain):
    reference, labels, names = brain
    image = reference * np.where(np.isin(labels, (77, 200)), 2.0, 1.01).astype(np.float32)
    found = table(image, labels, voxel_size=VOXEL, names=names, reference=reference)
    rows = {row.label: row for row in found.rows}
    assert rows[200].name == "region 200"
    assert rows[77].bias_percent == rows[200].bias_percent == pytest.approx(100)
    assert (rows[77].counted, rows[200].counted) == (False, False)
    assert found.worst.bias_percent == pytest.approx(1.0, abs=1e-3)


def test_a_region_without_activity_in_the_reference_has_no_bias_and_is_not_the_worst(brain):
    reference, labels, names = brain
    empty = np.where(labels == 3, 0, reference).astype(np.float32)
    found = table(1.01 * reference, labels, voxel_size=VOXEL, names=names, reference=empty)
    assert math.isnan({row.label: row for row in found.rows}[3].bias_percent)
    assert found.worst.label == 41


def test_without_a_reference_the_means_stand_alone(brain):
    reference, labels, names = brain
    found = table(reference, labels, voxel_size=VOXEL, names=names)
    assert [row.mean for row in found.rows] == pytest.approx([8000, 4000, 500, 6000])
    assert all(math.isnan(row.bias_percent) for row in found.rows)
    assert found.worst is None


def test_cov_is_the_relative_noise_of_the_white_matter_core(brain):
    reference, labels, names = brain
    image = reference + np.random.default_rng(0).normal(0, 200, reference.shape).astype(np.float32)
    image[labels == 3] = 1e5  # nothing of the cortex may spill into it
    found = table(image, labels, voxel_size=VOXEL, names=names, reference=reference)
    assert found.white_matter_cov_percent == pytest.approx(5.0, rel=0.05)
    assert found.reference_white_matter_cov_percent == 0
    assert math.isnan(table(image, labels, voxel_size=VOXEL).white_matter_cov_percent)
    assert math.isnan(cov_percent(image, labels == 999))


@pytest.mark.parametrize("name", ["cerebral_white_matter_left", "Left-Cerebral-White-Matter"])
def test_white_matter_is_found_however_an_atlas_writes_it(brain, name):
    reference, labels, names = brain
    found = table(reference, labels, voxel_size=VOXEL, names={**names, 41: name, 200: "cerebellar_white_matter_left"})
    assert found.white_matter_cov_percent == 0


def test_erosion_is_in_millimetres_and_leaves_thin_things_alone():
    block = np.zeros((21, 21, 21), dtype=bool)
    block[5:16, 5:16, 5:16] = True
    assert eroded(block, (2.0, 2.0, 2.0)).sum() == 9**3
    assert eroded(block, (4.0, 4.0, 4.0)).sum() == 11**3
    assert eroded(block, (1.0, 1.0, 4.0)).sum() == 5 * 5 * 11
    sheet = np.zeros_like(block)
    sheet[10] = True
    assert np.array_equal(eroded(sheet, VOXEL), sheet)
    assert eroded(np.ones((9, 9, 9), dtype=bool), VOXEL).sum() == 7**3  # the end of the grid is an edge


@pytest.mark.parametrize(("edge", "first"), [(1.0, 3), (1.5, 2), (2.0, 1)])
def test_the_core_of_the_white_matter_begins_more_than_3_mm_inside(edge, first):
    """Planes of known values: those whose distance from outside is 3 mm or less do not enter."""
    planes = np.concatenate([np.arange(1.0, 11.0), np.arange(10.0, 0.0, -1.0)]) ** 2
    labels = np.full((20, 20, 20), 2, dtype=np.int16)
    image = np.broadcast_to(planes[:, None, None], labels.shape).astype(np.float32)
    found = table(image, labels, voxel_size=(edge, 10.0, 10.0), names={2: "White Matter"})
    core = planes[first : 20 - first]
    assert found.white_matter_cov_percent == pytest.approx(100 * core.std() / core.mean(), rel=1e-5)


@pytest.mark.parametrize(("voxels", "counted"), [(124, False), (125, True)])  # of 8 microlitres
def test_a_region_counts_from_one_millilitre_on(voxels, counted):
    labels = np.ones((8, 8, 8), dtype=np.int16)
    labels.ravel()[:voxels] = 2
    image = np.where(labels == 2, 2.0, 1.0)
    found = table(image, labels, voxel_size=VOXEL, reference=np.ones_like(image))
    assert found.rows[1].counted == counted
    assert found.worst.label == (2 if counted else 1)


@pytest.mark.parametrize(
    "name",
    ["Left-Lateral-Ventricle", "Left-Inf-Lat-Vent", "CSF", "left_cerebrospinal_fluid", "Left-vessel", "4th-Ventricle"],
)
def test_a_space_of_fluid_is_never_the_worst_region(name):
    labels = np.ones((12, 12, 12), dtype=np.int16)
    labels[:6] = 2
    image = np.where(labels == 2, 9.0, 1.1)
    found = table(image, labels, voxel_size=VOXEL, names={2: name}, reference=np.ones_like(image))
    assert found.worst.label == 1 and found.mean_absolute_bias_percent == pytest.approx(10)


@pytest.fixture()
def lesion():
    """(truth, lesion labels, region labels): a hot ball of factor 1.8 in one of two tissues."""
    x, y, z = np.meshgrid(*(np.arange(30) - 15,) * 3, indexing="ij")
    regions = np.where(x < 4, 1, 2).astype(np.int16)
    truth = np.where(regions == 1, 5000.0, 1000.0)
    codes = (((x + 2) ** 2 + y**2 + z**2) <= 9).astype(np.int16)
    truth[codes == 1] *= 1.8
    return truth.astype(np.float32), codes, regions


@pytest.mark.parametrize("share", [1.0, 0.5, 0.0])
def test_recovery_is_the_share_of_the_contrast_that_is_left(lesion, share):
    truth, codes, regions = lesion
    image = np.where(codes == 1, 5000 * (1 + share * 0.8), truth).astype(np.float32)
    record = [LesionTruth(1, "pet_hot", 1.8)]
    (found,) = measure(image, truth, codes, record, voxel_size=VOXEL, labels=regions)
    assert found.recovery == pytest.approx(share, abs=1e-4)
    assert found.reference_recovery == pytest.approx(share, abs=1e-4)
    assert found.volume_ml == pytest.approx((codes == 1).sum() * 0.008)


def test_only_the_regions_that_a_lesion_touches_are_its_surroundings(lesion):
    truth, codes, regions = lesion
    record = [LesionTruth(1, "pet_hot", 1.8)]
    (within,) = measure(truth, truth, codes, record, voxel_size=VOXEL, labels=regions)
    (mixed,) = measure(truth, truth, codes, record, voxel_size=VOXEL)
    assert within.contrast == pytest.approx(1.8)
    assert mixed.contrast > 1.85


@pytest.mark.parametrize(("edge", "first", "last"), [(1.0, 4, 9), (1.5, 3, 6), (2.0, 2, 4)])
def test_the_surroundings_lie_more_than_3_and_at_most_9_mm_away(edge, first, last):
    """A lesion of one plane in planes of known uptake."""
    codes = np.zeros((31, 5, 5), dtype=np.int16)
    codes[15] = 1
    away = np.abs(np.arange(31) - 15)
    uptake = np.where(away == 0, 60.0, 10.0 + away.astype(float) ** 2)
    image = np.broadcast_to(uptake[:, None, None], codes.shape)
    (found,) = measure(image, image, codes, [LesionTruth(1, "pet_hot", 6.0)], voxel_size=(edge, 7.0, 7.0))
    assert found.contrast == pytest.approx(60.0 / uptake[15 + first : 15 + last + 1].mean())


def line(*uptake: float, lesion: slice) -> tuple[np.ndarray, np.ndarray]:
    """An image of planes 4 mm apart, and the labels of the lesion among them: its neighbours two planes on count."""
    image = np.broadcast_to(np.array(uptake, dtype=np.float64)[:, None, None], (len(uptake), 3, 3)).copy()
    codes = np.zeros(image.shape, dtype=np.int16)
    codes[lesion] = 1
    return image, codes


PLANES = (4.0, 9.0, 9.0)


def test_recovery_is_of_the_recorded_contrast_and_reference_recovery_of_that_which_the_reference_shows():
    image, codes = line(1, 1, 1.2, 1, 1, lesion=slice(2, 3))
    reference, _ = line(2, 2, 2.8, 2, 2, lesion=slice(2, 3))
    (found,) = measure(image, reference, codes, [LesionTruth(1, "pet_hot", 1.8)], voxel_size=PLANES)
    assert (found.contrast, found.reference_contrast) == (pytest.approx(1.2), pytest.approx(1.4))
    assert (found.recovery, found.reference_recovery) == (pytest.approx(0.2 / 0.8), pytest.approx(0.2 / 0.4))


@pytest.mark.parametrize(("expected", "known"), [(1.04, False), (1.06, True), (0.96, False), (0.94, True)])
def test_a_contrast_of_next_to_nothing_has_no_recovery(expected, known):
    image, codes = line(1, 1, expected, 1, 1, lesion=slice(2, 3))
    (found,) = measure(image, image, codes, [LesionTruth(1, "pet_hot", 1.8)], voxel_size=PLANES)
    assert math.isfinite(found.reference_recovery) == known


def test_surroundings_are_taken_within_the_brain_and_never_from_another_lesion():
    image, codes = line(7, 1, 3, 5, 7, lesion=slice(2, 3))
    codes[3] = 2
    within = np.ones(codes.shape, dtype=bool)
    within[[0, 4]] = False
    (found,) = measure(image, image, codes, [LesionTruth(1, "pet_hot", 3)], voxel_size=PLANES, within=within)
    assert found.contrast == pytest.approx(3.0)  # over the plane of 1 alone
    within[1] = False  # nothing is left to compare with
    assert measure(image, image, codes, [LesionTruth(1, "pet_hot", 3)], voxel_size=PLANES, within=within) == ()


def test_what_no_region_names_is_no_surroundings_unless_nothing_else_is_there():
    image, codes = line(7, 1, 3, 3, 7, 7, lesion=slice(2, 4))
    record = [LesionTruth(1, "pet_hot", 3)]
    regions = np.zeros(codes.shape, dtype=np.int16)
    regions[1:3] = 4  # one plane of the lesion lies in a region, the other in none
    (found,) = measure(image, image, codes, record, voxel_size=PLANES, labels=regions)
    assert found.contrast == pytest.approx(3.0)
    regions[1] = 5
    (found,) = measure(image, image, codes, record, voxel_size=PLANES, labels=regions)
    assert found.contrast == pytest.approx(3 / np.mean([7, 1, 7, 7]))


def test_other_lesions_are_no_background(lesion):
    truth, codes, regions = lesion
    codes[13, 15, 19:21] = 2
    truth[codes == 2] = 90000.0
    (first, *_) = measure(truth, truth, codes, [LesionTruth(1, "pet_hot", 1.8)], voxel_size=VOXEL, labels=regions)
    assert first.contrast == pytest.approx(1.8)


def test_an_mri_only_lesion_has_a_contrast_and_no_recovery(lesion):
    truth, codes, regions = lesion
    flat = np.where(codes == 1, 5000, truth).astype(np.float32)
    record = [LesionTruth.from_record({"code": 1, "kind": "mri_only", "factor": 0.6, "centre_mm": [0, 0, 0]})]
    (found,) = measure(truth, flat, codes, record, voxel_size=VOXEL, labels=regions)
    assert found.true_contrast == 1.0
    assert found.contrast == pytest.approx(1.8)  # leaked
    assert found.reference_contrast == pytest.approx(1.0)
    assert math.isnan(found.recovery)
    assert math.isnan(found.reference_recovery)


@pytest.mark.parametrize(("mri_factor", "level", "sign"), [(0.6, 4500, 1), (0.6, 5500, -1), (1.4, 5500, 1)])
def test_what_follows_the_mri_has_leaked(lesion, mri_factor, level, sign):
    truth, codes, regions = lesion
    flat = np.where(codes == 1, 5000, truth).astype(np.float32)
    image = np.where(codes == 1, level, flat).astype(np.float32)
    record = [LesionTruth.from_record({"code": 1, "kind": "mri_only", "factor": mri_factor})]
    (found,) = measure(image, flat, codes, record, voxel_size=VOXEL, labels=regions)
    assert found.leakage == pytest.approx(0.1 * sign)
    (hot,) = measure(image, flat, codes, [LesionTruth(1, "pet_hot", 1.8)], voxel_size=VOXEL, labels=regions)
    assert math.isnan(hot.leakage)


def test_a_lesion_without_a_voxel_is_left_out_and_a_broken_record_refused(lesion):
    truth, codes, _ = lesion
    assert measure(truth, truth, codes, [LesionTruth(9, "pet_cold", 0.5)], voxel_size=VOXEL) == ()
    assert LesionTruth.from_record({"label": 2, "kind": "pet_cold", "contrast": 0.5}) == LesionTruth(2, "pet_cold", 0.5)
    for record in ({"label": 1}, {"kind": "pet_hot", "factor": 2}, {"label": 1, "kind": "pet_hot"}):
        with pytest.raises(BadInput, match="label, kind and contrast"):
            LesionTruth.from_record(record)
    with pytest.raises(BadInput, match="kind is one of"):
        LesionTruth.from_record({"label": 1, "kind": "tumour", "contrast": 2})
