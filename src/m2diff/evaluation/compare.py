"""What an enhancement is worth: in dose, and against another method over the same persons.

Dose equivalence. Plain reconstructions of a person at several doses have errors to the noise-free image. The dose at
which their error equals the enhanced image's, over the dose given, is the gain. Between doses the error is interpolated
log-log; beyond them it is taken as proportional to 1 / dose and marked as extrapolated.

Methods. Unit = person: means with bootstrap intervals, pairs by their difference and Wilcoxon's signed-rank test. For m
comparisons Holm's step-down: of p_1 <= ... <= p_m the k-th becomes max over j <= k of min(1, (m - j + 1) p_j).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np
from scipy import stats

from m2diff.errors import BadInput
from m2diff.evaluation.metrics import mean_squared_error
from m2diff.shapes import MaskArray, VolumeArray


@dataclass(frozen=True)
class DoseEquivalence:
    """The dose of plain reconstruction that gives the same error."""

    error: float  # mean squared error of the image to the noise-free one, in the mask
    given_drf: float
    equivalent_drf: float  # the dose reduction factor at which plain reconstruction has the same error; 0 for no error
    gain: float  # equivalent dose / given dose = given_drf / equivalent_drf
    extrapolated: bool  # whether the error is outside the ladder, and the 1 / dose law was used
    ladder: tuple[tuple[float, float], ...]
    """(dose reduction factor, error) of the plain reconstructions, by rising factor."""


def dose_equivalence(
    image: VolumeArray, noise_free: VolumeArray, ladder: Mapping[float, VolumeArray], mask: MaskArray, given_drf: float
) -> DoseEquivalence:
    """The dose at which plain reconstruction is as near to ``noise_free`` as ``image``, made from ``given_drf``.

    ``ladder``: plain reconstructions by dose reduction factor (1 is the standard scan), in the same unit.
    """
    if not ladder or not all(0 < drf < inf for drf in (*ladder, given_drf)):
        raise BadInput(
            f"Dose equivalence needs plain reconstructions at positive dose reduction factors, got {sorted(ladder)} "
            f"and a given factor of {given_drf:g}; give at least one."
        )
    rungs = tuple((float(drf), mean_squared_error(ladder[drf], noise_free, mask)) for drf in sorted(ladder))
    if rungs[0][1] <= 0:
        raise BadInput("A plain reconstruction equals the noise-free image, so it has no noise; check the ladder.")
    error = mean_squared_error(image, noise_free, mask)
    equivalent, extrapolated = equivalent_drf(error, rungs)
    gain = given_drf / equivalent if equivalent > 0 else inf
    return DoseEquivalence(error, float(given_drf), equivalent, gain, extrapolated, rungs)


def equivalent_drf(error: float, rungs: Sequence[tuple[float, float]]) -> tuple[float, bool]:
    """The factor at which ``rungs`` (factor, error), ascending, reach ``error``; and whether it is beyond them."""
    drfs, errors = np.array(rungs, dtype=np.float64).T
    errors = np.maximum.accumulate(errors)  # error must not fall as the dose falls; a lucky draw can
    if error <= 0:
        return 0.0, True
    if error < errors[0]:
        return float(drfs[0] * error / errors[0]), True
    if error > errors[-1]:
        return float(drfs[-1] * error / errors[-1]), True
    return float(np.exp(np.interp(np.log(error), np.log(errors), np.log(drfs)))), False


@dataclass(frozen=True)
class Interval:
    """A mean over persons and its bootstrap interval."""

    mean: float
    low: float
    high: float
    persons: int


@dataclass(frozen=True)
class Paired:
    """Methods a and b on the same persons: the mean difference a - b, its interval, and a p value."""

    a: str
    b: str
    difference: Interval
    p_value: float  # Wilcoxon signed-rank, two-sided; 1 where no person differs


def interval(
    values: Sequence[float], *, generator: np.random.Generator, confidence: float = 0.95, draws: int = 10_000
) -> Interval:
    """The mean of one number per person, and its percentile bootstrap interval over persons."""
    sample = np.asarray(values, dtype=np.float64)
    if sample.ndim != 1 or sample.size == 0 or not np.isfinite(sample).all():
        raise BadInput(f"An interval needs one finite number a person, got {list(values)}; drop what has none.")
    means = sample[generator.integers(sample.size, size=(draws, sample.size))].mean(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(float(sample.mean()), float(low), float(high), sample.size)


def paired(
    a: Mapping[str, float], b: Mapping[str, float], *, names: tuple[str, str], generator: np.random.Generator
) -> Paired:
    """Compare two methods by one number per person (person -> number); BadInput unless both have the same persons."""
    if a.keys() != b.keys():
        odd = ", ".join(sorted(a.keys() ^ b.keys()))
        raise BadInput(f"Paired methods need the same persons, but only one of the two has {odd}; score them for both.")
    differences = [a[person] - b[person] for person in sorted(a)]
    p_value = float(stats.wilcoxon(differences).pvalue) if any(differences) else 1.0
    return Paired(*names, interval(differences, generator=generator), p_value)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's adjusted p values, in the order given."""
    adjusted, largest = [1.0] * len(p_values), 0.0
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def smallest_p(persons: int) -> float:
    """The smallest p of Wilcoxon's two-sided test for so many persons: all differ the same way."""
    return min(1.0, 2.0 ** (1 - persons))
