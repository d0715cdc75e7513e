"""Methods and budgets as text, and numbers over persons."""

from __future__ import annotations

import numpy as np
import pytest
from made_up import simulated

from m2diff.benchmarking import tables
from m2diff.benchmarking.methods import TRUTH, parse_methods, with_weights
from m2diff.benchmarking.people import Learner, Sides, scan_id, sides
from m2diff.benchmarking.score import MEASURED_VERSION, ShownScan, row_id, scoring_tasks
from m2diff.benchmarking.summary import (
    MARKERS,
    QUALITY,
    Measure,
    Measurements,
    compared,
    mean_distance,
    mean_of,
    told_apart,
)
from m2diff.benchmarking.training import Budget
from m2diff.errors import BadInput, Notice
from m2diff.io import bids

PSNR = QUALITY[0]


def test_the_input_comes_first_and_nothing_twice():
    assert [m.name for m in parse_methods(["gaussian,nlm", "gaussian"])] == ["low-dose", "gaussian", "nlm"]


@pytest.mark.parametrize(
    "text",
    ["m2diff-base@steps=5,samples=4", "m2diff-base@steps=5+samples=4", "m2diff-base@steps=5@samples=4"],
)
def test_options_join_their_method_however_they_are_written(text):
    _, method, other = parse_methods([f"{text},gaussian@mri=none"])
    assert (method.kind, method.source, method.options, method.mri) == (
        "preset", "m2diff-base", {"steps": 5, "samples": 4}, True,
    )  # fmt: skip
    assert (other.kind, other.mri) == ("filter", False)
    assert method.run == "m2diff-base"


def test_a_plain_name_is_trained_and_weights_of_that_name_are_asked_for():
    _, trained, given = parse_methods(["m2diff-base,weights:m2diff-base"])
    assert (trained.kind, given.kind, given.source) == ("preset", "weights", "m2diff-base")
    assert given.name == "weights:m2diff-base"


def test_a_run_is_called_by_its_folder(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "weights.safetensors").touch()
    for given in (tmp_path / "mine", tmp_path / "mine" / "weights.safetensors"):
        _, method = parse_methods([str(given)])
        assert (method.name, method.kind) == ("mine", "weights")


def test_a_folder_named_as_a_preset_is_spoken_of(tmp_path, monkeypatch):
    (tmp_path / "m2diff-base").mkdir()
    (tmp_path / "m2diff-base" / "weights.safetensors").touch()
    monkeypatch.chdir(tmp_path)
    with pytest.warns(Notice, match=r"the preset.*\./m2diff-base"):
        assert parse_methods(["m2diff-base"])[1].kind == "preset"
    assert parse_methods(["./m2diff-base"])[1].kind == "weights"


@pytest.mark.parametrize("name", ["standard", "noise-free"])
def test_a_method_is_not_called_as_the_tables_call_a_scan(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "weights.safetensors").touch()
    with pytest.raises(BadInput, match=f"call a scan {name}"):
        parse_methods([str(tmp_path / name)])


def test_two_sources_of_one_name_are_refused(tmp_path):
    (tmp_path / "gaussian").mkdir()
    (tmp_path / "gaussian" / "weights.safetensors").touch()
    with pytest.raises(BadInput, match="Two methods are called gaussian"):
        parse_methods(["gaussian", str(tmp_path / "gaussian")])


@pytest.mark.parametrize(
    ("text", "budget"),
    [("1500steps", Budget(1500)), ("1 step", Budget(1)), ("20min", Budget(minutes=20)), ("1.5h", Budget(minutes=90))],
)
def test_budgets_are_read(text, budget):
    assert Budget.parse(text) == budget


@pytest.mark.parametrize("text", ["", "20", "1.5steps", "0steps", "-5min", "0min", "a while"])
def test_what_is_no_budget_is_refused(text):
    with pytest.raises(BadInput, match="A budget looks like"):
        Budget.parse(text)


def test_a_dose_counts_as_trained_on_where_one_next_to_it_was(tmp_path):
    both = Sides((Learner("1", "a", (4.0, 19.5)),), (), tmp_path, (), ())
    assert both.trained_on(4) and both.trained_on(20) and not both.trained_on(10) and not both.trained_on(200)


def test_a_row_is_known_by_all_that_it_depends_on():
    one = {"method": "a", "drf": 4.0}
    assert row_id(one) == row_id(dict(reversed(one.items()))) != row_id({**one, "drf": 20.0})


def test_a_row_is_known_by_its_device_where_that_is_no_cpu(judges, tmp_path):
    both = sides(judges, None, held_out=["judge-0"])
    entry = with_weights(parse_methods(["gaussian"]), {})[1]
    scan = scan_id(both.test[0])
    parts = {
        "measured": MEASURED_VERSION,
        "method": "gaussian",
        "by": entry.identity,
        "scan": scan,
        "drf": 4.0,
        "seed": 7,
    }

    def ids(device: str) -> set[str]:
        made = scoring_tasks((entry,), both, ShownScan(both.test[0], ()), tmp_path, seed=7, device=device)
        return {task.id for task in made}

    assert row_id(parts) in ids("cpu")  # as before ids knew of devices
    assert row_id(parts | {"device": "cuda"}) in ids("cuda") and not ids("cpu") & ids("cuda")


