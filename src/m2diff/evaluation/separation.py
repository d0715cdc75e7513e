"""Does one number per scan separate patients from healthy persons?

    AUC          Mann-Whitney: the chance that a patient's value lies on the disease's side of a healthy one's, ties
                 half; below for FDG (hypometabolism), above for amyloid. 0.5 is chance, 1 is perfect
    difference   mean healthy - mean patients
    effect       difference / pooled standard deviation (Cohen's d); still grows where the AUC is 1

Intervals are bootstrapped over persons, each with all their scans; draws without one of the groups are left out. The
effect has none: with few persons its draws are unstable.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import numpy.typing as npt

from m2diff.evaluation.compare import Interval

Values = npt.NDArray[np.float64]
DRAWS = 2000


@dataclass(frozen=True)
class Labelled:
    """One scan: its person, its group, and the number."""

    person: str
    patient: bool
    value: float


@dataclass(frozen=True)
class Separation:
    """How well the number separates; ``Interval.persons`` counts persons, not scans."""

    auc: Interval
    difference: Interval
    effect: float
    patients: int
    healthy: int  # scans of each group


def separation(
    scans: Sequence[Labelled], *, generator: np.random.Generator, raised: bool = False, draws: int = DRAWS
) -> Separation | None:
    """AUC, difference and effect; None if a group is missing. ``raised``: disease raises the value (difference < 0)."""
    patient = np.array([scan.patient for scan in scans], dtype=bool)
    values = np.array([scan.value for scan in scans], dtype=np.float64)
    if not patient.any() or patient.all():
        return None
    persons = sorted({scan.person for scan in scans})
    whose = [persons.index(scan.person) for scan in scans]
    drawn = generator.integers(len(persons), size=(draws, len(persons))) + len(persons) * np.arange(draws)[:, None]
    often = np.bincount(drawn.ravel(), minlength=draws * len(persons)).reshape(draws, len(persons))  # each person
    times = often[:, whose]
    area, difference = _weighted(values, patient, times, raised)
    point = _weighted(values, patient, np.ones((1, len(values)), dtype=np.int64), raised)
    spans = [_span(each) for each in (area, difference)]
    area_of, gap = (Interval(float(p[0]), *span, len(persons)) for p, span in zip(point, spans, strict=True))
    known = effect(values[patient], values[~patient])
    return Separation(area_of, gap, known, int(patient.sum()), int((~patient).sum()))


def effect(patients: Values, healthy: Values) -> float:
    """Cohen's d, positive where patients lie lower; NaN for groups of one scan or without spread."""
    freedom = len(patients) + len(healthy) - 2
    if len(patients) < 2 or len(healthy) < 2:
        return nan
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in (patients, healthy))
    spread = np.sqrt(squares / freedom)
    return float((healthy.mean() - patients.mean()) / spread) if spread > 0 else nan


def _weighted(
    values: Values, patient: npt.NDArray[np.bool_], times: npt.NDArray[np.int64], raised: bool
) -> tuple[Values, Values]:
    """AUC and difference where each scan counts ``times`` (draws, scans); NaN for draws without a group."""
    sick, well = times[:, patient].astype(np.float64), times[:, ~patient].astype(np.float64)
    ill, fine = values[patient], values[~patient]
    told = ill[:, None] > fine if raised else ill[:, None] < fine
    wins = told + 0.5 * (ill[:, None] == fine)
    with np.errstate(invalid="ignore", divide="ignore"):
        area = ((sick @ wins) * well).sum(axis=1) / (sick.sum(axis=1) * well.sum(axis=1))
        return area, well @ fine / well.sum(axis=1) - sick @ ill / sick.sum(axis=1)


def _span(drawn: Values) -> tuple[float, float]:
    """The middle 95 % of the draws that have a value."""
    known = drawn[np.isfinite(drawn)]
    low, high = np.quantile(known, [0.025, 0.975])
    return float(low), float(high)
