"""A cohort is a function of its recipe: the same whatever the number of jobs, resumable, and refused when mixed up."""

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import nibabel as nib
import numpy as np
import pytest
from typer.testing import CliRunner

from m2diff.cli.app import app, main
from m2diff.errors import BadInput
from m2diff.io import bids
from m2diff.layouts import adni
from m2diff.simulation import cohort, scanner
from m2diff.simulation.cohort import DosePlan, Recipe, make_cohort

QUICK = scanner.Protocol(
    voxel_mm=5.0, slice_mm=6.0, pixels=48, slices=26, views=60, bin_mm=5.0, subsets=6, iterations=2, counts=0.5
)
RECIPE = Recipe(doses=DosePlan((4.0, 20.0)), group="both", seed=3, head="none")


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """A coarse scanner and coarse anatomies: the promises do not depend on resolution."""
    monkeypatch.setattr(scanner, "PET_MR", QUICK)
    made = cohort.make_person
    monkeypatch.setattr(
        cohort,
        "make_person",
        lambda source, rng, head, heads: made(source, rng, head=head, heads=heads, resolution_mm=3.0),
    )


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Two persons, made one after the other."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scanner, "PET_MR", QUICK)
        real = cohort.make_person
        patch.setattr(
            cohort, "make_person", lambda s, rng, head, heads: real(s, rng, head=head, heads=heads, resolution_mm=3.0)
        )
        return make_cohort(RECIPE, tmp_path_factory.mktemp("a") / "cohort", 2, progress=False)


def image(path):
    return np.asarray(nib.load(path).dataobj)


def test_every_image_of_a_person_is_there_on_one_grid(made):
    subjects = bids.find_subjects(made)
    assert [s.group for s in subjects] == ["healthy", "ad"]
    for subject in subjects:
        assert list(subject.low) == [4.0, 20.0]
        paths = [
            subject.standard,
            *subject.low.values(),
            subject.truth,
            subject.noise_free,
            subject.labels,
            subject.mask,
        ]
        assert {image(path).shape for path in paths} == {QUICK.shape}
        sidecar = json.loads(
            str(subject.low[20.0]).replace(".nii.gz", ".json")
            and subject.low[20.0].with_name(subject.low[20.0].name.replace(".nii.gz", ".json")).read_text()
        )
        assert sidecar["DoseReductionFactor"] == 20 and sidecar["Units"] == "Bq/mL"
        assert image(subject.t1).max() > 0


def test_lower_doses_are_noisier_and_on_one_scale(made):
    for subject in bids.find_subjects(made):
        brain = image(subject.mask) > 0
        truth = image(subject.noise_free)[brain]
        errors = [np.sqrt(np.mean((image(p)[brain] - truth) ** 2)) for p in (subject.standard, *subject.low.values())]
        assert errors[0] < errors[1] < errors[2]
        assert image(subject.low[20.0])[brain].mean() == pytest.approx(truth.mean(), rel=0.05)


def test_a_person_depends_on_recipe_and_number_alone(made, tmp_path):
    """Only the second person, made on its own: as it would be on another job."""
    again = tmp_path / "cohort"
    cohort._make(RECIPE, again, 1, "002")
    for path in sorted((made / "sub-002").rglob("*.nii.gz")):
        assert np.array_equal(image(path), image(again / path.relative_to(made))), path.name


def test_no_two_persons_are_alike(made):
    first, second = (image(s.t1) for s in bids.find_subjects(made))
    assert first.shape != second.shape or not np.allclose(first, second)


def test_the_same_command_makes_only_what_is_missing(made, monkeypatch):
    asked = []
    monkeypatch.setattr(cohort, "_make", lambda recipe, out, number, label: asked.append(label))
    bids.record_path(made, "002").rename(made / "aside")
    try:
        make_cohort(RECIPE, made, 2, progress=False)
    finally:
        (made / "aside").rename(bids.record_path(made, "002"))
    assert asked == ["002"]


def test_people_of_the_template_are_persons_of_their_own(made):
    assert [subject.person for subject in bids.find_subjects(made)] == ["MNI152-seed3-001", "MNI152-seed3-002"]