def rows(values: dict[str, list[float]], against="standard", metric="psnr") -> Measurements:
    """A row a scan; scans 2n and 2n + 1 are of one person."""
    return Measurements([
        {
            "method": method, "scan": str(n), "person": str(n // 2), "group": ("healthy", "ad")[n % 2], "drf": 20.0,
            "measured": [[against, "brain", metric, value]],
        }
        for method, each in values.items()
        for n, value in enumerate(each)
    ])  # fmt: skip


def test_the_person_is_the_unit():
    found = mean_of(rows({"a": [1, 3, 10, 20]}), "a", 20.0, PSNR)
    assert (found.mean, found.persons) == (pytest.approx(8.5), 2)
    assert mean_of(rows({"a": [1, 3, 10, 20]}), "a", 20.0, PSNR, "ad").mean == pytest.approx(11.5)
    assert mean_of(rows({"a": [1.0]}), "a", 4.0, PSNR) is None


def test_methods_are_compared_pair_by_pair_and_corrected_together():
    rng = np.random.default_rng(0)
    base = rng.normal(30, 1, 16)
    measured = rows({"ours": list(base), "worse": list(base - 1), "better": list(base + 0.5), "same": list(base)})
    found = {
        each.paired.a: each for each in compared(measured, ["ours", "worse", "better", "same"], 20.0, PSNR, "ours")
    }
    assert set(found) == {"worse", "better", "same"}
    assert found["worse"].paired.difference.mean == pytest.approx(-1) and found["worse"].favours == "ours"
    assert (found["better"].favours, found["better"].wins) == ("better", 8)
    assert found["worse"].paired.p_value == pytest.approx(2 / 2**8)
    assert found["worse"].holm == pytest.approx(3 * 2 / 2**8)
    assert found["same"].holm == 1 and found["same"].favours == ""


def test_a_measure_that_should_be_zero_is_compared_by_its_distance():
    bias = Measure("standard", "bias_percent", "bias", "zero")
    measured = rows({"ours": [2.0, -2.0] * 6, "calm": [0.5, 0.5] * 6}, metric="bias_percent")
    (found,) = compared(measured, ["calm"], 20.0, bias, "ours")
    assert found.paired.difference.mean == pytest.approx(-1.5)  # opposite errors of one person do not cancel
    assert found.favours == "calm" and found.wins == 6
    distances = {name: mean_distance(measured, name, 20.0, bias) for name in ("ours", "calm", "absent")}
    assert distances == {"ours": pytest.approx(2), "calm": pytest.approx(0.5), "absent": None}
    assert tables._best(distances, bias) == "calm"  # though the signed errors of "ours" have the mean 0


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_patients_are_told_apart_on_the_side_on_which_the_truth_has_them(side):
    marker = MARKERS[0]

    def scans(method: str, drf: float, values: dict[str, float]) -> list[dict]:
        measured = {who: [(marker.against, "brain", marker.metric, value)] for who, value in values.items()}
        return [
            {"method": method, "person": who, "scan": who, "group": who[:-1], "drf": drf, "measured": measured[who]}
            for who in values
        ]

    truth = {"ad1": side, "ad2": 2 * side, "healthy1": 0.0, "healthy2": -side}
    one_wrong = truth | {"ad1": -0.5 * side}
    measured = Measurements([*scans(TRUTH, 1.0, truth), *scans("mine", 20.0, one_wrong)])
    assert told_apart(measured, TRUTH, 1.0, marker).auc.mean == 1
    found = told_apart(measured, "mine", 20.0, marker)
    assert found.auc.mean == 0.75 and found.difference.mean == pytest.approx(-1.25 * side)


def of_template(root, numbers, seed):
    """A cohort of people of the bundled template, as `m2diff simulate` without anatomies makes it."""
    simulated(root, {f"{n:03d}": ("MNI152", "ad" if n % 2 else "healthy") for n in numbers}, (4.0,))
    bids.write_json(root / "dataset_description.json", {"M2diffRecipe": {"seed": seed, "anatomies": None}})
    return root


def test_people_of_the_template_are_held_out_as_persons_and_it_is_said_once_that_they_share_folds(tmp_path):
    with pytest.warns(Notice, match="share its folds") as said:
        both = sides(of_template(tmp_path / "cohort", range(1, 6), 1), None)
    assert len(both.test) == 2 and len(both.train) == 3 and len(said) == 1
    assert not {learner.person for learner in both.train} & set(both.held_out)


def test_another_cohort_of_the_template_is_scored_unless_it_holds_the_same_people(tmp_path):
    data = of_template(tmp_path / "cohort", range(1, 4), 1)
    with pytest.warns(Notice, match="share its folds"):
        both = sides(data, of_template(tmp_path / "others", range(1, 3), 2))
    assert both.test_persons == ("MNI152-seed2-001", "MNI152-seed2-002")
    again = of_template(tmp_path / "again", range(3, 5), 1)
    with pytest.raises(BadInput, match=r"MNI152-seed1-003 is in both cohorts; make .* with another seed"):
        sides(data, again)
