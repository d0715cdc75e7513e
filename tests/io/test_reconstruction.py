"""How a scan was reconstructed, off the sidecars that people have."""

from __future__ import annotations

import numpy as np
import pytest

from m2diff.io import nifti
from m2diff.io.info import info
from m2diff.io.reconstruction import reconstruction, without_reconstruction
from m2diff.volume import Volume


@pytest.mark.parametrize(
    ("sidecar", "expected"),
    [
        ({}, ""),
        (
            {
                "ReconMethodName": "OSEM",
                "ReconMethodParameterLabels": ["iterations", "subsets"],
                "ReconMethodParameterValues": [3, 21],
                "ReconFilterType": "Gaussian",
                "ReconFilterSize": 5.0,
            },
            "OSEM, iterations 3, subsets 21, filter Gaussian 5.0",
        ),
        (  # as PET-BIDS shows them: several of each
            {"ReconFilterType": ["Shepp 0.5", "Gaussian"], "ReconFilterSize": [2.5, 4.0]},
            "filter Shepp 0.5 2.5, filter Gaussian 4.0",
        ),
        ({"ReconFilterType": ["Gaussian", "Hann"], "ReconFilterSize": [4]}, "filter Gaussian 4, filter Hann"),
        ({"ReconFilterType": "none", "ReconFilterSize": 0}, "filter none"),
        ({"ReconMethodName": "PSF+TOF\n4i5s\x1b[2J"}, "PSF+TOF 4i5s[2J"),  # nothing moves a cursor
        ({"ReconMethodParameterLabels": "iterations", "ReconMethodParameterValues": [4, "many"]}, "iterations 4"),
        ({"ReconMethodName": 7, "ReconMethodParameterLabels": None, "ReconMethodParameterValues": {"a": 1}}, "7"),
    ],
)
def test_what_a_sidecar_says(sidecar, expected) -> None:
    assert reconstruction(sidecar) == expected


def test_info_shows_it(tmp_path) -> None:
    about = {"Modality": "PT", "ReconMethodName": "OSEM3D 3i21s", "ReconFilterType": "XYZ Gauss5.00"}
    scan = Volume(np.ones((20, 20, 20), dtype=np.float32), np.eye(4), "Bq/mL")
    (found,) = info(nifti.save(scan, tmp_path / "pet.nii.gz", sidecar=about))
    assert "  recon        OSEM3D 3i21s, filter XYZ Gauss5.00" in found.lines()


def test_an_image_made_otherwise_says_nothing_of_it() -> None:
    kept = without_reconstruction({"ReconMethodName": "OSEM", "ReconFilterSize": 5, "Units": "Bq/mL"})
    assert kept == {"Units": "Bq/mL"}
