"""`m2diff evaluate` on a person of whom everything is known: scores, regions, lesions, dose equivalence, report."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from m2diff.cli import evaluate as cli_evaluate
from m2diff.cli.app import main
from m2diff.io import nifti
from m2diff.volume import Volume

SHAPE, AFFINE = (30, 34, 28), np.diag([4.0, 4, 4, 1])


@pytest.fixture(scope="module")
def person(tmp_path_factory) -> dict[str, Path]:
    """Files of two regions with one hot lesion in the right one; the scans differ by their noise alone."""
    folder, rng = tmp_path_factory.mktemp("person"), np.random.default_rng(0)
    x, y, z = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in SHAPE)]
    labels = np.where(x**2 + y**2 + z**2 < 0.6, np.where(x < 0, 1, 2), 0)
    lesion = ((x - 0.35) ** 2 + y**2 + z**2 < 0.03) * 7
    clean = np.select([lesion > 0, labels == 1, labels == 2], [16000.0, 4000.0, 8000.0], 0.0)
    scans = {"truth": clean} | {
        name: clean + noise * rng.standard_normal(SHAPE) * (labels > 0)
        for name, noise in (("standard", 100), ("image", 200), ("low4", 400), ("low20", 1000))
    }
    files = {}
    for name, data in {**scans, "labels": labels, "lesions": lesion}.items():
        files[name] = folder / f"{name}.nii.gz"
        nifti.save(Volume(data.astype(np.float32), AFFINE, "Bq/mL" if name in scans else "unknown"), files[name])
    files["record"] = folder / "record.json"
    lesions = [{"code": 7, "kind": "pet_hot", "factor": 2.0}]
    files["record"].write_text(json.dumps({"regions": {"1": "left half", "2": "right half"}, "lesions": lesions}))
    return files


def run(person: dict[str, Path], *more: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    arguments = ["evaluate", person["image"], "--reference", person["standard"], "--labels", person["labels"], *more]
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in arguments])
    said = capsys.readouterr()
    return end.value.code, said.out, said.err


def test_all_that_is_known_of_a_person_is_scored_and_shown(person, tmp_path, capsys):
    code, out, err = run(
        person, "--truth", person["truth"], "--lesions", person["lesions"], "--record", person["record"],
        "--low", f"4={person['low4']}", "--low", f"20={person['low20']}", "--drf", "20", "--out", tmp_path / "o",
        capsys=capsys,
    )  # fmt: skip
    assert (code, err) == (0, "")
    found = json.loads((tmp_path / "o" / "evaluation.json").read_text())
    assert found["lesions"][0]["reference_recovery"] == pytest.approx(1, abs=0.05)
    assert "Lesion 7 (pet_hot): contrast 2.0" in out and "recovery" in out
    # Noise of 200 where the dose's own would be 1000: between DRF 4 (400) and the standard (100).
    assert found["dose_equivalence"]["gain"] > 5 and "Dose equivalence" in out
    page = (tmp_path / "o" / "report.html").read_text()
    for shown in ("left half", "Recorded lesions", "hot, PET only", "low dose:", "data:image/png", "labels.nii.gz"):
        assert shown in page
    assert str(person["image"].parent) not in page  # names of files, not of folders


def test_the_report_needs_no_low_dose_scan(person, tmp_path, capsys):
    code, out, _ = run(person, "--out", tmp_path / "o", capsys=capsys)
    page = (tmp_path / "o" / "report.html").read_text()
    assert code == 0 and "report.html" in out and "An estimate of the standard-dose scan" in page
    assert "low dose:" not in page and "Recorded lesions" not in page


def test_an_mri_is_placed_only_where_it_is_needed(person, tmp_path, capsys, monkeypatch):
    asked = []

    def placed(path, series, standard, *, find_brain):
        asked.append(find_brain)
        return standard, nifti.load(person["labels"]) if find_brain else None

    monkeypatch.setattr(cli_evaluate, "_placed", placed)
    mri = ["--mri", person["image"]]
    code, _, err = run(person, *mri, capsys=capsys)
    assert code == 0 and asked == [] and "--mri was not read" in err  # labels tell the brain, and nothing is shown
    assert run(person, *mri, "--out", tmp_path / "a", capsys=capsys)[0] == 0 and asked == [False]
    given = ["evaluate", person["image"], "--reference", person["standard"], *mri, "--out", tmp_path / "b"]
    with pytest.raises(SystemExit) as end:
        main([str(argument) for argument in given])
    assert end.value.code == 0 and asked == [False, True]
    assert "found in the MRI" in (tmp_path / "b" / "report.html").read_text()


def test_the_same_image_twice_is_perfect(person, capsys):
    arguments = [person["standard"], "--reference", person["standard"], "--labels", person["labels"], "--json"]
    with pytest.raises(SystemExit):
        main(["evaluate", *map(str, arguments)])
    scores = json.loads(capsys.readouterr().out.splitlines()[0])["scores"]
    assert scores["nrmse"] == 0 and scores["ssim"] == pytest.approx(1)


@pytest.mark.parametrize(
    ("more", "sentence"),
    [
        (["--lesions", "lesions"], "add --record"),
        (["--record", "image"], "--record expects the .json"),
        (["--drf", "nan"], "--drf expects"),
        (["--drf", "0.5"], "--drf expects"),
        (["--low", "image"], "--low expects DRF=FILE"),
        (["--low", "nan=image"], "--low expects DRF=FILE"),
        (["--low", "inf=image"], "--low expects DRF=FILE"),
        (["--low", "20="], "--low expects DRF=FILE"),
        (["--mri-series", "3"], "add it"),
    ],
)
def test_what_cannot_be_scored_is_one_sentence(person, tmp_path, capsys, more, sentence):
    given = [person.get(word, word) for word in more]
    code, _, err = run(person, *given, "--out", tmp_path / "o", capsys=capsys)
    assert code == 2 and sentence in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize("lesions", [[3], {"a": 1}, [None], [{"code": 7}]])
def test_a_record_of_something_else_is_one_sentence(person, tmp_path, capsys, lesions):
    record = tmp_path / "record.json"
    record.write_text(json.dumps({"regions": {"1": "left half"}, "lesions": lesions}))
    code, _, err = run(person, "--lesions", person["lesions"], "--record", record, capsys=capsys)
    assert code == 2 and "lesion record" in err and len(err.strip().splitlines()) == 1


def test_a_folder_that_cannot_be_made_is_said_before_the_scores(person, tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    code, out, err = run(person, "--out", tmp_path / "file", capsys=capsys)
    assert code == 2 and out == "" and "in the way" in err


def test_a_ladder_without_the_truth_is_spoken_of(person, capsys):
    code, out, err = run(person, "--low", f"20={person['low20']}", "--drf", "20", capsys=capsys)
    assert code == 0 and "Dose equivalence is left out" in err and "Dose equivalence" not in out
