"""The tissues that a network may be taught: which region is which, and how a scanner mixes them."""

from __future__ import annotations

import json

import nibabel as nib
import numpy as np
import pytest
from scipy.special import erf

from m2diff.batch import CLASSES
from m2diff.data.tissues import tissue_of, tissue_shares
from m2diff.simulation.regions import CSF, DEEP, REGIONS, WHITE_MATTER

NAMED = {"1": "cerebral_white_matter_left", "2": "putamen_left"}


def shares(tmp_path, edge: float, resolution: float, postfilter: float) -> np.ndarray:
    """Of white matter on the left of a plane in the middle and putamen on the right of it, in a field of nothing."""
    size = round(80 / edge)
    codes = np.zeros((size,) * 3, dtype=np.uint8)
    inner = slice(size // 5, size - size // 5)
    codes[: size // 2, inner, inner], codes[size // 2 :, inner, inner] = 1, 2
    nib.save(nib.Nifti1Image(codes, np.diag([edge, edge, edge, 1.0])), tmp_path / "labels.nii.gz")
    about = {"regions": NAMED, "protocol": {"resolution_mm": resolution, "postfilter_mm": postfilter}}
    (tmp_path / "record.json").write_text(json.dumps(about))
    return tissue_shares(tmp_path / "labels.nii.gz", tmp_path / "record.json")


@pytest.mark.parametrize("edge", [1.0, 2.0])
def test_an_edge_between_tissues_is_as_wide_as_the_scanners_blur_and_its_filter_together(tmp_path, edge):
    found = shares(tmp_path, edge, resolution=6.0, postfilter=8.0)[:, 20, 20]  # along x, 2 mm
    sigma = 10.0 / 2.3548
    x = (np.arange(40) - 19.5) * 2.0
    right = 0.5 * (1 + erf(x / sigma / np.sqrt(2)))
    middle = slice(12, 28)
    assert np.allclose(found[CLASSES.index("putamen"), middle], 255 * right[middle], atol=3)
    assert np.allclose(found[CLASSES.index("white_matter"), middle], 255 * (1 - right[middle]), atol=3)


def test_the_shares_of_a_voxel_are_all_of_it(tmp_path):
    found = shares(tmp_path, 2.0, resolution=3.0, postfilter=4.0).astype(int)
    assert found.shape[0] == len(CLASSES) and np.abs(found.sum(axis=0) - 255).max() <= 2
    assert (found[0, :4] == 255).all() and found[0, 20, 20, 20] == 0  # nothing around, and nothing of it within


@pytest.mark.parametrize(
    ("stem", "tissue"),
    [
        ("putamen", "putamen"), ("caudate", "central_grey"), ("globus_pallidus", "central_grey"),
        ("thalamus", "central_grey"), ("hippocampus", "deep_grey"), ("amygdala", "deep_grey"),
        ("ventral_diencephalon", "deep_grey"), ("brainstem_wo_pons", "deep_grey"), ("pons", "deep_grey"),
    ],
)  # fmt: skip
def test_the_deep_nuclei_are_told_apart(stem, tissue):
    named = [name for code, name in REGIONS.items() if code in DEEP and name.startswith(stem)]
    assert named and {tissue_of(name) for name in named} == {tissue}


def test_every_other_region_of_a_simulation_is_white_matter_fluid_or_cortex():
    for code, name in REGIONS.items():
        if code not in DEEP:
            expected = "white_matter" if code in WHITE_MATTER else "csf" if code == CSF else "cortex"
            assert tissue_of(name) == expected, name
