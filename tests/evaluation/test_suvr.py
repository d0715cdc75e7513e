"""SUVR and the meta-ROI come back as they were put in, by the names of either atlas."""

import numpy as np
import pytest

from m2diff.evaluation.regions import table
from m2diff.evaluation.suvr import agreement, errors_percent, suvr

HOUSE = [
    "cerebellar_cortex_left", "cerebellar_cortex_right", "dorsolateral_parietal_cortex_left", "precuneus_left",
    "posterior_cingulate_cortex_left", "lateral_temporal_cortex_left", "mesial_temporal_cortex_left",
    "postcentral_gyrus_left", "cerebellar_white_matter_left",
]  # fmt: skip
FREESURFER = [
    "Left-Cerebellum-Cortex", "Right-Cerebellum-Cortex", "ctx-lh-inferiorparietal", "ctx-lh-precuneus",
    "ctx-lh-posteriorcingulate", "ctx-lh-inferiortemporal", "ctx-lh-parahippocampal", "ctx-lh-postcentral",
    "Left-Cerebellum-White-Matter",
]  # fmt: skip
LEVELS = np.array([0.0, 2, 4, 6, 3, 5, 8, 1, 12, 0.5])


def measured(names, levels=LEVELS, reference=None):
    labels = np.zeros((18, 20, 20), dtype=np.int16)
    for code in range(1, 10):
        labels[2 * code - 2 : 2 * code] = code
    labels[6:8, 10:] = 5  # the posterior cingulate is larger than the precuneus
    return table(
        levels[labels], labels, voxel_size=(2.0, 2.0, 2.0), names=dict(enumerate(names, start=1)),
        reference=None if reference is None else reference[labels],
    )  # fmt: skip


@pytest.mark.parametrize("names", [HOUSE, FREESURFER])
@pytest.mark.parametrize("other", ["ctx-lh-parstriangularis", "wm-lh-precuneus", "precuneus_white_matter_left"])
def test_a_name_that_only_looks_like_a_region_of_the_meta_roi_is_none(names, other):
    without, beside = suvr(measured(names)), suvr(measured([*names[:6], other, *names[7:]]))
    assert (beside.meta_roi, beside.spared_ratio) == (without.meta_roi, without.spared_ratio)


@pytest.mark.parametrize("names", [HOUSE, FREESURFER])
def test_the_ratios_are_to_the_cerebellar_grey_of_both_sides(names):
    found = suvr(measured(names))
    assert found.regions[names[2]] == pytest.approx(6 / 3) and found.regions[names[5]] == pytest.approx(8 / 3)
    cingulate = (0.5 * 3 + 1.5 * 5) / 2  # by voxels
    assert found.meta_roi == pytest.approx((6 + cingulate + 8) / 3 / 3)
    assert found.spared_ratio == pytest.approx((6 + cingulate + 8) / 3 / 12)


@pytest.mark.parametrize(
    ("part", "name"),
    [
        (2, "dorsolateral_parietal_cortex_right"), (2, "ctx-rh-inferiorparietal"), (2, "Inferior Parietal"),
        (2, "Left-Angular-gyrus"), (4, "posterior_cingulate_cortex_left"), (4, "ctx-rh-posteriorcingulate"),
        (4, "isthmus_cingulate_left"), (4, "ctx-lh-isthmuscingulate"), (4, "ctx-rh-precuneus"),
        (5, "lateral_temporal_cortex_left"), (5, "ctx-rh-inferiortemporal"), (5, "ctx-rh-middletemporal"),
        (5, "Inferior Temporal Gyrus"), (5, "middle_temporal_gyrus_left"), (7, "ctx-rh-postcentral"),
        (7, "ctx-rh-paracentral"), (7, "precentral_gyrus_left"),
    ],
)  # fmt: skip
def test_every_name_of_a_part_is_known(part, name):
    """The part's region bears the name, and nothing else does."""
    names = [*HOUSE[:3], "elsewhere", *HOUSE[4:]]
    usual, found = suvr(measured(names)), suvr(measured([*names[:part], name, *names[part + 1 :]]))
    assert (found.meta_roi, found.spared_ratio) == (usual.meta_roi, usual.spared_ratio)
    assert np.isfinite([usual.meta_roi, usual.spared_ratio]).all()


@pytest.mark.parametrize("part", [2, 4, 5])
def test_a_meta_roi_that_lacks_one_of_its_parts_is_no_number(part):
    names = [*HOUSE[:3], "elsewhere", *HOUSE[4:]]
    assert np.isnan(suvr(measured([*names[:part], "elsewhere", *names[part + 1 :]])).meta_roi)


@pytest.mark.parametrize("name", ["Left-Cerebellum-Cortex", "cerebellar_grey_matter", "Cerebellum Gray Left"])
def test_the_grey_of_the_cerebellum_is_known_by_each_of_its_names(name):
    assert suvr(measured([name, *HOUSE[1:]])).meta_roi == suvr(measured(HOUSE)).meta_roi


def test_a_common_factor_changes_no_ratio_and_a_regional_one_only_its_own():
    truth = measured(HOUSE)
    other = LEVELS * 1.7 * np.where(np.arange(10) == 6, 1.1, 1.0)
    errors = errors_percent(suvr(measured(HOUSE, other)), suvr(truth))
    assert errors.pop(HOUSE[5]) == pytest.approx(10)
    assert list(errors.values()) == pytest.approx([0] * len(errors), abs=1e-9)
    assert suvr(measured(HOUSE, other, LEVELS), reference=True) == suvr(truth)


def test_without_a_cerebellum_there_is_no_ratio():
    found = suvr(measured([f"region {n}" for n in range(9)]))
    assert np.isnan(found.meta_roi) and all(np.isnan(value) for value in found.regions.values())


def test_a_cerebellum_without_activity_gives_no_ratio():
    found = suvr(measured(HOUSE, np.where(np.isin(np.arange(10), (1, 2)), 0, LEVELS)))
    assert np.isnan(found.meta_roi) and np.isfinite(found.spared_ratio)
    assert errors_percent(suvr(measured(HOUSE)), found) == {}


def test_a_region_of_a_few_voxels_has_no_ratio_of_its_own():
    labels = np.ones((10, 10, 10), dtype=np.int16)
    labels[:2, :2, :2] = 2
    names = {1: "cerebellar_cortex_left", 2: "precuneus_left"}
    assert suvr(table(labels.astype(float), labels, voxel_size=(2.0, 2.0, 2.0), names=names)).regions.keys() == {
        "cerebellar_cortex_left"
    }


def test_bias_and_precision_are_mean_and_spread_over_persons():
    found = agreement([1.0, -2.0, 4.0])
    assert (found.bias_percent, found.precision_percent, found.persons) == (pytest.approx(1), pytest.approx(3), 3)
    assert np.isnan(agreement([1.0]).precision_percent) and agreement([]).persons == 0
