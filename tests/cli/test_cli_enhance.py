"""`m2diff enhance` as it is typed: what it refuses before the work, what it says of options, and how it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from m2diff.cli.app import main

SHAPE, AFFINE = (40, 44, 36), np.diag([4.0, 4, 4, 1])


def head(seed: int = 0, shape: tuple[int, int, int] = SHAPE) -> np.ndarray:
    """A noisy ellipsoid: enough of a head for the border to accept it."""
    axes = np.ogrid[tuple(slice(-1, 1, n * 1j) for n in shape)]
    inside = sum((a / 0.8) ** 2 for a in axes) < 1
    return (inside * np.random.default_rng(seed).uniform(0.5, 1.5, shape) * 9000).astype(np.float32)


def put(path: Path | str, data: np.ndarray, affine: np.ndarray = AFFINE) -> Path:
    nib.Nifti1Image(data, affine).to_filename(path)
    return Path(path)


@pytest.fixture
def pet(tmp_path) -> Path:
    return put(tmp_path / "sub-01_pet.nii.gz", head())


def enhance(*arguments: object, capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of ``m2diff enhance`` with a filter unless --weights says otherwise."""
    given = ["enhance", *map(str, arguments), "--quiet"]
    with pytest.raises(SystemExit) as end:
        main([*given, *([] if "--weights" in given else ["--weights", "gaussian"])])
    said = capsys.readouterr()
    return end.value.code, said.out, said.err


def test_labels_give_the_report_a_regional_table(pet, tmp_path, capsys):
    labels = (head() > 0) * np.where(np.arange(SHAPE[0]) < 20, 3, 8)[:, None, None]
    atlas = put(tmp_path / "atlas.nii.gz", labels.astype(np.int16))
    (tmp_path / "names.tsv").write_text("index\tname\n3\tleft half\n8\tright half\n")
    code, _, err = enhance(
        pet, "--out", tmp_path / "out", "--labels", atlas, "--region-names", tmp_path / "names.tsv", capsys=capsys
    )
    assert code == 0, err
    page = (tmp_path / "out" / "report.html").read_text()
    image = np.asarray(nib.load(tmp_path / "out" / "sub-01_desc-enhanced_pet.nii.gz").dataobj)
    for name, code_ in (("left half", 3), ("right half", 8)):
        assert name in page and f"{image[labels == code_].mean():.5g}"[:4] in page
    assert "reference CoV" not in page  # there is none


def test_labels_may_store_their_axes_in_another_order(pet, tmp_path, capsys):
    labels = (head() > 0) * np.where(np.arange(SHAPE[0]) < 20, 3, 8)[:, None, None]
    turned = AFFINE.copy()
    turned[1, 1], turned[1, 3] = -4, 4 * (SHAPE[1] - 1)
    pages = []
    for name, data, affine in (("as", labels, AFFINE), ("turned", labels[:, ::-1], turned)):
        atlas = put(tmp_path / f"{name}.nii.gz", np.ascontiguousarray(data).astype(np.int16), affine)
        code, _, err = enhance(pet, "--out", tmp_path / name, "--labels", atlas, capsys=capsys)
        assert code == 0, err
        pages.append((tmp_path / name / "report.html").read_text().split("<h2>Regions")[1].split("</table>")[0])
    assert pages[0] == pages[1] and "region 8" in pages[0]


