"""Lower doses of a scan: unbiased, nested, and with the noise that the dose says."""

from __future__ import annotations

import numpy as np
import pytest

from m2diff.errors import BadInput
from m2diff.io import nifti
from m2diff.simulation.lower_dose import lower_dose, write_lower
from m2diff.volume import Volume


@pytest.fixture(scope="module")
def scan() -> Volume:
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in (64, 72, 24)), indexing="ij")
    inside = (grid[0] / 0.7) ** 2 + (grid[1] / 0.8) ** 2 < 1
    return Volume((inside * 8000.0).astype(np.float32), np.diag([2.5, 2.5, 3.0, 1.0]), "Bq/mL")


@pytest.fixture(scope="module")
def ladder(scan) -> dict[float, Volume]:
    return lower_dose(scan, [4, 16, 64], seed=3)


def core(scan: Volume) -> np.ndarray:
    return scan.data > 0


def test_same_grid_and_unit_and_no_bias(scan, ladder):
    for low in ladder.values():
        assert low.same_grid(scan) and low.unit == "Bq/mL"
        assert abs(low.data[core(scan)].mean() / 8000 - 1) < 0.02
    assert "noise stays in" in ladder[4.0].history[-1]


def test_noise_variance_goes_with_the_counts_that_are_missing(scan, ladder):
    """Nested doses: what DRF d adds to the scan has variance (d - 1) times the scan's."""
    variance = {d: (low.data - scan.data)[core(scan)].var() for d, low in ladder.items()}
    assert variance[16.0] / variance[4.0] == pytest.approx(15 / 3, rel=0.15)
    assert variance[64.0] / variance[16.0] == pytest.approx(63 / 15, rel=0.15)


def test_doses_are_nested(scan, ladder):
    a, b = ((ladder[d].data - scan.data)[core(scan)] for d in (16.0, 64.0))
    assert np.corrcoef(a, b)[0, 1] == pytest.approx(np.sqrt(15 / 63), abs=0.08)


def test_the_same_seed_gives_the_same_scan_and_the_file_says_what_it_is(scan, ladder, tmp_path):
    again = lower_dose(scan, [4, 16, 64], seed=3)
    np.testing.assert_array_equal(again[64.0].data, ladder[64.0].data)
    (path,) = write_lower({4.0: ladder[4.0]}, tmp_path, counts=1.0, seed=3)
    assert path.name == "pet_desc-drf4_pet.nii.gz"
    assert '"DoseReductionFactor": 4.0' in path.with_name("pet_desc-drf4_pet.json").read_text()


def test_what_is_made_is_not_said_to_be_reconstructed_as_its_source_was(scan, ladder, tmp_path):
    """Its added noise is that of another reconstruction."""
    about = {"TracerName": "FDG", "ReconMethodName": "OSEM 4i5s", "ReconFilterType": "Gaussian", "ReconFilterSize": 2}
    source = nifti.load(nifti.save(scan, tmp_path / "pet.nii.gz", sidecar=about))
    (path,) = write_lower({4.0: source.with_data(ladder[4.0].data, "lowered")}, tmp_path / "out", counts=1.0, seed=3)
    kept = nifti.read_sidecar(path)
    assert kept["TracerName"] == "FDG" and not any(key.startswith("Recon") for key in kept)


def test_nonsense_is_refused(scan):
    with pytest.raises(BadInput, match="--seed expects"):
        lower_dose(scan, [4], seed=-1)
    with pytest.raises(BadInput, match="above 1"):
        lower_dose(scan, [1])
    with pytest.raises(BadInput, match="counts"):
        lower_dose(scan, [4], counts=0)
