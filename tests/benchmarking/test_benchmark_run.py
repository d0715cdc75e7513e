"""The comparison from end to end on made-up people: equal, whole, resumed without doing anything twice."""

from __future__ import annotations

import csv
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from made_up import TINY, simulated

import m2diff
from m2diff.benchmarking import cost, people, training
from m2diff.benchmarking import methods as methods_module
from m2diff.benchmarking import run as run_module
from m2diff.benchmarking.people import sides
from m2diff.benchmarking.score import append_row, read_rows
from m2diff.benchmarking.training import Budget
from m2diff.cli.app import main
from m2diff.enhancement.run import enhance
from m2diff.errors import BadInput
from m2diff.io import bids
from m2diff.reporting.comparison import ComparisonPage

METHODS = ["gaussian,regress-base", "m2diff-base@mri=none", "ddpet3d-base@steps=1"]


def compare(learners: Path, judges: Path, out: Path, **options):
    settings = {"methods": METHODS, "budget": "2steps", "test": judges, "overrides": TINY, "progress": False} | options
    return m2diff.benchmark(learners, out, **settings)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines, delimiter="\t"))


@pytest.fixture
def bare(monkeypatch):
    """Training and scoring alone: no page, and no processes to measure memory in."""
    monkeypatch.setattr(run_module, "measured_costs", lambda *_, **__: {})
    monkeypatch.setattr(run_module, "comparison_page", lambda *_: ComparisonPage("", ""))


