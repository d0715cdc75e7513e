"""Does an image still tell the patients from the healthy? AUC, difference and effect size of one number a scan.

    AUC          the chance that a patient's value lies below a healthy one's, ties counting half (Mann-Whitney):
                 hypometabolism lowers the value. 0.5 is no better than a coin, 1 is perfect
    difference   mean healthy - mean patients: what the image keeps of the disease's mark
    effect       the difference / pooled standard deviation (Cohen's d): goes on where the AUC stands at 1

Intervals are bootstrapped over persons, each drawn with all of their scans: two scans of one anatomy are not two
persons. Draws that lack one of the groups are left out. The effect has no interval: of few persons, many draws hold
nobody twice apart, and their spread is next to nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import nan

import numpy as np
import numpy.typing as npt

from m2diff.evaluate.compare import Interval

Values = npt.NDArray[np.float64]
DRAWS = 2000


@dataclass(frozen=True)
class Labelled:
    """One scan: whose, of which group, and the number that should tell."""

    person: str
    patient: bool
    value: float


@dataclass(frozen=True)
class Separation:
    """How well the number separates; ``Interval.persons`` counts persons, whatever their scans."""

    auc: Interval
    difference: Interval
    effect: float
    patients: int
    healthy: int
    """Scans of each group."""


def separation(
    scans: Sequence[Labelled], *, generator: np.random.Generator, confidence: float = 0.95, draws: int = DRAWS
) -> Separation | None:
    """AUC, difference and effect of ``scans``; None where one of the groups is missing."""
    patient = np.array([scan.patient for scan in scans], dtype=bool)
    values = np.array([scan.value for scan in scans], dtype=np.float64)
    if not patient.any() or patient.all():
        return None
    persons = sorted({scan.person for scan in scans})
    places = [np.flatnonzero([scan.person == person for scan in scans]) for person in persons]
    drawn = []
    for _ in range(draws):
        chosen = np.concatenate([places[n] for n in generator.integers(len(persons), size=len(persons))])
        drawn.append(_both(values[chosen], patient[chosen]))
    point, low, high = _both(values, patient), *_edges(np.array(drawn), confidence)
    area, difference = (Interval(point[n], low[n], high[n], len(persons)) for n in range(2))
    known = effect(values[patient], values[~patient])
    return Separation(area, difference, known, int(patient.sum()), int((~patient).sum()))


def auc(patients: Values, healthy: Values) -> float:
    """The chance that a patient's value lies below a healthy one's; NaN where a group is empty."""
    if not len(patients) or not len(healthy):
        return nan
    below = patients[:, None] < healthy[None, :]
    ties = patients[:, None] == healthy[None, :]
    return float(np.mean(below + 0.5 * ties))


def effect(patients: Values, healthy: Values) -> float:
    """Cohen's d, positive where patients lie lower; NaN for groups of one scan or without spread."""
    freedom = len(patients) + len(healthy) - 2
    if len(patients) < 2 or len(healthy) < 2:
        return nan
    squares = sum(float(((group - group.mean()) ** 2).sum()) for group in (patients, healthy))
    spread = np.sqrt(squares / freedom)
    return float((healthy.mean() - patients.mean()) / spread) if spread > 0 else nan


def _both(values: Values, patient: npt.NDArray[np.bool_]) -> tuple[float, float]:
    sick, well = values[patient], values[~patient]
    if not sick.size or not well.size:
        return nan, nan
    return auc(sick, well), float(well.mean() - sick.mean())


def _edges(drawn: Values, confidence: float) -> tuple[list[float], list[float]]:
    """Lower and upper quantile of each column, over the draws that have a value."""
    edges = []
    for column in drawn.T:
        known = column[np.isfinite(column)]
        wanted = [(1 - confidence) / 2, (1 + confidence) / 2]
        edges.append(np.quantile(known, wanted).tolist() if known.size else [nan, nan])
    return [low for low, _ in edges], [high for _, high in edges]
