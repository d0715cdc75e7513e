"""The BIDS-App: pairs found, results in BIDS's words, resumed for nothing, broken people told of and survived."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from m2diff.bids_app.group import group
from m2diff.cli.bids import FAILED
from m2diff.cli.bids import run_app as main
from m2diff.errors import BadInput
from m2diff.io.bids_scans import find_scans


def image(path: Path, seed: int = 0, *, pet: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in (32, 36, 30)), indexing="ij")
    inside = sum(g**2 for g in grid) < 0.6
    rng = np.random.default_rng(seed)
    data = inside * (1000 + 200 * rng.standard_normal(inside.shape)) if pet else inside * 80.0
    nib.save(nib.Nifti1Image(data.astype(np.float32), np.diag([4, 4, 4, 1.0])), path)
    if pet:
        about = {"Units": "Bq/mL", "TracerName": "FDG", "PatientName": "Doe^Jane", "AcquisitionDateTime": "2025-03-14"}
        path.with_name(path.name.replace(".nii.gz", ".json")).write_text(json.dumps(about))
    return path


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    root = tmp_path / "raw"
    (root / "derivatives" / "other" / "sub-09" / "pet").mkdir(parents=True)
    about = {"Name": "test", "BIDSVersion": "1.10.0", "License": "CC0"}
    root.mkdir(exist_ok=True)
    (root / "dataset_description.json").write_text(json.dumps(about))
    image(root / "sub-01/pet/sub-01_trc-18FFDG_rec-low_pet.nii.gz", 1)
    image(root / "sub-01/pet/sub-01_trc-18FFDG_rec-high_pet.nii.gz", 2)
    image(root / "sub-01/anat/sub-01_T1w.nii.gz", pet=False)
    for session in ("a", "b"):
        image(root / f"sub-02/ses-{session}/pet/sub-02_ses-{session}_run-1_pet.nii.gz", 3)
        image(root / f"sub-02/ses-{session}/anat/sub-02_ses-{session}_acq-x_T1w.nii.gz", pet=False)
        image(root / f"sub-02/ses-{session}/anat/sub-02_ses-{session}_T1w.nii.gz", pet=False)
    image(root / "sub-03/pet/sub-03_pet.nii.gz", 4)
    return root


def run(*arguments: object) -> int:
    return main([*map(str, arguments), "--weights", "gaussian", "--no-align", "--quiet"])


def test_every_pet_finds_the_mri_of_its_session(dataset):
    scans = {scan.name: scan for scan in find_scans(dataset)}
    assert len(scans) == 5
    assert scans["sub-01_trc-18FFDG_rec-low"].mri.name == "sub-01_T1w.nii.gz"
    assert scans["sub-02_ses-b_run-1"].mri.name == "sub-02_ses-b_T1w.nii.gz"
    assert scans["sub-03"].mri is None
    assert [s.name for s in find_scans(dataset, participants=["sub-01"], rec="low")] == ["sub-01_trc-18FFDG_rec-low"]
    assert len(find_scans(dataset, sessions=["a"])) == 1
    with pytest.raises(BadInput, match="no participant 99"):
        find_scans(dataset, participants=["99"])


def test_participants_then_group(dataset, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(dataset, out, "participant", "--n-procs", 2) == 0
    made = out / "sub-02/ses-a/pet/sub-02_ses-a_run-1_desc-enhanced_pet"
    sidecar = json.loads(Path(f"{made}.json").read_text())
    assert sidecar["Sources"] == [
        "bids:raw:sub-02/ses-a/pet/sub-02_ses-a_run-1_pet.nii.gz",
        "bids:raw:sub-02/ses-a/anat/sub-02_ses-a_T1w.nii.gz",
    ]
    assert sidecar["Units"] == "Bq/mL" and sidecar["SpatialReference"].startswith("bids:raw:")
    assert "Doe" not in Path(f"{made}.json").read_text() and "2025" not in json.dumps(sidecar["m2diff"]["pet"])
    assert (out / "reports/sub-02_ses-a_run-1_report.html").is_file()
    description = json.loads((out / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative" and description["GeneratedBy"][0]["Name"] == "m2diff"

    assert run(dataset, out, "group") == 0
    rows = list(csv.DictReader((out / "group_enhanced.tsv").open(), delimiter="\t"))
    assert len(rows) == 5 and {row["session_id"] for row in rows} == {"n/a", "ses-a", "ses-b"}
    assert all(abs(float(row["change_percent"])) < 3 for row in rows)
    page = (out / "reports/group.html").read_text()
    assert "sub-03_report.html" in page and page.count("data:image/jpeg") == 5
    assert all(row["change_percent"].removeprefix("-")[:3] in page for row in rows)


def test_the_same_command_redoes_nothing_and_another_option_does(dataset, tmp_path):
    out = tmp_path / "out"
    assert run(dataset, out, "participant", "--participant-label", "01", "03") == 0
    files = sorted(out.rglob("*_desc-enhanced_pet.nii.gz"))
    before = [path.stat().st_mtime_ns for path in files]
    assert run(dataset, out, "participant", "--participant-label", "01", "03") == 0
    assert [path.stat().st_mtime_ns for path in files] == before
    assert run(dataset, out, "participant", "--participant-label", "01", "--drf", "20") == 0
    assert sum(path.stat().st_mtime_ns != old for path, old in zip(files, before, strict=True)) == 2


@pytest.mark.parametrize(
    ("told", "again"), [({"DoseReductionFactor": 20}, True), ({"Units": "SUV"}, True), ({"Manufacturer": "x"}, False)]
)
def test_a_scan_is_done_again_when_its_sidecar_is_read_differently(told, again, dataset, tmp_path):
    out = tmp_path / "out"
    assert run(dataset, out, "participant", "--participant-label", "03") == 0
    made = out / "sub-03/pet/sub-03_desc-enhanced_pet.json"
    before = made.stat().st_mtime_ns
    sidecar = dataset / "sub-03/pet/sub-03_pet.json"
    sidecar.write_text(json.dumps(json.loads(sidecar.read_text()) | told))
    for expected in (again, False):
        assert run(dataset, out, "participant", "--participant-label", "03") == 0
        assert (made.stat().st_mtime_ns != before) is expected
        before = made.stat().st_mtime_ns


def test_another_scan_or_mri_under_the_old_name_is_done_again(dataset, tmp_path):
    out = tmp_path / "out"
    arguments = (dataset, out, "participant", "--participant-label", "01", "--rec-label", "low")
    made = out / "sub-01/pet/sub-01_trc-18FFDG_rec-low_desc-enhanced_pet.json"
    assert run(*arguments) == 0
    for file in ("pet/sub-01_trc-18FFDG_rec-low_pet.nii.gz", "anat/sub-01_T1w.nii.gz"):
        before = made.stat().st_mtime_ns
        image(dataset / "sub-01" / file, 7, pet=file.startswith("pet"))
        if file.startswith("anat"):
            nib.save(nib.Nifti1Image(np.arange(32.0**3).reshape(32, 32, 32), np.eye(4) * 4), dataset / "sub-01" / file)
        assert run(*arguments) == 0
        assert made.stat().st_mtime_ns != before, file


def test_a_broken_person_is_told_of_and_stops_nobody(dataset, tmp_path, capsys):
    broken = dataset / "sub-01/pet/sub-01_trc-18FFDG_rec-low_pet.nii.gz"
    broken.write_bytes(broken.read_bytes()[:1000])
    out = tmp_path / "out"
    assert run(dataset, out, "participant") == FAILED
    captured = capsys.readouterr()
    assert "4 of 5 scans" in captured.out
    assert "sub-01_trc-18FFDG_rec-low: The PET" in captured.err and "Traceback" not in captured.err
    assert len(list(out.rglob("*_desc-enhanced_pet.nii.gz"))) == 4


def test_the_data_set_itself_is_never_the_output(dataset):
    with pytest.raises(BadInput, match="must not be the BIDS folder"):
        run(dataset, dataset, "participant")


def complaints(folder: Path) -> list[dict]:
    """What the official validator calls an error."""
    tool = shutil.which("bids-validator-deno", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if tool is None:
        pytest.skip("bids-validator-deno is not installed")
    done = subprocess.run([tool, str(folder), "--json"], capture_output=True, text=True, check=False)
    return [issue for issue in json.loads(done.stdout)["issues"]["issues"] if issue.get("severity") == "error"]


def test_the_official_validator_passes(dataset, tmp_path):
    out = tmp_path / "out"
    assert run(dataset, out, "participant", "--samples", "2") == 0 and run(dataset, out, "group") == 0
    assert complaints(out) == []


def test_the_official_validator_passes_on_what_simulate_writes(tmp_path, monkeypatch):
    from m2diff.simulation import cohort, scanner

    coarse = scanner.Protocol(
        voxel_mm=5.0, slice_mm=6.0, pixels=48, slices=26, views=60, bin_mm=5.0, subsets=6, iterations=1, counts=0.5
    )
    person = cohort.make_person
    monkeypatch.setattr(scanner, "PET_MR", coarse)
    monkeypatch.setattr(
        cohort, "make_person", lambda s, rng, head, heads: person(s, rng, head=head, heads=heads, resolution_mm=3.0)
    )
    recipe = cohort.Recipe(doses=cohort.DosePlan((20.0,)), group="both", seed=3, head="none")
    assert complaints(cohort.make_cohort(recipe, tmp_path / "cohort", 2, progress=False)) == []


def test_a_damaged_sidecar_is_left_out_of_the_table_and_told_of(dataset, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(dataset, out, "participant", "--participant-label", "01", "03", "--json") == 0
    assert json.loads(capsys.readouterr().out) == {"event": "result", "done": 3, "scans": 3, "path": str(out)}
    (out / "sub-03/pet/sub-03_desc-enhanced_pet.json").write_text("{")
    assert run(dataset, out, "group") == FAILED
    assert "sub-03_desc-enhanced_pet.json is not what" in capsys.readouterr().err
    assert len((out / "group_enhanced.tsv").read_text().splitlines()) == 3
    assert run(dataset, out, "participant", "--participant-label", "03") == 0  # made anew
    assert run(dataset, out, "group") == 0


def test_what_was_kept_of_the_patient_goes_when_it_is_not_asked_for(dataset, tmp_path):
    out, sidecar = tmp_path / "out", "sub-03/pet/sub-03_desc-enhanced_pet.json"
    assert run(dataset, out, "participant", "--participant-label", "03", "--keep-phi") == 0
    assert "Doe" in (out / sidecar).read_text()
    assert run(dataset, out, "participant", "--participant-label", "03") == 0
    assert "Doe" not in (out / sidecar).read_text()


def test_scans_done_before_get_their_small_picture_once(dataset, tmp_path):
    out = tmp_path / "out"
    assert run(dataset, out, "participant", "--participant-label", "03") == 0
    picture = out / "reports/sub-03_thumbnail.jpg"
    made = picture.read_bytes()
    picture.unlink()
    assert group(out, dataset)[1] == [] and picture.read_bytes() == made
    picture.unlink()
    group(out)  # the raw data set is not at hand: the enhanced image alone
    alone = picture.read_bytes()
    assert len(alone) < len(made)
    (out / "sub-03/pet/sub-03_desc-enhanced_pet.nii.gz").write_bytes(b"")
    group(out)
    assert picture.read_bytes() == alone and "data:image/jpeg" in (out / "reports/group.html").read_text()
    picture.unlink()
    assert group(out)[1] == [] and "data:image/jpeg" not in (out / "reports/group.html").read_text()


def test_the_table_tells_how_well_an_mri_lies_and_marks_what_to_look_at(dataset, tmp_path):
    from dataclasses import fields

    from m2diff.preparation.register import Alignment, Quality

    out = tmp_path / "out"
    assert run(dataset, out, "participant", "--participant-label", "02", "03") == 0
    path = out / "sub-03/pet/sub-03_desc-enhanced_pet.json"
    made = json.loads(path.read_text())
    quality = Quality(**dict.fromkeys((field.name for field in fields(Quality)), 1.0))
    made["m2diff"]["alignment"] = Alignment(np.eye(4), quality, folds=0.82).to_json()
    path.write_text(json.dumps(made))
    other = out / "sub-02/ses-a/pet/sub-02_ses-a_run-1_desc-enhanced_pet.json"
    made = json.loads(other.read_text())
    made["m2diff"]["means"] = {"input": 100.0, "enhanced": 111.0}
    other.write_text(json.dumps(made))
    table, _ = group(out)
    rows = {row["scan"]: row for row in csv.DictReader(table.open(), delimiter="\t")}
    lies = rows["sub-03"]
    assert [lies[f"alignment{name}"] for name in ("", "_handed", "_overlap")] == ["0.82", "n/a", "1.0"]
    assert "folds is 0.82" in lies["marked"] and "0.95" in lies["marked"]
    assert "changed by +11.0 %" in rows["sub-02_ses-a_run-1"]["marked"]
    assert rows["sub-02_ses-b_run-1"]["marked"] == rows["sub-02_ses-b_run-1"]["alignment"] == "n/a"
    assert (out / "reports/group.html").read_text().count('class="marked"') >= 2


@pytest.mark.parametrize("option", [("--samples", 0), ("--n-procs", 0), ("--seed", -1), ("--device", "foo")])
def test_options_that_nobody_can_fulfil_are_refused_before_anything_is_written(option, dataset, tmp_path):
    with pytest.raises(BadInput, match=str(option[1])):
        run(dataset, tmp_path / "out", "participant", *option)
    with pytest.raises(BadInput, match="No weights are called nope"):
        main([str(dataset), str(tmp_path / "out"), "participant", "--weights", "nope"])
    assert not (tmp_path / "out").exists()
