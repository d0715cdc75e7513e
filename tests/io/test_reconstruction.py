"""How a scan was reconstructed, off the sidecars that people have."""

from __future__ import annotations

import json
import math

import pytest

from m2diff.io.reconstruction import Reconstruction, reconstruction

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
        ({"ReconMethodName": "VPFX-S", "ReconFilterType": "XYZ Gauss5.00", "ReconFilterSize": "n/a"}, (NAN, NAN, NAN)),
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
    assert made.known and not Reconstruction().known