@pytest.mark.parametrize(
    ("shape", "affine"), [((40, 44, 30), AFFINE), (SHAPE, np.diag([4.0, 4, 5, 1]))], ids=["shape", "affine"]
)
def test_labels_on_another_grid_are_refused_before_the_work(pet, tmp_path, capsys, shape, affine):
    atlas = put(tmp_path / "atlas.nii.gz", (head(shape=shape) > 0).astype(np.int16), affine)
    code, _, err = enhance(pet, "--out", tmp_path / "out", "--labels", atlas, capsys=capsys)
    assert code == 2 and "grid" in err and not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--mri-series", "3"], "--mri-series picks"),
        (["--series", "3"], "leave --series out"),
        (["--region-names", "names.tsv"], "add --labels"),
    ],
)
def test_an_option_that_could_do_nothing_is_refused(pet, tmp_path, capsys, arguments, sentence):
    code, _, err = enhance(pet, "--out", tmp_path / "out", *arguments, capsys=capsys)
    assert code == 2 and sentence in err and len(err.strip().splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_steps_and_samples_of_what_answers_at_once_are_not_claimed(pet, tmp_path, capsys):
    code, _, err = enhance(pet, "--out", tmp_path / "out", "--steps", "25", "--samples", "3", capsys=capsys)
    assert code == 0 and "25 that were asked for were not taken" in err and "there is no spread" in err
    made = json.loads((tmp_path / "out" / "sub-01_desc-enhanced_pet.json").read_text())["m2diff"]
    assert made["steps"] is None and made["samples"] == 1


def test_a_scan_is_not_its_own_mri(pet, tmp_path, capsys):
    copied = tmp_path / "t1.nii.gz"
    copied.write_bytes(pet.read_bytes())
    code, _, err = enhance(pet, "--mri", copied, "--out", tmp_path / "out", capsys=capsys)
    assert code == 2 and "one file" in err and not (tmp_path / "out").exists()


def test_a_scan_that_is_negative_throughout_is_refused_and_a_negative_background_is_not(pet, tmp_path, capsys):
    negated = put(tmp_path / "negated.nii.gz", -head())
    code, _, err = enhance(negated, "--out", tmp_path / "out", capsys=capsys)
    assert code == 2 and "no activity" in err and not (tmp_path / "out").exists()
    spike = head()
    spike[3, 3, 3] = -3e7
    for name, legal in (("noise", head() - np.float32(900) * (head() == 0)), ("spike", spike)):
        scan = put(tmp_path / f"{name}.nii.gz", legal)
        assert enhance(scan, "--out", tmp_path / name, capsys=capsys)[0] == 0


def test_a_second_scan_in_the_same_folder_says_what_the_report_shows(pet, tmp_path, capsys):
    out, other = tmp_path / "out", put(tmp_path / "sub-02_pet.nii.gz", head(1))
    for scan, noted in ((pet, False), (pet, False), (other, True)):
        code, _, err = enhance(scan, "--out", out, capsys=capsys)
        assert code == 0 and ("shows this scan alone" in err) is noted
    assert len(list(out.glob("*_desc-enhanced_pet.nii.gz"))) == 2


def test_a_folder_that_cannot_be_made_is_said_before_the_work(pet, tmp_path, capsys, monkeypatch):
    from m2diff.enhancement import run

    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr(run, "enhance", lambda *_, **__: pytest.fail("the work was begun"))
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        code, _, err = enhance(pet, "--out", out, capsys=capsys)
        assert code == 2 and "Could not write" in err


@pytest.mark.skipif(sys.platform == "darwin", reason="names are text on that file system")
def test_a_name_that_is_no_text_is_no_obstacle(tmp_path):
    name = os.fsencode(tmp_path) + b"/bad\xff_pet.nii.gz"
    Path(os.fsdecode(name)).write_bytes(put(tmp_path / "a.nii.gz", head()).read_bytes())
    command = [sys.executable, "-m", "m2diff", "enhance", name, "--out", tmp_path / "out", "--weights", "gaussian"]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert (tmp_path / "out" / "report.html").is_file()


def test_a_run_that_is_told_to_end_tidies_up(tmp_path):
    size = np.diag([2.8, 2.8, 2.8, 1.0])  # a head's
    pet, out = put(tmp_path / "pet.nii.gz", head(shape=(96, 96, 80)), size), tmp_path / "out"
    command = [sys.executable, "-m", "m2diff", "enhance", str(pet), "--out", str(out), "--weights", "gaussian"]
    deadline = time.monotonic() + 60
    run = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (out.exists() and any(out.iterdir())) and time.monotonic() < deadline:
        time.sleep(0.0005)
    run.send_signal(signal.SIGTERM)
    assert run.wait() == 128 + signal.SIGTERM  # it was still at work
    assert list(out.iterdir()) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["enhance", "x.nii", "--drf", "abc", "--out", "o"],
        ["enhance", "x.nii"],
        ["enhance", "--no-such"],
        ["bids", "x"],
        ["bids", "x", "y", "participant", "--n-procs", "many"],
    ],
)
def test_what_the_parser_refuses_is_one_sentence_in_words_and_in_json(arguments, capsys):
    for more in ([], ["--json"]):
        with pytest.raises(SystemExit) as end:
            main([*arguments, *more])
        said = capsys.readouterr()
        assert end.value.code == 2
        if more:
            (line,) = said.out.splitlines()
            sentence = json.loads(line)["message"]
            assert json.loads(line)["event"] == "error" and said.err == ""
        else:
            (line,) = said.err.splitlines()
            sentence = line.removeprefix("m2diff: ")
        assert sentence.endswith(f"(see `m2diff {arguments[0]} --help`).")


def test_the_bare_name_and_a_wrong_verb_help(capsys):
    for arguments, where in (([], "Usage"), (["enhanse"], "enhanse")):
        with pytest.raises(SystemExit) as end:
            main(arguments)
        said = capsys.readouterr()
        wanted = (2,) if arguments else (0, 2)  # what the bare name ends with, typer and click have changed
        assert end.value.code in wanted and where in said.out + said.err and "Traceback" not in said.err
