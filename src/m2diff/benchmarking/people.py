"""Who is trained on and who is scored: whole persons, nobody on both sides."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from math import log
from pathlib import Path

from m2diff.data.cohort import PreparedSubject, is_cache, open_cohort
from m2diff.data.splits import by_person, in_both, tell_of_template
from m2diff.errors import BadInput
from m2diff.io import bids

SAME_DOSE = 0.05
"""Doses this near (in logarithm) count as one: cohorts to train on may draw theirs."""
FEWEST = 2
"""Persons that are held out of a cohort, at least."""


@dataclass(frozen=True)
class Learner:
    """One scan session of the training cohort."""

    label: str
    person: str
    doses: tuple[float, ...]
    record: str = ""
    """The hash of the record of its making."""


@dataclass(frozen=True, eq=False)
class Sides:
    """The training side and the scored side."""

    train: tuple[Learner, ...]
    test: tuple[bids.Subject, ...]
    root: Path
    """The cohort that the scored scans lie in."""
    held_out: tuple[str, ...]
    """Persons of the training cohort that are not trained on."""
    doses: tuple[float, ...]
    """The dose reduction factors that are scored."""

    @property
    def train_persons(self) -> tuple[str, ...]:
        """Everybody trained on."""
        return tuple(sorted({learner.person for learner in self.train}))

    @property
    def test_persons(self) -> tuple[str, ...]:
        """Everybody scored."""
        return tuple(sorted({subject.person for subject in self.test}))

    @property
    def train_doses(self) -> tuple[float, ...]:
        """Dose reduction factors of the training cohort."""
        return tuple(sorted({dose for learner in self.train for dose in learner.doses}))

    def trained_on(self, drf: float) -> bool:
        """Whether the training cohort holds this dose."""
        return any(abs(log(drf / dose)) <= SAME_DOSE for dose in self.train_doses)


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

    Raises BadInput where a person would be on both sides, where too few are left, where a scored person lacks what they
    are judged by, and for doses that nobody has. A ``Notice`` says where both sides were warped from the template.
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
        if all(map(bids.of_template, both)):  # whom no option names: another seed makes others
            way = "make one of them anew with another seed (m2diff simulate --seed)."
        raise BadInput(f"Nobody may be trained on and scored, but {', '.join(both)} is in both cohorts; {way}")
    tell_of_template((learner.person for learner in learners), (subject.person for subject in scored))
    return Sides(tuple(learners), _whole(scored), test, (), _doses(scored, drf))


def record_hash(subject: bids.Subject) -> str:
    """The hash of the record of a scan's making: the same label may be another scan in another cohort."""
    record = subject.record.read_bytes() if subject.record is not None else b""
    return sha256(record).hexdigest()


def _whole(subjects: list[bids.Subject]) -> tuple[bids.Subject, ...]:
    """``subjects``; BadInput where one lacks what it is judged by."""
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
    if is_cache(data):
        return [Learner(each.label, each.person, each.doses, _meta_hash(each)) for each in open_cohort(data)]
    return [Learner(each.label, each.person, tuple(each.low), record_hash(each)) for each in bids.find_subjects(data)]


def _meta_hash(subject: PreparedSubject) -> str:
    """A cache does not hold the records themselves."""
    return sha256((subject.folder / "meta.json").read_bytes()).hexdigest()


def _share(learners: list[Learner], fraction: float) -> float:
    """The share of all persons to hold out, at least ``FEWEST``; refuses a cohort that leaves nobody to train on."""
    persons = {learner.person for learner in learners}
    if len(persons) <= FEWEST:
        raise BadInput(
            f"A comparison holds out at least {FEWEST} persons and trains on others, but the cohort has "
            f"{len(persons)} ({', '.join(sorted(persons))}); give more anatomies, or others by --test."
        )
    return max(fraction, FEWEST / len(persons))


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
