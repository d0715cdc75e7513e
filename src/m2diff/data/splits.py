"""Splits by person, never by scan, slab or slice: sessions of one person share a brain.

People of the bundled template have shapes of their own but share its folds, so a split among them flatters.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from m2diff.errors import BadInput, Notice
from m2diff.io.bids import TEMPLATE, of_template


class HasPerson(Protocol):
    """Has the person (anatomy) that it was made from."""

    @property
    def person(self) -> str:
        """Name of the person."""
        ...


S = TypeVar("S", bound=HasPerson)


@dataclass(frozen=True)
class Split(Generic[S]):
    """Subjects to train on and subjects to validate on; no person is on both sides."""

    train: tuple[S, ...]
    valid: tuple[S, ...]


def by_person(subjects: Sequence[S], *, held_out: Iterable[str] = (), fraction: float = 0.0, seed: int = 0) -> Split[S]:
    """Hold out the persons ``held_out``, or else a random ``fraction`` (at least one; none of a cohort of one).

    Gives a ``Notice`` where people of the bundled template are on both sides.
    """
    persons = sorted({subject.person for subject in subjects})
    chosen = _named(persons, held_out)
    if not chosen and fraction > 0 and len(persons) > 1:
        count = min(max(1, round(fraction * len(persons))), len(persons) - 1)
        chosen = set(np.random.default_rng(seed).permutation(persons)[:count].tolist())
    train = tuple(subject for subject in subjects if subject.person not in chosen)
    valid = tuple(subject for subject in subjects if subject.person in chosen)
    if not train:
        raise BadInput(
            f"a split must leave somebody to train on, but all {len(persons)} persons are held out; hold out fewer."
        )
    tell_of_template((subject.person for subject in train), (subject.person for subject in valid))
    return Split(train, valid)


def in_both(trained_on: Iterable[str], scored: Iterable[str]) -> list[str]:
    """Sorted persons of ``scored`` that are or may be trained on; the template's bare name means any of its people."""
    learners, others = set(trained_on), set(scored)
    anybody = TEMPLATE in learners or (TEMPLATE in others and any(map(of_template, learners)))
    return sorted((learners & others) | {person for person in others if anybody and of_template(person)})


def tell_of_template(trained_on: Iterable[str], held_out: Iterable[str]) -> None:
    """Give a ``Notice`` where both sides hold people of the bundled template."""
    if any(map(of_template, trained_on)) and any(map(of_template, held_out)):
        sentence = (
            f"All people of the bundled template ({TEMPLATE}) share its folds, so the figures on those who are held "
            "out flatter; give real people with m2diff simulate --anatomies for figures that hold."
        )
        warnings.warn(sentence, Notice, stacklevel=3)


def _named(persons: list[str], held_out: Iterable[str]) -> set[str]:
    names = {str(name) for name in held_out}
    unknown = sorted(names - set(persons))
    if unknown:
        raise BadInput(
            f"persons to hold out must be in the cohort ({', '.join(persons)}), but {', '.join(unknown)} "
            "is not; correct data.held_out."
        )
    return names