@pytest.mark.parametrize("text", ['{"Name": ', "[]", "\xff"])
def test_a_folder_whose_description_is_broken_is_refused_and_left_alone(tmp_path, text):
    broken = tmp_path / "dataset_description.json"
    broken.write_bytes(text.encode("latin-1"))
    with pytest.raises(BadInput, match=r"dataset_description\.json must describe a data set .*; mend it, or choose"):
        make_cohort(RECIPE, tmp_path, 1, progress=False)
    assert [path.name for path in tmp_path.iterdir()] == [broken.name]


def test_an_anatomy_that_is_refused_leaves_nothing_of_its_person(tmp_path, monkeypatch):
    folder = tmp_path / "anatomies"
    folder.mkdir()
    t1 = np.ones((20, 20, 20), dtype=np.float32)
    t1[10, 10, 10] = np.nan
    for ending in ("T1w", "label-GM_probseg", "label-WM_probseg", "label-CSF_probseg"):
        data = t1 if ending == "T1w" else np.ones_like(t1)
        nib.save(nib.Nifti1Image(data, np.eye(4)), folder / f"ann_{ending}.nii")
    with pytest.raises(BadInput, match=r"ann_T1w.*finite numbers, but 1 of its voxels"):
        make_cohort(replace(RECIPE, anatomies=folder), tmp_path / "out", 1, progress=False)
    assert not list((tmp_path / "out").rglob("*sub-*"))


def test_a_person_has_the_same_label_however_many_there_are():
    assert [cohort.label_of(number) for number in (0, 1, 998, 999, 1233)] == ["001", "002", "999", "1000", "1234"]


def finish(root, *labels):
    for label in labels:
        record = bids.record_path(root, label)
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_text("{}")


