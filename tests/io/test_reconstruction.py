"""How a scan was reconstructed, off the sidecars that people have."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from m2diff.io import nifti
from m2diff.io.info import info
from m2diff.io.reconstruction import Reconstruction, reconstruction, without_reconstruction
from m2diff.volume import Volume

NAN = math.nan


@pytest.mark.parametrize(
    ("sidecar", "expected"),
    [
        ({}, (NAN, NAN, NAN)),
        (
            {
                "ReconMethodParameterLabels": ["iterations", "subsets"],
                "ReconMethodParameterValues": [3, 21],
                "ReconFilterType": "Gaussian",
                "ReconFilterSize": 5.0,
            },
            (3, 21, 5),
        ),
        (  # as PET-BIDS shows them: several of each, in any order
            {
                "ReconMethodParameterLabels": ["subsets", "iterations", "lower_threshold"],
                "ReconMethodParameterValues": [16, 10, 0],
                "ReconFilterType": ["Shepp 0.5", "Gaussian"],
                "ReconFilterSize": [2.5, 4.0],
            },
            (10, 16, 4),
        ),
        ({"ReconMethodParameterLabels": ["Number of Iterations"], "ReconMethodParameterValues": [4]}, (4, NAN, NAN)),
        ({"ReconMethodName": "OSEM3D 3i21s"}, (3, 21, NAN)),
        ({"ReconMethodName": "PSF+TOF 4i5s", "ReconFilterType": "none"}, (4, 5, 0)),
        ({"ReconMethodName": "OSEM 4it 8sub"}, (4, 8, NAN)),
        ({"ReconMethodName": "VPFX-S", "ReconFilterType": "XYZ Gauss5.00", "ReconFilterSize": "n/a"}, (NAN, NAN, 5)),
        ({"ReconMethodName": "OSEM_3i21s_PSF", "ReconFilterType": "XYZ All-pass"}, (3, 21, 0)),
        ({"ReconFilterType": ["Gaussian", "Gaussian"], "ReconFilterSize": [4, "3"]}, (NAN, NAN, 5)),
        ({"ReconFilterType": ["Gaussian", "Gaussian"], "ReconFilterSize": [4]}, (NAN, NAN, NAN)),
        ({"ReconMethodName": "3D OSEM", "ReconFilterType": "none", "ReconFilterSize": 0}, (NAN, NAN, 0)),
        (
            {
                "ReconMethodParameterLabels": ["iterations", "subsets", "inter-iteration filter"],
                "ReconMethodParameterValues": ["4", "21", 3.0],
            },
            (4, 21, NAN),
        ),
        (  # no OSEM: its iterations are no updates of that kind
            {
                "ReconMethodName": "BSREM",
                "ReconMethodParameterLabels": ["iterations", "subsets", "beta"],
                "ReconMethodParameterValues": [25, 28, 350],
            },
            (NAN, NAN, NAN),
        ),
        (
            {
                "ReconMethodParameterLabels": ["iterations", "subsets", "beta"],
                "ReconMethodParameterValues": [25, 28, 350],
            },
            (NAN, NAN, NAN),
        ),
        ({"ReconMethodName": "FBP 3i21s"}, (NAN, NAN, NAN)),
        (
            {"ReconMethodParameterLabels": ["number of subiterations"], "ReconMethodParameterValues": [84]},
            (NAN, NAN, NAN),
        ),
        ({"ReconFilterType": "Gaussian", "ReconFilterSize": 0}, (NAN, NAN, 0)),
        ({"ReconFilterType": "Gaussian", "ReconFilterSize": True}, (NAN, NAN, NAN)),
        (
            {"ReconMethodParameterLabels": "iterations", "ReconMethodParameterValues": [-1, "many"]},
            (NAN, NAN, NAN),
        ),
        ({"ReconMethodParameterLabels": None, "ReconMethodParameterValues": {"a": 1}}, (NAN, NAN, NAN)),
    ],
)
def test_what_a_sidecar_says(sidecar, expected) -> None:
    assert tuple(reconstruction(sidecar)) == pytest.approx(expected, nan_ok=True)


def test_a_round_trip_through_json_keeps_what_is_unknown() -> None:
    made = Reconstruction(3, NAN, 5.0)
    text = json.dumps(made.to_json(), allow_nan=False)
    assert tuple(Reconstruction.from_json(json.loads(text))) == pytest.approx(tuple(made), nan_ok=True)
    assert all(math.isnan(value) for value in Reconstruction.from_json({}))


def test_several_agree_on_what_all_of_them_say() -> None:
    several = [Reconstruction(3, 21, 5.0), Reconstruction(3, 21, 4.0), Reconstruction(3, NAN, 5.0)]
    assert tuple(Reconstruction.agreed(several)) == pytest.approx((3, NAN, NAN), nan_ok=True)
    assert tuple(Reconstruction.agreed(several[:1])) == (3, 21, 5.0)


def test_it_reads_as_a_line() -> None:
    assert str(Reconstruction(3, 21, 5.0)) == "3 iterations, 21 subsets, Gaussian of 5 mm"
    assert str(Reconstruction(filter_mm=0.0)) == "no filter" and str(Reconstruction()) == ""


def test_info_shows_what_was_understood(tmp_path) -> None:
    about = {"Modality": "PT", "ReconMethodName": "OSEM3D 3i21s", "ReconFilterType": "XYZ Gauss5.00"}
    scan = Volume(np.ones((20, 20, 20), dtype=np.float32), np.eye(4), "Bq/mL")
    (found,) = info(nifti.save(scan, tmp_path / "pet.nii.gz", sidecar=about))
    assert "  recon        3 iterations, 21 subsets, Gaussian of 5 mm" in found.lines()


def test_an_image_made_otherwise_says_nothing_of_it() -> None:
    kept = without_reconstruction({"ReconMethodName": "OSEM", "ReconFilterSize": 5, "Units": "Bq/mL"})
    assert kept == {"Units": "Bq/mL"}
