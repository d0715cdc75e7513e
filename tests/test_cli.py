"""The command line refuses bad input in one sentence with exit code 2, and leaves nothing half-written."""

import gzip
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from m2diff.cli import main

RNG = np.random.default_rng(0)


def head(shape=(40, 44, 36)) -> np.ndarray:
    """A noisy ellipsoid: enough of a head for the border to accept it."""
    axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    inside = sum((a / 0.8) ** 2 for a in axes) < 1
    return (inside * RNG.uniform(0.5, 1.5, shape) * 9000).astype(np.float32)


def write(path: Path, data: np.ndarray, affine: np.ndarray | None = None) -> Path:
    nib.Nifti1Image(data, np.diag([4.0, 4, 4, 1]) if affine is None else affine).to_filename(path)
    return path


def truncated(path: Path) -> Path:
    whole = write(path, head()).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    return path


def poisoned(path: Path, value: float) -> Path:
    data = head()
    data[3, 4, 5] = value
    return write(path, data)


def colour(path: Path) -> Path:
    rgb = np.zeros((20, 20, 20), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    nib.Nifti1Image(rgb, np.eye(4)).to_filename(path)
    return path


BAD_PET = {
    "missing": lambda p: p,
    "truncated": truncated,
    "not an image": lambda p: (p.write_bytes(gzip.compress(b"hello")), p)[1],
    "4D": lambda p: write(p, np.stack([head()] * 3, -1)),
    "2D": lambda p: write(p, head()[:, :, 5]),
    "colour": colour,
    "NaN": lambda p: poisoned(p, np.nan),
    "inf": lambda p: poisoned(p, np.inf),
    "all zeros": lambda p: write(p, np.zeros((40, 44, 36), np.float32)),
}


def refused(arguments: list[str], capsys) -> str:
    """Run a command that must be refused; the sentence it gave."""
    with pytest.raises(SystemExit) as end:
        main([str(a) for a in arguments])
    assert end.value.code == 2
    said = capsys.readouterr().err.strip()
    assert said.startswith("m2diff: ") and len(said.splitlines()) == 1 and "Traceback" not in said
    return said


@pytest.mark.parametrize("what", BAD_PET)
def test_a_bad_pet_is_refused_and_nothing_is_written(what, tmp_path, capsys):
    pet = BAD_PET[what](tmp_path / "pet.nii.gz")
    refused(["enhance", pet, "--out", tmp_path / "out"], capsys)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("what", ["missing", "truncated", "4D", "NaN", "all zeros"])
def test_a_bad_mri_is_refused_and_nothing_is_written(what, tmp_path, capsys):
    pet = write(tmp_path / "pet.nii.gz", head())
    mri = BAD_PET[what](tmp_path / "mri.nii.gz")
    refused(["enhance", pet, "--mri", mri, "--out", tmp_path / "out"], capsys)
    assert not (tmp_path / "out").exists()


def test_an_unknown_weights_name_is_refused_with_the_known_ones(tmp_path, capsys):
    pet = write(tmp_path / "pet.nii.gz", head())
    said = refused(["enhance", pet, "--out", tmp_path / "out", "--weights", "m3diff"], capsys)
    assert "m2diff-base" in said and "regress-base" in said
    assert not (tmp_path / "out").exists()


def test_images_on_different_grids_are_not_compared(tmp_path, capsys):
    image = write(tmp_path / "a.nii.gz", head())
    shape = write(tmp_path / "b.nii.gz", head((40, 44, 30)))
    moved = write(tmp_path / "c.nii.gz", head(), np.diag([4.0, 4, 5, 1]))
    for reference in (shape, moved):
        said = refused(["evaluate", image, "--reference", reference, "--mask", image, "--out", tmp_path / "o"], capsys)
        assert "grid" in said
    assert not (tmp_path / "o").exists()


def test_a_mask_that_covers_nothing_is_refused(tmp_path, capsys):
    image = write(tmp_path / "a.nii.gz", head())
    mask = write(tmp_path / "m.nii.gz", np.zeros((40, 44, 36), np.float32))
    said = refused(["evaluate", image, "--reference", image, "--mask", mask, "--out", tmp_path / "o"], capsys)
    assert "mask" in said
    assert not (tmp_path / "o").exists()


def test_a_factor_that_is_no_dose_is_refused(tmp_path, capsys):
    pet = write(tmp_path / "pet.nii.gz", head())
    refused(["enhance", pet, "--out", tmp_path / "out", "--drf", "0.5"], capsys)


def test_an_unknown_preset_is_refused_with_the_known_ones(tmp_path, capsys):
    said = refused(["train", "m3diff", "--data", tmp_path, "--out", tmp_path / "run"], capsys)
    assert "m2diff-base" in said


def test_a_dry_run_prints_the_resolved_preset_and_trains_nothing(tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(
            [
                "train",
                "m2diff-base",
                "--data",
                str(tmp_path),
                "--out",
                str(tmp_path / "run"),
                "--dry-run",
                "--set",
                "train.steps=7",
            ]
        )
    assert end.value.code == 0
    assert "steps: 7" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


def test_a_full_disk_is_said_in_one_sentence_and_leaves_nothing(tmp_path, capsys, monkeypatch):
    pet = write(tmp_path / "pet.nii.gz", head())

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nib.Nifti1Image, "to_filename", full)
    refused(["enhance", pet, "--out", tmp_path / "out", "--weights", "gaussian"], capsys)
    assert not (tmp_path / "out").exists() or not list((tmp_path / "out").iterdir())


def test_a_run_killed_while_it_writes_leaves_no_half_file_under_a_final_name(tmp_path):
    pet, out = write(tmp_path / "pet.nii.gz", head((96, 96, 80))), tmp_path / "out"
    command = [sys.executable, "-m", "m2diff", "enhance", str(pet), "--out", str(out), "--weights", "gaussian"]
    deadline = time.monotonic() + 60
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (out.exists() and any(out.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.0005)  # the first file under any name, a temporary one most likely
    run.send_signal(signal.SIGKILL)
    assert run.wait() == -signal.SIGKILL  # it was still at work
    for left in out.glob("*.nii.gz"):
        assert np.isfinite(np.asarray(nib.load(left).dataobj)).all()  # a file that is there is whole
    for left in out.glob("*.json"):
        json.loads(left.read_text())
    assert pet.exists()


def test_a_dicom_folder_in_gives_a_derived_series_a_nifti_and_a_report_without_the_patient(tmp_path):
    from dicom_files import PATIENT, pet_header, write_series
    from dicom_files import head as small_head

    scan = small_head((64, 64, 24))
    write_series(tmp_path / "Doe^Jane", scan, pet_header())
    out = tmp_path / "out"
    with pytest.raises(SystemExit) as end:
        main(["enhance", str(tmp_path / "Doe^Jane"), "--out", str(out), "--weights", "gaussian", "--quiet"])
    assert end.value.code == 0
    assert len(list((out / "dicom").glob("*.dcm"))) == 24
    for text in (out / "pet_desc-enhanced_pet.json", out / "report.html"):
        assert not any(value in text.read_text() for value in list(PATIENT.values())[:3])
    from m2diff.io.load import load

    ours, series = load(out / "pet_desc-enhanced_pet.nii.gz"), load(out / "dicom")
    assert series.same_grid(ours)
    assert np.abs(series.data - ours.data).max() <= ours.data.max() / 65535
    assert ours.unit == "Bq/mL"


def test_info_names_what_it_sees(tmp_path, capsys):
    from dicom_files import head as small_head
    from dicom_files import pet_header, write_series

    write_series(tmp_path, small_head(), pet_header())
    with pytest.raises(SystemExit):
        main(["info", str(tmp_path)])
    text = capsys.readouterr().out
    assert "Fluorodeoxyglucose" in text and "250 MBq" in text and "SUV" in text and "Bq/mL" in text
    assert "Doe" not in text and "4711" not in text
