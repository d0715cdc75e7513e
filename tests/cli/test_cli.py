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

from m2diff.cli.app import main

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
    pet = write(tmp_path / "pet.nii.gz", head((96, 96, 80)), np.diag([2.0, 2, 2, 1]))
    out = tmp_path / "out"
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
    from m2diff.io.load import load_image

    ours, series = load_image(out / "pet_desc-enhanced_pet.nii.gz"), load_image(out / "dicom")
    (out / "dicom" / "00025.dcm").write_bytes(b"of an earlier, longer series")
    with pytest.raises(SystemExit):
        main(["enhance", str(tmp_path / "Doe^Jane"), "--out", str(out), "--weights", "gaussian", "--quiet"])
    assert len(list((out / "dicom").glob("*.dcm"))) == 24
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


def said(arguments: list[object], capsys) -> tuple[int, list[dict]]:
    """Run a command with --json; its exit code and the objects it spoke."""
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments), "--json"])
    captured = capsys.readouterr()
    assert captured.err == ""
    return end.value.code, [json.loads(line) for line in captured.out.splitlines()]


def test_every_verb_knows_quiet_and_json():
    import typer

    from m2diff.cli.app import app
    from m2diff.cli.bids import parser

    for name, command in typer.main.get_command(app).commands.items():
        known = {option for parameter in command.params for option in parameter.opts}
        if name == "bids":
            known |= {option for action in parser()._actions for option in action.option_strings}
        assert {"--quiet", "--json"} <= known, name


