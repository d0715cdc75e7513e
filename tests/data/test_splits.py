"""Splits: a person is on one side only."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from m2diff.data.splits import by_person
from m2diff.errors import BadInput


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


def test_a_cohort_of_one_person_is_trained_on_whole():
    split = by_person([Session("1", "anna"), Session("2", "anna")], fraction=0.5)
    assert len(split.train) == 2 and not split.valid


def test_an_unknown_person_to_hold_out_is_refused_in_one_sentence():
    with pytest.raises(BadInput, match=r"anna.*zoe.*data\.held_out"):
        by_person([Session("1", "anna"), Session("2", "ben")], held_out=["zoe"])


def test_holding_out_everybody_is_refused():
    with pytest.raises(BadInput, match="somebody to train on"):
        by_person([Session("1", "anna")], held_out=["anna"])
