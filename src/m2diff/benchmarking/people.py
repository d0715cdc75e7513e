"""Who is trained on and who is scored: no person on both sides, nor among those that given weights saw (by card)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from math import log
from pathlib import Path
from typing import Any

from m2diff.benchmarking.methods import Entry, Method, loaded_weights, weights_label
from m2diff.data.cohort import is_cache, open_cohort
from m2diff.data.splits import by_person, in_both, tell_of_template
from m2diff.enhancement.run import FIRST
from m2diff.errors import BadInput
from m2diff.families import stored
from m2diff.io import bids

_SAME_DOSE = 0.05  # doses count as equal within this difference of logarithms: training cohorts may draw theirs
_FEWEST_HELD_OUT = 2  # least number of persons held out of a cohort


@dataclass(frozen=True)
class Learner:
    """One scan session of the training cohort."""

    label: str
    person: str
    doses: tuple[float, ...]
    record: str = ""  # hash of the simulation's record


@dataclass(frozen=True, eq=False)
class Sides:
    """The training side and the scored side."""

    train: tuple[Learner, ...]
    test: tuple[bids.Subject, ...]
    root: Path  # the cohort that the scored scans lie in
    held_out: tuple[str, ...]  # persons of the training cohort that are not trained on
    doses: tuple[float, ...]  # the dose reduction factors that are scored

    @property
    def train_persons(self) -> tuple[str, ...]:
        """All persons trained on."""
        return tuple(sorted({learner.person for learner in self.train}))

    @property
    def test_persons(self) -> tuple[str, ...]:
        """All persons scored."""
        return tuple(sorted({subject.person for subject in self.test}))

    @property
    def train_doses(self) -> tuple[float, ...]:
        """Dose reduction factors of the training cohort."""
        return tuple(sorted({dose for learner in self.train for dose in learner.doses}))

    def trained_on(self, drf: float) -> bool:
        """Whether the training cohort holds this dose."""
        return any(abs(log(drf / dose)) <= _SAME_DOSE for dose in self.train_doses)


def sides(
    data: Path,
    test: Path | None,
    *,
    drf: Iterable[float] = (),
    held_out: Iterable[str] = (),
    fraction: float = 0.1,
    seed: int = 0,
) -> Sides:
    """Both sides: the cohorts ``data`` and ``test``, or else ``data`` with ``held_out`` (or a ``fraction``) kept out.

    BadInput where a person is on both sides, too few are left, a scored person lacks an image, or nobody has a dose. A
    ``Notice`` says where both cohorts were warped from the template.
    """
    learners = _learners(data)
    if test is None:
        if is_cache(data):
            raise BadInput(f"{data} is a prepared cache, which cannot be scored; give the people to score by --test.")
        named = tuple(held_out)
        split = by_person(learners, held_out=named, fraction=0.0 if named else _share(learners, fraction), seed=seed)
        chosen = {learner.person for learner in split.valid}
        subjects = [subject for subject in bids.find_subjects(data) if subject.person in chosen]
        return Sides(split.train, _whole(subjects), data, tuple(sorted(chosen)), _doses(subjects, drf))
    scored = bids.find_subjects(test)
    both = in_both((learner.person for learner in learners), (subject.person for subject in scored))
    if both:
        way = "leave them out of one (m2diff simulate --without)."
        if all(map(bids.of_template, both)):  # no option leaves them out, but a new seed makes others
            way = "make one of them anew with another seed (m2diff simulate --seed)."
        raise BadInput(f"Nobody may be trained on and scored, but {', '.join(both)} is in both cohorts; {way}")
    tell_of_template((learner.person for learner in learners), (subject.person for subject in scored))
    return Sides(tuple(learners), _whole(scored), test, (), _doses(scored, drf))


def refuse_seen_beforehand(chosen: Sequence[Method], models: Mapping[str, Mapping[str, Any]], sides: Sides) -> None:
    """Refuse, before training, given weights that saw a scored person, and the shipped first estimate if it did.

    ``models``: the model of every preset, by method name. If a regression among the methods may be the first estimate,
    ``refuse_seen`` decides later.
    """
    cards = {method.name: loaded_weights(method.source).card for method in chosen if method.kind == "weights"}
    for name, card in cards.items():
        _refuse_card(name, card, sides)
    if "regress" in {model.get("family") for model in (*models.values(), *(card["model"] for card in cards.values()))}:
        return
    for name, model in models.items():
        if (model.get("sampling") or {}).get("start") is not None:
            _refuse_card(_first_estimate(name, FIRST), loaded_weights(FIRST).card, sides)


def refuse_seen(entries: Sequence[Entry], sides: Sides) -> None:
    """Refuse methods that saw a scored person, themselves or by their first estimate, according to their cards."""
    for name, card in _cards(entries):
        _refuse_card(name, card, sides)


def not_told_in_full(entries: Sequence[Entry]) -> tuple[str, ...]:
    """Weights whose card does not name everybody they saw."""
    return tuple(dict.fromkeys(name for name, card in _cards(entries) if not stored.tells_all(card)))


def scan_id(subject: bids.Subject) -> str:
    """A scan's label and the hash of its record, since cohorts may share labels."""
    return f"{subject.label} {_hash_of(subject.record)}"