@pytest.fixture(scope="module")
def done(learners, judges, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("benchmark")
    with pytest.MonkeyPatch.context() as patch:  # a Python of its own for each method takes its time
        patch.setattr(cost, "_measured", cost._measured_here)
        assert compare(learners, judges, out) == out / "index.html"
    return out


def test_every_method_scan_and_dose_is_in_the_tidy_table(done):
    rows = table(done / "table.tsv")
    names = {"low-dose", "gaussian", "regress-base", "m2diff-base@mri=none", "ddpet3d-base@steps=1"}
    psnr = [r for r in rows if (r["against"], r["where"], r["metric"]) == ("noise-free", "brain", "psnr")]
    scored = {(r["method"], r["scan"], r["drf"]) for r in psnr}
    wanted = {(name, f"{n:03d}", drf) for name in names for n in range(11, 15) for drf in ("4", "20")}
    assert scored == wanted | {("standard", f"{n:03d}", "1") for n in range(11, 15)}
    assert all(np.isfinite(float(r["value"])) for r in rows)
    assert {r["person"] for r in rows} == {"judge-0", "judge-1"} and {r["group"] for r in rows} == {"healthy", "ad"}


def test_the_table_says_which_doses_were_not_trained_on(done):
    told = {(r["method"], r["drf"]): r["trained_on"] for r in table(done / "table.tsv")}
    assert told["regress-base", "4"] == "yes" and told["regress-base", "20"] == "no"
    assert told["gaussian", "20"] == told["standard", "1"] == "n/a"


def test_each_measure_is_there_for_each_method(done):
    metrics = {r["metric"] for r in table(done / "table.tsv") if r["method"] == "regress-base"}
    asked = "psnr ssim nrmse dose_gain suvr suvr_bias_percent meta_roi_suvr recovery leakage flicker roughness seconds"
    assert metrics >= {*asked.split(), "white_matter_cov_ratio", "meta_roi_spared_ratio"}


def test_the_budget_is_equal_and_stated(done):
    about = json.loads((done / "benchmark.json").read_text())
    assert about["budget"] == "2 steps each"
    assert {m["steps"] for m in about["methods"].values() if m["kind"] == "trained here"} == {2}
    assert about["trained on"]["scans"] == 5 and about["scored"]["not trained on"] == ["20"]
    page = (done / "index.html").read_text()
    assert "2 steps each" in page and "not trained on" in page


def test_nobody_of_the_training_cohort_is_wasted_on_validation(done):
    card = json.loads((done / "runs" / "regress-base" / "card.json").read_text())
    assert card["training"]["train_scans"] == 5 and card["training"]["held_out_persons"] == []


def test_a_chain_starts_from_the_control_that_was_trained_beside_it(done):
    rows = read_rows(done / "rows.jsonl").values()
    first = {row["first_estimate"]["sha256"] for row in rows if row["method"].startswith("ddpet3d")}
    control = {row["weights"]["sha256"] for row in rows if row["method"] == "regress-base"}
    assert first == control
    assert "regress-base, trained here" in (done / "index.html").read_text()


def test_the_same_command_does_nothing_twice(done, learners, judges, monkeypatch):
    before = (done / "rows.jsonl").read_bytes()
    stamp = (done / "runs" / "regress-base" / "weights.safetensors").stat().st_mtime_ns

    def never(*_: object, **__: object) -> None:
        raise AssertionError("done again")

    monkeypatch.setattr(training, "_stretch", never)
    monkeypatch.setattr(run_module, "scored_row", never)
    compare(learners, judges, done)
    assert (done / "rows.jsonl").read_bytes() == before
    assert (done / "runs" / "regress-base" / "weights.safetensors").stat().st_mtime_ns == stamp


def test_a_killed_run_leaves_whole_rows_and_goes_on(done, tmp_path):
    lines = (done / "rows.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "rows.jsonl").write_bytes(b"".join(lines[:5]) + lines[5][:100])
    assert len(read_rows(tmp_path / "rows.jsonl")) == 5
    append_row(tmp_path / "rows.jsonl", json.loads(lines[5]))
    assert (tmp_path / "rows.jsonl").read_bytes() == b"".join(lines[:6])


def test_other_weights_under_a_name_are_scored_again(done, learners, judges, tmp_path, bare):
    weights = tmp_path / "mine"
    weights.mkdir()
    for name in ("weights.safetensors", "card.json"):
        (weights / name).write_bytes((done / "runs" / "regress-base" / name).read_bytes())
    compare(learners, judges, tmp_path / "out", methods=[str(weights)], overrides=(), drf=[4.0])
    count = len(read_rows(tmp_path / "out" / "rows.jsonl"))
    other = done / "runs" / "m2diff-base"
    for name in ("weights.safetensors", "card.json"):
        (weights / name).write_bytes((other / name).read_bytes())
    compare(learners, judges, tmp_path / "out", methods=[str(weights)], overrides=(), drf=[4.0])
    assert len(read_rows(tmp_path / "out" / "rows.jsonl")) == count + 4  # one a scan; the input is not done again


def test_runs_that_were_trained_alike_are_told_so_and_serve_one_another(done, learners, judges, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "measured_costs", lambda *_, **__: {})
    runs = [str(done / "runs" / name) for name in ("regress-base", "ddpet3d-base")]
    compare(learners, judges, tmp_path, methods=[runs[0], f"{runs[1]}@steps=1"], overrides=(), drf=[20.0])
    text = (tmp_path / "index.html").read_text()
    assert "trained beforehand; by their cards for the same 2 steps on the same 4 persons" in text
    assert "first estimate: regress-base, trained alike" in text
    assert {r["trained_on"] for r in table(tmp_path / "table.tsv") if r["method"] == "regress-base"} == {"no"}


@pytest.fixture(scope="module")
def others(tmp_path_factory) -> Path:
    """The labels of the learners, worn by other persons."""
    people = {f"{n:03d}": (f"other-{n % 4}", "ad" if n > 4 else "healthy") for n in range(1, 6)}
    return simulated(tmp_path_factory.mktemp("others") / "cohort", people, (4.0,))


def test_other_persons_under_the_same_labels_are_refused(done, others, judges):
    before = (done / "runs" / "regress-base" / "equal.json").read_bytes()
    with pytest.raises(BadInput, match=r"other terms \(scans\)"):
        compare(others, judges, done)
    assert (done / "runs" / "regress-base" / "equal.json").read_bytes() == before


def test_another_budget_in_the_same_folder_is_refused(done, learners, judges):
    with pytest.raises(BadInput, match=r"other terms \(budget, preset\)"):
        compare(learners, judges, done, budget="3steps")


def test_a_time_budget_is_spent_and_the_steps_reached_are_told(learners, judges, tmp_path, bare):
    compare(learners, judges, tmp_path, methods=["regress-base"], budget="2s", drf=[4.0])
    about = json.loads((tmp_path / "benchmark.json").read_text())
    assert about["methods"]["regress-base"]["steps"] > 2 and about["budget"].startswith("0.0333")
    assert json.loads((tmp_path / "runs" / "regress-base" / "equal.json").read_text())["finished"]


def test_a_time_budget_counts_training_alone(learners, judges, tmp_path, monkeypatch):
    now = [0.0]

    def takes(seconds: float, then: type[BaseException] | None = None):
        def work(*_: object, **__: object) -> None:
            now[0] += seconds
            if then is not None:
                raise then

        return work

    def charged() -> float:
        with pytest.raises(SystemExit):
            training.trained_run("regress-base", tmp_path, terms)
        return json.loads((tmp_path / "runs" / "regress-base" / "equal.json").read_text())["seconds"]

    terms = training.Terms(learners, sides(learners, judges), Budget(minutes=2), TINY, "cpu", progress=False)
    monkeypatch.setattr(training, "time", SimpleNamespace(monotonic=lambda: now[0]))
    monkeypatch.setattr(training, "prepare_cohort", takes(3000))
    monkeypatch.setattr("m2diff.training.loop.train", takes(90, SystemExit))
    assert charged() == 90  # the cohort was prepared before the clock started
    monkeypatch.setattr("m2diff.training.loop.train", takes(1000, SystemExit))
    assert charged() == 120  # never more than there was


def test_without_test_people_some_are_held_out_and_told(learners, tmp_path, bare):
    m2diff.benchmark(learners, tmp_path, methods=["regress-base"], budget="1steps", overrides=TINY, progress=False)
    about = json.loads((tmp_path / "benchmark.json").read_text())
    assert len(about["scored"]["persons"]) == 2
    assert not set(about["scored"]["persons"]) & set(about["trained on"]["persons"])
    card = json.loads((tmp_path / "runs" / "regress-base" / "card.json").read_text())
    assert card["training"]["held_out_persons"] == about["scored"]["persons"]


def test_a_person_on_both_sides_is_refused_before_anything_is_written(learners, tmp_path):
    with pytest.raises(BadInput, match="trained on and scored, but learner-0, learner-1"):
        m2diff.benchmark(learners, tmp_path / "out", methods=["gaussian"], test=learners, progress=False)
    assert not (tmp_path / "out").exists()


def test_weights_that_saw_a_scored_person_are_refused(done, learners, judges, tmp_path):
    run = done / "runs" / "regress-base"
    with pytest.raises(BadInput, match="regress-base was trained on learner-0"):
        m2diff.benchmark(judges, tmp_path / "out", methods=[str(run)], test=learners, progress=False)


def untelling(run: Path, to: Path, **told: object) -> Path:
    """A copy of a run whose card tells other things of its training."""
    shutil.copytree(run, to, ignore=shutil.ignore_patterns("checkpoints", "logs"))
    card = json.loads((to / "card.json").read_text())
    card["training"] = {**card["training"], **told} if told else None
    (to / "card.json").write_text(json.dumps(card))
    return to


def test_a_run_begun_from_weights_that_saw_a_scored_person_is_refused(done, learners, judges, tmp_path):
    seen = {"began_from": {"train_persons": ["judge-1"]}, "seen_persons": ["judge-1"]}
    run = untelling(done / "runs" / "regress-base", tmp_path / "mine", **seen)
    with pytest.raises(BadInput, match="mine was trained on judge-1"):
        compare(learners, judges, tmp_path / "out", methods=[str(run)], overrides=())
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("trained", [True, False])
def test_a_first_estimate_that_saw_a_scored_person_is_refused(trained, done, learners, judges, tmp_path, monkeypatch):
    seen = {"train_persons": ["judge-0"], "seen_persons": ["judge-0"]}
    first = untelling(done / "runs" / "regress-base", tmp_path / "first", **seen)
    monkeypatch.setattr(people, "FIRST", str(first))
    monkeypatch.setattr(methods_module, "FIRST", str(first))
    chain = str(done / "runs" / "ddpet3d-base") if trained else "ddpet3d-base"
    with pytest.raises(BadInput, match=r"the first estimate of ddpet3d-base \(first\) was trained on judge-0"):
        overrides = () if trained else TINY
        compare(learners, judges, tmp_path / "out", methods=[chain], overrides=overrides)
    assert not (tmp_path / "out").exists()


def test_whom_no_training_saw_is_said_where_every_card_tells_alone(done, learners, judges, tmp_path, monkeypatch):
    assert "of people whom no training saw" in (done / "index.html").read_text()
    assert json.loads((done / "benchmark.json").read_text())["not known in full whom they were trained on"] == []
    monkeypatch.setattr(run_module, "measured_costs", lambda *_, **__: {})
    run = untelling(done / "runs" / "regress-base", tmp_path / "silent")
    compare(learners, judges, tmp_path / "out", methods=[str(run)], overrides=(), drf=[20.0])
    text = (tmp_path / "out" / "index.html").read_text()
    assert "whom no training saw" not in text and "no card names the people of every run of silent." in text


def test_presets_that_differ_are_told_so(learners, judges, tmp_path, monkeypatch):
    monkeypatch.setattr(run_module, "measured_costs", lambda *_, **__: {})
    (tmp_path / "mine.yaml").write_text("model: {family: regress}\ntrain: {lr: 0.001}\n")
    (tmp_path / "yours.yaml").write_text("model: {family: regress}\n")
    methods = [str(tmp_path / "mine.yaml"), str(tmp_path / "yours.yaml")]
    compare(learners, judges, tmp_path / "out", methods=methods, drf=[4.0])
    differ = json.loads((tmp_path / "out" / "benchmark.json").read_text())["presets differ in"]
    assert differ == {"train.lr": {"mine": 0.001, "yours": 0.0003}}
    assert "The presets differ in train.lr: mine 0.001, yours 0.0003." in (tmp_path / "out" / "index.html").read_text()


def test_who_is_held_out_is_said_by_the_overrides_alone(learners, tmp_path, bare):
    (tmp_path / "mine.yaml").write_text("model: {family: regress}\ndata: {held_out: [learner-1, learner-2]}\n")
    overrides = [*TINY, "data.held_out=[learner-3, learner-0]"]
    own = {"methods": [str(tmp_path / "mine.yaml"), "gaussian"], "budget": "1steps", "progress": False}
    m2diff.benchmark(learners, tmp_path / "out", overrides=overrides, **own)
    about = json.loads((tmp_path / "out" / "benchmark.json").read_text())
    assert about["scored"]["persons"] == ["learner-0", "learner-3"]
    assert about["trained on"]["persons"] == ["learner-1", "learner-2"]


def test_with_people_to_score_everybody_else_is_trained_on(learners, judges, tmp_path, bare):
    (tmp_path / "mine.yaml").write_text("model: {family: regress}\ndata: {held_out: [learner-1]}\n")
    compare(learners, judges, tmp_path / "out", methods=[str(tmp_path / "mine.yaml")], drf=[4.0])
    card = json.loads((tmp_path / "out" / "runs" / "mine" / "card.json").read_text())
    assert card["training"]["train_persons"] == [f"learner-{n}" for n in range(4)]


def test_a_scored_person_who_lacks_something_is_refused_before_anything_is_trained(learners, judges, tmp_path):
    cohort = shutil.copytree(judges, tmp_path / "cohort")
    bids.derived_path(cohort, "013", "lesions").unlink()
    bids.t1_path(cohort, "013").unlink()
    with pytest.raises(BadInput, match="but sub-013 has no MRI, no lesions;"):
        compare(learners, cohort, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_page_is_complete_in_itself(done):
    page = (done / "index.html").read_text()
    assert re.findall(r"https?:|//[a-z]+\.|<link|@import|src=\"(?!data:)|url\(", page) == []
    assert page.count("data:image/png;base64,") == 3
    for part in ("Image quality", "Regional uptake", "Alzheimer", "Lesions", "Cost", "All scans are simulated"):
        assert part in page
    assert (done / "pictures" / "curves.png").read_bytes().startswith(b"\x89PNG")
    assert "smallest p" in page  # two persons: nothing can be significant


def test_costs_are_of_the_method(done, judges):
    costs = {key.split(" ")[0]: each for key, each in json.loads((done / "costs.json").read_text()).items()}
    assert costs["gaussian"]["parameters"] == 0 and costs["regress-base"]["parameters"] > 1000
    run = done / "runs" / "regress-base"
    _, entry = methods_module.with_weights(methods_module.parse_methods([str(run)]), {})
    alone = cost._measured(entry, bids.pet_path(judges, "011", 4), None, 4.0, "cpu")
    assert alone.parameters == costs["regress-base"]["parameters"]
    assert alone.peak_mib >= alone.base_mib > 50


def test_a_method_that_fails_does_not_keep_the_others(learners, judges, tmp_path, monkeypatch, bare):
    def broken(*arguments, **options):
        if options["weights"] == "nlm":
            raise BadInput("it broke.")
        return enhance(*arguments, **options)

    monkeypatch.setattr("m2diff.benchmarking.methods.enhance", broken)
    with pytest.raises(BadInput, match=r"4 of 20 images could not be scored \(the others are\): nlm, 011: it broke"):
        compare(learners, judges, tmp_path, methods=["nlm,gaussian"], overrides=(), drf=[4.0])
    assert {row["method"] for row in read_rows(tmp_path / "rows.jsonl").values()} == {
        "low-dose", "gaussian", "standard", "noise-free",
    }  # fmt: skip


def test_a_preset_that_cannot_be_trained_is_told_when_the_others_are_done(learners, judges, tmp_path, bare):
    (tmp_path / "odd.yaml").write_text("model: {family: regress}\ntrain: {steps: 2}\ndata: {crop: [17, 17]}\n")
    own = [text for text in TINY if "crop" not in text]
    with pytest.raises(BadInput, match=r"1 of 2 presets could not be trained \(the others are\): odd: data.crop must"):
        methods = [str(tmp_path / "odd.yaml"), "regress-base"]
        compare(learners, judges, tmp_path / "out", methods=methods, overrides=own)
    assert (tmp_path / "out" / "runs" / "regress-base" / "weights.safetensors").is_file()


def test_presets_with_budgets_of_their_own_are_not_equal(learners, judges, tmp_path):
    (tmp_path / "short.yaml").write_text("model: {family: regress}\ntrain: {steps: 7}\n")
    with pytest.raises(BadInput, match=r"budgets of their own \(regress-base 16000, .*short.yaml 7\)"):
        compare(learners, judges, tmp_path, methods=["regress-base", str(tmp_path / "short.yaml")], budget=None)


@pytest.mark.parametrize("wrong", [{"jobs": 0}, {"jobs": -1}, {"seed": -1}])
def test_numbers_out_of_range_are_refused_by_command_and_function(wrong, learners, judges, tmp_path, capsys):
    ((name, value),) = wrong.items()
    with pytest.raises(BadInput, match=f"--{name} .*{value}; correct it"):
        compare(learners, judges, tmp_path / "out", **wrong)
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "--data", str(learners), "--out", str(tmp_path / "out"), f"--{name}", str(value)])
    assert end.value.code == 2 and f"--{name}" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--methods", "nonesuch"], "No method is called nonesuch"),
        (["--methods", "gaussian@steps=2"], "A filter takes no option"),
        (["--methods", "regress-base@steps=0"], "Options look like"),
        (["--budget", "soon"], "A budget looks like"),
        (["--methods", "gaussian", "--against", "nlm"], "--against must be one of the methods"),
        (["--methods", "m2diff-base@samples=inf"], "Options look like"),
        (["--methods", "gaussian", "--set", "train.lr=0.1"], "nothing reads --set train.lr=0.1"),
        (["--methods", "gaussian", "--set", "train.seed=1"], "nothing reads --set train.seed=1"),
        (["--set", "data.held_out=[a]"], "With --test everybody in --data is trained on"),
        (["--set", "data={batch: 3}"], "--set takes one value"),
        (["--methods", "gaussian", "--drf", "7"], "No scored scan has a dose reduction factor of 7"),
    ],
)
def test_what_cannot_be_is_one_sentence(arguments, says, learners, judges, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["benchmark", "--data", str(learners), "--test", str(judges), "--out", str(tmp_path / "out"), *arguments])
    said = capsys.readouterr().err.strip()
    assert end.value.code == 2 and says in said and len(said.splitlines()) == 1
    assert not (tmp_path / "out").exists()