def test_json_is_one_object_a_line_for_results_notes_and_errors(tmp_path, capsys):
    pet = write(tmp_path / "pet.nii.gz", head())
    code, lines = said(["enhance", pet, "--out", tmp_path / "out", "--weights", "gaussian"], capsys)
    assert code == 0 and [line["event"] for line in lines].count("made") == 2
    code, lines = said(["evaluate", pet, "--reference", pet, "--mask", pet], capsys)
    assert code == 0 and lines[0]["event"] == "result"
    code, lines = said(["lower-dose", pet, "--out", tmp_path / "low", "--drf", "4"], capsys)
    assert code == 0 and {line["event"] for line in lines} == {"made", "note"}
    for verb in ("info", "convert"):
        code, lines = said([verb, tmp_path / "no", *([tmp_path / "o"] if verb == "convert" else [])], capsys)
        assert code == 2 and lines[0]["event"] == "error"


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("m2diff en", "enhance"), ("m2diff enhance --sam", "--samples")],
)
def test_the_shell_completes_verbs_and_options(typed, offered):
    import os

    environment = {**os.environ, "_M2DIFF_COMPLETE": "complete_bash", "COMP_WORDS": typed}
    environment["COMP_CWORD"] = str(len(typed.split()) - 1)
    command = [sys.executable, "-c", "from m2diff.cli.app import main; import sys; sys.argv = ['m2diff']; main()"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [offered]


def test_the_version_is_said(capsys):
    with pytest.raises(SystemExit) as end:
        main(["--version"])
    assert end.value.code == 0 and capsys.readouterr().out.startswith("m2diff 0.")


@pytest.mark.parametrize("verb", ["enhance", "evaluate", "lower-dose", "convert"])
def test_a_file_in_the_way_of_the_output_is_one_sentence(verb, tmp_path, capsys):
    pet = write(tmp_path / "pet.nii.gz", head())
    (tmp_path / "file").write_text("mine")
    out = tmp_path / "file"
    rest = {
        "enhance": ["--out", out, "--weights", "gaussian", "--quiet"],
        "evaluate": ["--reference", pet, "--mask", pet, "--out", out],
        "lower-dose": ["--drf", "4", "--out", out, "--quiet"],
        "convert": [out / "x.nii.gz"],
    }
    with pytest.raises(SystemExit) as end:
        main([verb, str(pet), *map(str, rest[verb])])
    told = capsys.readouterr().err
    assert end.value.code == 2 and "Traceback" not in told and len(told.strip().splitlines()) == 1
    assert out.read_text() == "mine"


def test_a_frame_of_a_dynamic_nifti_can_be_picked(tmp_path, capsys):
    first = head()
    pet = write(tmp_path / "pet.nii.gz", np.stack([first, 2 * first], -1))
    (tmp_path / "pet.json").write_text(json.dumps({"FrameDuration": [60, 120], "Units": "Bq/mL"}))
    assert "pick one (--frame)" in refused(["enhance", pet, "--out", tmp_path / "o"], capsys)
    assert "2 frame(s)" in refused(["enhance", pet, "--out", tmp_path / "o", "--frame", "3"], capsys)
    with pytest.raises(SystemExit) as end:
        main(["convert", str(pet), str(tmp_path / "two.nii.gz"), "--frame", "2"])
    assert end.value.code == 0
    np.testing.assert_allclose(nib.load(tmp_path / "two.nii.gz").get_fdata(), 2 * first, rtol=1e-6)
    assert json.loads((tmp_path / "two.json").read_text())["FrameDuration"] == [120]


def test_lower_dose_picks_a_series_too(tmp_path, capsys):
    from dicom_files import head as small_head
    from dicom_files import pet_header, write_series

    write_series(tmp_path / "in", small_head(), pet_header(), name="AC", number=1)
    write_series(tmp_path / "in", small_head(), pet_header(), name="NAC", number=2, prefix="n")
    assert "--series" in refused(["lower-dose", tmp_path / "in", "--out", tmp_path / "o"], capsys)
    with pytest.raises(SystemExit) as end:
        main(["lower-dose", str(tmp_path / "in"), "--out", str(tmp_path / "o"), "--series", "ac", "--quiet"])
    assert end.value.code == 0 and (tmp_path / "o" / "pet_desc-drf20_pet.nii.gz").is_file()


TELLING = (
    "PatientName PatientID OtherPatientIDs PatientBirthName PatientAddress AccessionNumber StudyID StudyDescription "
    "ReferringPhysicianName PerformingPhysicianName OperatorsName InstitutionName InstitutionAddress StationName "
    "PatientComments ImageComments AdditionalPatientHistory DeviceSerialNumber RequestedProcedureID ProtocolName"
)
DATES = "PatientBirthDate StudyDate SeriesDate AcquisitionDate ContentDate PerformedProcedureStepStartDate"


def test_nothing_that_tells_of_the_patient_leaves_the_headers(tmp_path, capsys):
    from dicom_files import head as small_head
    from dicom_files import mr_header, pet_header, write_series

    pet, mri = pet_header(), mr_header()
    for header in (pet, mri):
        for number, keyword in enumerate(TELLING.split()):
            setattr(header, keyword, f"TELL{number}TALE")
        for keyword in DATES.split():
            setattr(header, keyword, "20210709")
    pet.RadiopharmaceuticalInformationSequence[0].RadiopharmaceuticalStartDateTime = "20210709093000"
    source, out = tmp_path / "in", tmp_path / "out"
    write_series(source / "pet", small_head((64, 64, 24)), pet, name="brain")
    write_series(source / "mr", small_head((64, 64, 24)), mri, name="T1")
    for arguments in (
        ["info", source],
        ["info", source, "--json"],
        ["enhance", source, "--mri", source, "--no-align", "--out", out / "enhanced", "--weights", "mr-guided"],
        ["enhance", source, "--out", out / "json", "--weights", "gaussian", "--json"],
        ["convert", source, out / "mr.nii.gz", "--modality", "MRI"],
        ["convert", source, out / "bids", "--mri", source],
        ["lower-dose", source, "--out", out / "low", "--drf", "4"],
        ["enhance", source / "mr", "--out", out / "refused"],
    ):
        with pytest.raises(SystemExit):
            main([*map(str, arguments)])
    captured = capsys.readouterr()
    texts = [captured.out + captured.err]
    for path in out.rglob("*"):
        if path.is_file() and path.suffix != ".dcm":
            raw = path.read_bytes()
            texts.append((gzip.decompress(raw)[:1000] if path.suffix == ".gz" else raw).decode("latin1"))
    assert len(texts) > 10
    for text in texts:
        assert not any(secret in text for secret in ("TALE", "20210709", "2021-07-09"))


@pytest.mark.parametrize(
    "options",
    [
        ["enhance", "--device", "foo"],
        ["lower-dose", "--drf", "nan"],
        ["lower-dose", "--drf", "1e9"],
        ["lower-dose", "--postfilter-mm", "-2"],
        ["lower-dose", "--postfilter-mm", "nan"],
    ],
)
def test_options_that_mean_nothing_are_refused(options, tmp_path, capsys):
    pet = write(tmp_path / "pet.nii.gz", head())
    refused([options[0], pet, "--out", tmp_path / "out", *options[1:]], capsys)
    assert not (tmp_path / "out").exists()