def _cards(entries: Sequence[Entry]) -> list[tuple[str, Mapping[str, Any]]]:
    """The cards of all weights used, each with its name in messages."""
    own = [(entry.method.name, entry.card) for entry in entries if entry.weights is not None]
    first = [(_first_estimate(e.method.name, e.first), loaded_weights(e.first).card) for e in entries if e.first]
    return [*own, *first]


def _first_estimate(name: str, source: str) -> str:
    return f"the first estimate of {name} ({weights_label(stored.find(source))})"


def _refuse_card(name: str, card: Mapping[str, Any], sides: Sides) -> None:
    both = in_both(stored.seen_persons(card), sides.test_persons)
    if both:
        raise BadInput(
            f"{name} was trained on {', '.join(both)}, who would be scored; score other people, or leave these "
            "weights out."
        )


def _hash_of(record: Path | None) -> str:
    return sha256(b"" if record is None else record.read_bytes()).hexdigest()


def _whole(subjects: list[bids.Subject]) -> tuple[bids.Subject, ...]:
    """``subjects``; BadInput if one lacks an image needed for scoring."""
    for each in subjects:
        needed = {
            "MRI": each.t1, "standard scan": each.standard, "noise-free image": each.noise_free, "mask": each.mask,
            "labels": each.labels, "lesions": each.lesions, "record": each.record,
        }  # fmt: skip
        missing = [what for what, path in needed.items() if path is None or not path.is_file()]
        if missing:
            raise BadInput(
                f"Who is scored must be a finished person of m2diff simulate, but sub-{each.label} has no "
                f"{', no '.join(missing)}; score another cohort, or finish this one."
            )
    return tuple(subjects)


def _learners(data: Path) -> list[Learner]:
    if not data.is_dir():
        raise BadInput(f"The data must be a cohort folder, but {data} is none; make one with m2diff simulate.")
    if is_cache(data):  # a cache holds no records
        return [
            Learner(each.label, each.person, each.doses, _hash_of(each.folder / "meta.json"))
            for each in open_cohort(data)
        ]
    return [
        Learner(each.label, each.person, tuple(each.low), _hash_of(each.record)) for each in bids.find_subjects(data)
    ]


def _share(learners: list[Learner], fraction: float) -> float:
    """The share of all persons to hold out, at least two; BadInput if nobody would be left for training."""
    persons = {learner.person for learner in learners}
    if len(persons) <= _FEWEST_HELD_OUT:
        raise BadInput(
            f"A comparison holds out at least {_FEWEST_HELD_OUT} persons and trains on others, but the cohort has "
            f"{len(persons)} ({', '.join(sorted(persons))}); give more anatomies, or others by --test."
        )
    return max(fraction, _FEWEST_HELD_OUT / len(persons))


def _doses(subjects: Iterable[bids.Subject], wanted: Iterable[float]) -> tuple[float, ...]:
    """The doses to score, ascending; BadInput for one that no scan has."""
    there = {drf for subject in subjects for drf in subject.low}
    missing = sorted(set(wanted) - there)
    if missing:
        raise BadInput(
            f"No scored scan has a dose reduction factor of {', '.join(f'{drf:g}' for drf in missing)}; they have "
            f"{', '.join(f'{drf:g}' for drf in sorted(there))}."
        )
    return tuple(sorted(set(wanted) or there))
