"""`m2diff demo`, the main job: what it prints and leaves behind, and (slow) what it promises on this machine."""

from __future__ import annotations

import json
import re
import resource
import subprocess
import sys
import time
from pathlib import Path

import nibabel as nib
import pytest

from m2diff import demo
from m2diff.cli.app import main
from m2diff.enhancement.run import enhance
from m2diff.io import bids

ROWS = ["low-dose input", "Gaussian filter", "MR-guided filter", "regression U-Net", "M2Diff"]


def spoken(arguments: list[object], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as end:
        main([*map(str, arguments), "--quiet"])
    assert end.value.code == 0
    return capsys.readouterr().out


def psnr_of(table: str) -> dict[str, float]:
    """PSNR of every line of the printed table."""
    lines = {name: re.search(rf"^{name} +([\d.]+) +[\d.]+ +[\d.]+ +[+-][\d.]+ % \w+", table, re.M) for name in ROWS}
    missing = [name for name, line in lines.items() if line is None]
    assert not missing, table
    return {name: float(line[1]) for name, line in lines.items()}


def test_the_demo_prints_its_table_and_leaves_a_report_of_the_same_numbers(tmp_path, capsys, monkeypatch):
    # One dose instead of five and the small networks: the whole walk in a third of the time.
    monkeypatch.setattr(demo, "LADDER", (demo.DRF,))
    small = {name.replace("-base", "-small"): title for name, title in demo.METHODS.items()}
    monkeypatch.setattr(demo, "METHODS", small)
    answers = {}

    def once(low, mri, *, weights, **options):
        if weights not in answers:
            answers[weights] = enhance(low, mri, weights=weights, **options)
        return answers[weights]

    monkeypatch.setattr("m2diff.enhancement.run.enhance", once)  # the second walk is about all the rest
    table = spoken(["demo", "--out", tmp_path], capsys)
    scores = psnr_of(table)
    assert list(scores) == ROWS and max(scores, key=scores.__getitem__) in ("M2Diff", "regression U-Net")
    assert scores["M2Diff"] > scores["low-dose input"] + 3
    report = tmp_path / "report.html"
    assert str(report) in table
    page = report.read_text()
    assert all(name in page and f"{score:.2f}" in page for name, score in scores.items())
    assert "This scan is simulated" in page and "Regions" in page and '<section class="hiding">' in page

    (subject,) = bids.find_subjects(tmp_path / "bids")
    assert subject.group == "ad"
    (image,) = tmp_path.glob("*_desc-enhanced_pet.nii.gz")
    assert nib.load(image).shape == nib.load(subject.standard).shape

    again = spoken(["demo", "--out", tmp_path, "--json"], capsys)  # what is there is not made anew
    rows, made = map(json.loads, again.splitlines())
    assert [row["name"] for row in rows["rows"]] == ROWS and made == {"event": "made", "path": str(report)}
    assert [f"{row['scores']['psnr']:.2f}" for row in rows["rows"]] == [f"{score:.2f}" for score in scores.values()]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> tuple[Path, str, float]:
    """The demo as `make demo` runs it: its folder, what it printed, and the seconds that it took."""
    out = tmp_path_factory.mktemp("demo")
    began = time.monotonic()
    command = [sys.executable, "-m", "m2diff", "demo", "--out", str(out), "--quiet"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return out, done.stdout, time.monotonic() - began


@pytest.mark.slow
def test_the_demo_is_worth_its_three_minutes(whole):
    _, table, seconds = whole
    scores = psnr_of(table)
    assert scores["M2Diff"] > scores["low-dose input"] + 6
    assert scores["M2Diff"] > max(scores["Gaussian filter"], scores["MR-guided filter"]) + 2.5
    assert seconds < 180


@pytest.mark.slow
def test_a_scan_of_a_usual_size_takes_under_a_minute_and_four_gigabytes(whole, tmp_path):
    (subject,) = bids.find_subjects(whole[0] / "bids")
    assert nib.load(subject.low[demo.DRF]).shape[:2] == (128, 128)
    command = [sys.executable, "-m", "m2diff", "enhance", subject.low[demo.DRF], "--mri", subject.t1]
    began = time.monotonic()
    subprocess.run([*command, "--out", tmp_path / "out", "--quiet"], check=True, capture_output=True)
    assert time.monotonic() - began < 60
    # Kilobytes of the largest child so far, on Linux; the demo itself was one, and larger than the one verb.
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 4 * 1024**2
