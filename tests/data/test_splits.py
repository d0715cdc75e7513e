"""Splits: a person is on one side only."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2diff.data.splits import by_person, in_both
from m2diff.errors import BadInput, Notice
from m2diff.io import bids


@dataclass(frozen=True)
class Session:
    label: str
    person: str


cohorts = st.lists(st.integers(0, 9), min_size=1, max_size=40).map(
    lambda persons: [Session(f"{n:03d}", f"p{person}") for n, person in enumerate(persons)]
)


@given(cohorts, st.floats(0.0, 0.95), st.integers(0, 1000))
def test_no_person_is_on_both_sides_and_nobody_is_lost(cohort: list[Session], fraction: float, seed: int):
    split = by_person(cohort, fraction=fraction, seed=seed)
    assert not {s.person for s in split.train} & {s.person for s in split.valid}
    assert sorted((*split.train, *split.valid), key=lambda s: s.label) == cohort
    assert split.train


def test_every_session_of_a_held_out_person_is_held_out():
    cohort = [Session("1", "anna"), Session("2", "ben"), Session("3", "anna"), Session("4", "carl")]
    split = by_person(cohort, held_out=["anna"])
    assert [s.label for s in split.valid] == ["1", "3"]


def test_the_same_seed_holds_out_the_same_persons_whatever_the_order():
    cohort = [Session(str(n), f"p{n % 10}") for n in range(30)]
    first, second = by_person(cohort, fraction=0.3, seed=5), by_person(cohort[::-1], fraction=0.3, seed=5)
    assert {s.person for s in first.valid} == {s.person for s in second.valid}
    assert len({s.person for s in first.valid}) == 3


def test_another_seed_holds_out_others():
    cohort = [Session(str(n), f"p{n}") for n in range(30)]
    drawn = {tuple(s.person for s in by_person(cohort, fraction=0.2, seed=seed).valid) for seed in range(5)}
    assert len(drawn) == 5


def test_a_fraction_of_less_than_one_person_is_one():
    split = by_person([Session(str(n), f"p{n}") for n in range(10)], fraction=0.01)
    assert len({s.person for s in split.valid}) == 1


def test_a_cohort_of_one_person_is_trained_on_whole():
    split = by_person([Session("1", "anna"), Session("2", "anna")], fraction=0.5)
    assert len(split.train) == 2 and not split.valid


def test_an_unknown_person_to_hold_out_is_refused_in_one_sentence():
    with pytest.raises(BadInput, match=r"anna.*zoe.*data\.held_out"):
        by_person([Session("1", "anna"), Session("2", "ben")], held_out=["zoe"])


def test_holding_out_everybody_is_refused():
    with pytest.raises(BadInput, match="somebody to train on"):
        by_person([Session("1", "anna")], held_out=["anna"])


# People of the bundled template


def listed(root, anatomies, anatomy, seed=1, labels=("001", "002", "003")):
    """A finished cohort as far as its names go: no image is read to split it."""
    recipe = {"seed": seed, "anatomies": anatomies}
    bids.write_json(root / "dataset_description.json", {"M2diffRecipe": recipe})
    rows = "".join(f"sub-{label}\t{anatomy}\thealthy\n" for label in labels)
    (root / "participants.tsv").write_text("participant_id\tanatomy\tgroup\n" + rows)
    for label in labels:
        bids.write_json(bids.record_path(root, label), {})
    return root


def persons(root):
    return [subject.person for subject in bids.find_subjects(root)]


def test_everybody_warped_from_the_template_is_a_person_of_their_own(tmp_path):
    names = persons(listed(tmp_path, None, "MNI152"))
    assert names == ["MNI152-seed1-001", "MNI152-seed1-002", "MNI152-seed1-003"]
    assert all(map(bids.of_template, names))


def test_the_same_person_of_the_template_has_one_name_in_every_cohort(tmp_path):
    """Same seed and number: the same shape. A wider label, as once past 999 persons, is the same number."""
    first = persons(listed(tmp_path / "first", None, "MNI152"))
    longer = persons(listed(tmp_path / "longer", None, "MNI152", labels=("0002", "0004")))
    other = persons(listed(tmp_path / "other", None, "MNI152", seed=2))
    assert in_both(first, longer) == ["MNI152-seed1-002"] and in_both(first, other) == []


def test_people_of_real_anatomies_are_split_by_anatomy_as_ever(tmp_path):
    assert persons(listed(tmp_path / "real", "malf", "1036")) == ["1036"] * 3
    assert persons(listed(tmp_path / "named", "mine", "MNI152")) == ["MNI152"] * 3  # one anatomy of a folder


@pytest.mark.parametrize("description", [None, "{", "[]", "{}", json.dumps({"M2diffRecipe": {"seed": None}})])
def test_a_cohort_that_does_not_tell_its_seed_still_loads_as_one_anatomy(tmp_path, description):
    root = listed(tmp_path, None, "MNI152")
    (root / "dataset_description.json").unlink()
    if description is not None:
        (root / "dataset_description.json").write_text(description)
    assert persons(root) == ["MNI152"] * 3


def test_the_bare_template_may_be_any_of_its_people():
    people = ["MNI152-seed1-001", "1036"]
    assert in_both(["MNI152"], people) == ["MNI152-seed1-001"]
    assert in_both(people, ["MNI152", "1000"]) == ["MNI152"]
    assert in_both(["1000"], ["MNI152", "1036"]) == [] and in_both(people, ["1036"]) == ["1036"]


def test_a_split_among_people_of_the_template_holds_some_out_and_says_that_it_flatters():
    cohort = [Session(f"{n:03d}", bids.template_person(1, n)) for n in range(1, 11)]
    with pytest.warns(Notice, match="share its folds") as said:
        split = by_person(cohort, fraction=0.1)
    assert (len(split.train), len(split.valid), len(said)) == (9, 1, 1)


@pytest.mark.parametrize(("people", "fraction"), [(["1000", "1036"], 0.5), (["MNI152-seed1-001"] * 2, 0.5)])
def test_nothing_is_said_of_real_people_or_where_nobody_is_held_out(people, fraction):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        by_person([Session(str(n), person) for n, person in enumerate(people)], fraction=fraction)