def test_a_longer_cohort_makes_only_the_new_people_past_999_too(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(cohort, "_make", lambda recipe, out, number, label: asked.append((number, label)))
    make_cohort(RECIPE, tmp_path / "out", 1, progress=False)
    finish(tmp_path / "out", *(f"{n:03d}" for n in range(1, 1000)))
    asked.clear()
    make_cohort(RECIPE, tmp_path / "out", 1001, progress=False)
    assert asked == [(999, "1000"), (1000, "1001")]
    assert len((tmp_path / "out" / "participants.tsv").read_text().splitlines()) == 1002


def test_a_shorter_command_never_unlists_who_is_finished(tmp_path, monkeypatch):
    monkeypatch.setattr(cohort, "_make", lambda recipe, out, number, label: finish(out, label))
    table = make_cohort(RECIPE, tmp_path / "out", 3, progress=False) / "participants.tsv"
    before = table.read_text()
    assert before.splitlines()[3] == "sub-003\tMNI152\thealthy"
    bids.record_path(tmp_path / "out", "002").unlink()  # and who is not finished is listed while they are asked for
    make_cohort(RECIPE, tmp_path / "out", 1, progress=False)
    assert table.read_text().splitlines() == [line for line in before.splitlines() if "sub-002" not in line]
    make_cohort(RECIPE, tmp_path / "out", 2, progress=False)
    assert table.read_text() == before


def test_finished_people_are_known_by_their_number(tmp_path):
    finish(tmp_path, "001", "0002", "1000", "pilot", "000")
    (tmp_path / "derivatives" / "simulation" / "sub-003" / "pet").mkdir(parents=True)  # begun, not finished
    assert cohort._finished(tmp_path) == {0, 999}


def test_another_recipe_is_refused_in_the_same_folder(made):
    with pytest.raises(BadInput, match="other settings"):
        make_cohort(replace(RECIPE, seed=4), made, 2, progress=False)


def test_a_folder_that_holds_something_else_is_refused(tmp_path):
    (tmp_path / "thesis.doc").write_text("mine")
    with pytest.raises(BadInput, match="not empty"):
        make_cohort(RECIPE, tmp_path, 1, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.doc"]


@pytest.mark.parametrize("text", ["", "abc", "1", "0.5,4", "100-4:3", "4-100", "4-100:0", "nan", "4,inf"])
def test_doses_that_make_no_sense_are_refused(text):
    with pytest.raises(BadInput, match="--drf expects"):
        DosePlan.parse(text)


@pytest.mark.parametrize("text", ["1.0000001", "4,1234567", "20.12345678", "4-2000000:3"])
def test_doses_that_no_name_can_carry_are_refused(text):
    with pytest.raises(BadInput, match=r"--drf expects factors of at most six digits.*; round them\.$"):
        DosePlan.parse(text)


def test_a_range_that_holds_fewer_doses_than_are_drawn_is_refused():
    with pytest.raises(BadInput, match=r"--drf expects a range .*, got 4-5:4, which holds 2; widen"):
        DosePlan.parse("4-5:4")
    assert DosePlan.parse("4-5:2") == DosePlan((4.0, 5.0), 2)


def test_every_dose_can_be_read_from_its_name():
    names = {4.0: "drf4", 20.0: "drf20", 12.5: "drf12p5", 1.5: "drf1p5", 1e6: "drf1000000", 2.5e6: "drf2500000"}
    for drf, name in names.items():
        assert bids.rec(drf) == name and bids.drf_of(name) == drf and DosePlan.parse(str(drf)).factors == (drf,)
    assert bids.rec(250 / 12.3) == "drf20p3252"  # a real scan's, to six digits as ever
    for drf in (1e-5, 1e16):
        assert bids.rec(drf).isalnum()


def test_drawn_doses_lie_between_their_limits():
    plan = DosePlan.parse("4-100:3")
    drawn = [dose for seed in range(50) for dose in plan.draw(np.random.default_rng(seed))]
    assert min(drawn) >= 4 and max(drawn) <= 100 and len(set(drawn)) > 20


OLD_KEYS = ["doses", "group", "seed", "anatomies", "persons", "without", "heads", "head", "randomise"]
AMYLOID = replace(RECIPE, tracer="amyloid", scanner="pet-ct")


def test_a_recipe_from_before_tracers_and_scanners_is_described_as_it_was():
    """Else the cohorts that people have could not be finished or extended: their folders would be refused."""
    assert RECIPE.describe() == {
        "doses": {"factors": [4.0, 20.0], "draws": 0}, "group": "both", "seed": 3, "anatomies": None, "persons": [],
        "without": [], "heads": None, "head": "none", "randomise": False,
    }  # fmt: skip
    assert list(RECIPE.describe()) == OLD_KEYS
    assert list(AMYLOID.describe()) == [*OLD_KEYS, "tracer", "scanner"]
    assert list(replace(RECIPE, tracer="amyloid").describe()) == [*OLD_KEYS, "tracer"]


def test_the_sidecar_of_a_default_scan_is_what_it_was():
    sidecar = cohort.pet_sidecar(RECIPE, QUICK, 20.0)
    assert (sidecar["TracerName"], sidecar["TracerRadionuclide"]) == ("FDG", "F18")
    assert (sidecar["InjectedRadioactivity"], sidecar["ScanStart"], sidecar["FrameDuration"]) == (12.5, 2400, [1200])
    assert sidecar["ManufacturersModelName"] == "m2diff 2D PET/MR"


def test_the_sidecar_names_the_tracer_and_the_scanner():
    sidecar = cohort.pet_sidecar(AMYLOID, scanner.PET_CT, 20.0)
    assert (sidecar["TracerName"], sidecar["TracerRadionuclide"]) == ("florbetapir", "F18")
    assert (sidecar["InjectedRadioactivity"], sidecar["ScanStart"]) == (18.5, 3000)
    assert sidecar["ManufacturersModelName"] == "m2diff 2D PET/CT"
    assert sidecar["TracerName"] in {name for _, name, _ in adni._TRACERS.values()}  # one name throughout the house


def test_the_whole_cohort_is_of_the_tracer_and_the_scanner_that_were_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(scanner, "PET_CT", replace(QUICK, voxel_mm=5.2, counts=0.3))
    made = make_cohort(replace(AMYLOID, group="ad"), tmp_path / "cohort", 1, progress=False)
    subject = bids.find_subjects(made)[0]
    record = json.loads(bids.record_path(made, subject.label).read_text())
    assert record["uptake"]["pattern"] == "amyloid" and record["protocol"]["voxel_mm"] == 5.2
    assert record["protocol"]["counts"] == pytest.approx(0.15)  # half of the scanner's: the tracer leaves fewer
    assert "amyloid-positive" in (made / "participants.json").read_text()
    assert "_trc-18FAV45_" in subject.standard.name and bids.tracer_of(subject) == "florbetapir"
    assert subject.noise_free is not None and subject.labels is not None and subject.low


def test_a_randomised_amyloid_cohort_is_amyloid_but_for_the_random_share(monkeypatch):
    patterns = []

    def seen(rng, group, pattern):
        patterns.append(pattern)
        raise InterruptedError

    monkeypatch.setattr(cohort.tracer, "draw_uptake", seen)
    for number in range(40):
        with pytest.raises(InterruptedError):
            cohort.simulate_person(replace(RECIPE, tracer="amyloid", randomise=True), number)
    assert set(patterns) == {"amyloid", "random"} and 2 < patterns.count("random") < 20


def test_a_named_scanner_and_random_ones_exclude_each_other():
    with pytest.raises(BadInput, match=r"expects none by name, got --scanner pet-ct; leave one of the two out\.$"):
        replace(RECIPE, scanner="pet-ct", randomise=True)


@pytest.mark.parametrize("wrong", [{"tracer": "pib"}, {"scanner": "petmr"}])
def test_names_that_nobody_knows_are_refused(wrong):
    with pytest.raises(BadInput, match=f"--{next(iter(wrong))} expects one of"):
        replace(RECIPE, **wrong)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--seed", "-1"], "--seed expects a whole number from 0 on, got -1"),
        (["--jobs", "0"], "--jobs expects the number of persons"),
        (["--head", "map"], "--head map expects a folder"),
        (["--head", "mixed", "--heads", "empty"], "empty"),
        (["--heads", "empty"], "--heads is read with --head map or mixed only"),
        (["--persons", "9999"], "the template holds no anatomy named 9999"),
        (["--without", "MNI152"], "exclude them all"),
    ],
)
def test_what_is_refused_is_refused_before_anything_is_written(tmp_path, monkeypatch, capsys, options, sentence):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit) as left:
        main(["simulate", "out", "--subjects", "1", *options])
    said = capsys.readouterr().err
    assert left.value.code == 2 and sentence in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_run_killed_at_its_first_files_is_finished_by_the_same_command(made, tmp_path):
    shutil.copytree(made, tmp_path / "cohort")
    for name in ("README", "participants.tsv", "participants.json"):
        (tmp_path / "cohort" / name).unlink()
    make_cohort(RECIPE, tmp_path / "cohort", 2, progress=False)
    for name in ("README", "participants.tsv", "participants.json"):
        assert (tmp_path / "cohort" / name).read_bytes() == (made / name).read_bytes()


@pytest.mark.slow
def test_the_images_do_not_depend_on_how_many_are_made_at_once(tmp_path):
    """By the command, whose workers know nothing of this file's coarse scanner."""
    for jobs in ("1", "2"):
        made = [sys.executable, "-m", "m2diff", "simulate", str(tmp_path / jobs), "--subjects", "2", "--drf", "100"]
        subprocess.run([*made, "--seed", "5", "--jobs", jobs, "--quiet"], check=True)
    files = [path.relative_to(tmp_path / "1") for path in (tmp_path / "1").rglob("*.nii.gz")]
    assert len(files) > 10
    for file in files:
        assert np.array_equal(image(tmp_path / "1" / file), image(tmp_path / "2" / file)), file


def test_the_command_line_passes_both_on(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(cohort, "simulate", lambda *_, **told: asked.append((told["tracer"], told["scanner"])))
    for options in ([], ["--tracer", "amyloid", "--scanner", "pet-ct"]):
        assert CliRunner().invoke(app, ["simulate", str(tmp_path), *options]).exit_code == 0
    assert asked == [("fdg", "pet-mr"), ("amyloid", "pet-ct")]
