"""Every label of the two atlases has a place, and the table of normals gives plausible people."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from m2diff.simulation import regions

SHARED = Path(os.environ.get("M2DIFF_SHARED", Path(__file__).parents[2] / "../shared"))


IGNORED = {0, 1, 74}  # background, unlabelled, and the vitamin E capsule that marks a side of the head


def test_codes_one_to_52_are_the_columns_of_the_table_of_normals():
    assert len(regions.normals().names) == 52 and len(regions.REGIONS) == 58
    assert regions.REGIONS[1] == "superior_frontal_gyrus_left" and regions.REGIONS[52] == "ventral_diencephalon_right"
    assert (45, 46, tuple(range(37, 53))) == (regions.BRAINSTEM, regions.PONS, regions.DEEP)


def test_left_codes_are_odd_pairs_of_right_codes():
    for code, name in regions.REGIONS.items():
        if name.endswith("_left"):
            assert regions.REGIONS[code + 1] == name.replace("_left", "_right")


def test_the_covariance_is_one_and_drawn_people_are_plausible():
    normals = regions.normals()
    assert np.array_equal(normals.covariance, normals.covariance.T)
    assert np.linalg.eigvalsh(normals.covariance).min() > 0
    drawn = np.random.default_rng(0).multivariate_normal(normals.mean, normals.covariance, 500)
    assert drawn.min() > 0.4 and drawn.max() < 2.6
    assert np.abs(drawn.mean(0) - normals.mean).max() < 0.05


def test_both_atlases_reach_every_region():
    cut = {regions.PONS}  # made by geometry
    isthmus = set(regions.both("isthmus_cingulate_cortex"))  # the same, in BrainCOLOR
    everything = set(regions.REGIONS)
    assert everything - set(regions.FREESURFER.values()) == cut
    assert everything - set(regions.BRAINCOLOR.values()) == cut | isthmus


def test_the_two_sides_of_a_label_go_to_the_two_sides_of_one_region():
    for right in (100, 132, 168, 206):
        assert regions.BRAINCOLOR[right] == regions.BRAINCOLOR[right + 1] + 1
    for left in (1003, 1025, 1035):
        assert regions.FREESURFER[left + 1000] == regions.FREESURFER[left] + 1


def test_freesurfer_numbers_go_where_the_tables_own_list_says():
    path = SHARED / "data/fdg/label_correspondence.csv"
    if not path.is_file():
        pytest.skip("needs data/fdg/label_correspondence.csv under M2DIFF_SHARED")
    with path.open(newline="") as handle:
        for row in csv.DictReader(handle):
            for number in row["FastSurferLabels"].strip("[]").replace("'", "").split(","):
                wanted = regions.BRAINSTEM if row["AnatomicalStruct"] == "pons" else int(row["Label"])
                assert regions.FREESURFER[int(number)] == wanted


def test_every_label_of_the_real_people_maps_to_something():
    paths = sorted((SHARED / "data/malf").glob("*_glm.nii.gz"))[::6]
    if not paths:
        pytest.skip("needs data/malf under M2DIFF_SHARED")
    import nibabel as nib

    for path in paths:
        found = set(np.unique(np.asanyarray(nib.load(path).dataobj)).tolist())
        assert found - set(regions.BRAINCOLOR) <= IGNORED, path.name


def test_the_brainstem_is_cut_into_three_floors():
    labels = np.zeros((10, 10, 30), dtype=np.int16)
    labels[3:7, 3:7, 2:28] = 35
    codes = regions.translate(labels)[5, 5]
    assert codes[27] == codes[2] == regions.BRAINSTEM and codes[15] == regions.PONS


def test_what_has_no_side_is_cut_at_the_midline():
    labels = np.zeros((20, 10, 10), dtype=np.int16)
    labels[:5], labels[-5:], labels[8:12] = 45, 44, 72  # white matter left and right, vermis between
    codes = regions.translate(labels)
    left, right = regions.CEREBELLAR_CORTEX
    assert (codes[8:10] == left).all() and (codes[10:12] == right).all()


def test_freesurfer_is_recognised_by_its_cortex():
    labels = np.zeros((6, 6, 6), dtype=np.int32)
    labels[0, 0, :2] = 1025, 2023
    codes = regions.translate(labels)
    assert regions.REGIONS[int(codes[0, 0, 0])] == "precuneus_left"
    assert regions.REGIONS[int(codes[0, 0, 1])] == "posterior_cingulate_cortex_right"
