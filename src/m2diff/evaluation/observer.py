"""A model observer: how well can a lesion be told from its absence in images?

A channelised Hotelling observer (Myers and Barrett, JOSA A 4, 1987) sees each place g through a few Laguerre-Gauss
channels (Gallas and Barrett, JOSA A 20, 2003), here those of three dimensions, and weighs them, 1 with the lesion and 0
without it, by

    u_n(r) ~ exp(-r^2 / 2 s^2) L_n^(1/2)(r^2 / s^2)     v = U^T g     S = (S0 + S1) / 2
    w = S^-1 (mean v1 - mean v0)                        score = w^T (v - (mean v0 + mean v1) / 2)

ROC: the place is known; the area is the chance that a case with the lesion scores higher than one without it
(Mann-Whitney, ties half). For Gaussian channels it is Phi(SNR / sqrt 2), SNR^2 = dv^T S^-1 dv. LROC: the observer takes
the place of a region that scores highest, and a case with the lesion counts only where that place is a hit. Whoever is
scored did not train the weights (``left_out``). Intervals are bootstrapped over people, each with all their cases; the
weights are not trained anew for a draw.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erf

import numpy as np
import numpy.typing as npt

from m2diff.errors import BadInput
from m2diff.evaluation.compare import Interval
from m2diff.shapes import VolumeArray

Values = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.int64]
REACH = 3.0  # of a channel, in widths: its Gaussian has fallen to 1 %
DRAWS = 2000


@dataclass(frozen=True, eq=False)
class Outputs:
    """Channel outputs (cases, channels) of one class, and the number of each case's person, from 0 (cases,)."""

    values: Values
    people: Numbers


@dataclass(frozen=True, eq=False)
class Observer:
    """Trained weights (channels,) and the outputs (channels,) halfway between the classes."""

    weights: Values
    middle: Values

    def __call__(self, outputs: Values) -> Values:
        """The scores (...) of channel outputs (..., channels); higher means a lesion."""
        return (outputs - self.middle) @ self.weights

    def search(self, outputs: Values) -> tuple[float, int]:
        """Of places (places, channels) the highest score and where; places of NaN lie outside the region."""
        scores = self(outputs)
        best = int(np.nanargmax(scores))
        return float(scores[best]), best


def channels(width: float, count: int) -> npt.NDArray[np.float32]:
    """Channels (count, n, n, n) of unit length; ``width``: s in voxels. A Gaussian lesion of that s fills the first."""
    reach = int(np.ceil(REACH * width))
    axis = np.arange(-reach, reach + 1) / width
    squared = axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2
    before, polynomial, found = np.zeros_like(squared), np.ones_like(squared), []
    for n in range(count):
        found.append(polynomial * np.exp(-squared / 2))
        before, polynomial = polynomial, ((2 * n + 1.5 - squared) * polynomial - (n + 0.5) * before) / (n + 1)
    return np.array([each / np.linalg.norm(each) for each in found], dtype=np.float32)


def respond(patch: VolumeArray, seen_by: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Channel outputs (i - n + 1, j - n + 1, k - n + 1, channels) wherever ``seen_by`` fits in the patch (i, j, k)."""
    size = seen_by.shape[1]
    if min(patch.shape) < size:
        raise BadInput(f"Channels of {size} voxels an edge need a patch as large, got {patch.shape}; cut a larger one.")
    spectrum = np.conj(np.fft.rfftn(seen_by, patch.shape, axes=(1, 2, 3))) * np.fft.rfftn(patch)
    whole = np.fft.irfftn(spectrum, patch.shape, axes=(1, 2, 3))
    i, j, k = (n - size + 1 for n in patch.shape)
    return np.moveaxis(whole[:, :i, :j, :k], 0, -1).astype(np.float32)


def train(absent: Values, present: Values) -> Observer:
    """The observer of cases without and with the lesion, each (cases, channels); BadInput for too few."""
    difference, covariance = _moments(absent, present)
    weights = np.linalg.solve(covariance, difference).astype(np.float64)
    return Observer(weights, (absent.mean(axis=0) + present.mean(axis=0)) / 2)


def snr(absent: Values, present: Values) -> float:
    """The observer's signal-to-noise ratio on the cases (cases, channels) that train it: optimistic for few."""
    difference, covariance = _moments(absent, present)
    return float(np.sqrt(difference @ np.linalg.solve(covariance, difference)))


def gaussian_auc(ratio: float) -> float:
    """The area under the ROC of Gaussian scores of that SNR."""
    return (1 + erf(ratio / 2)) / 2


def _moments(absent: Values, present: Values) -> tuple[Values, Values]:
    """Difference of the means and mean covariance."""
    count = absent.shape[1]
    if min(len(absent), len(present)) <= count:
        raise BadInput(
            f"An observer of {count} channels needs more than {count} cases of each class to train on, got "
            f"{len(absent)} without and {len(present)} with the lesion; add cases or take fewer channels."
        )
    covariance = (np.cov(absent.T).reshape(count, count) + np.cov(present.T).reshape(count, count)) / 2
    return present.mean(axis=0) - absent.mean(axis=0), covariance


def left_out(absent: Outputs, present: Outputs) -> dict[int, Observer]:
    """For every person an observer that the others train."""
    return {
        int(person): train(absent.values[absent.people != person], present.values[present.people != person])
        for person in np.union1d(absent.people, present.people)
    }


@dataclass(frozen=True, eq=False)
class Tally:
    """Pairs of cases by the person of the one with the lesion and of the one without, (people, people)."""

    won: Values
    pairs: Values

    def area(self, times: Values) -> Values:
        """The area (draws,) where each person counts ``times`` (draws, people); NaN where a class is missing."""
        won, pairs = (np.einsum("dp,pq,dq->d", times, each, times, optimize=True) for each in (self.won, self.pairs))
        with np.errstate(invalid="ignore", divide="ignore"):
            return won / pairs


def tally(
    absent: tuple[Values, Numbers],
    present: tuple[Values, Numbers],
    people: int,
    *,
    hits: npt.NDArray[np.bool_] | None = None,
) -> Tally:
    """Pairs of scores (cases,) with the numbers of their people; ``hits`` of the present cases makes it the LROC."""
    (low, well), (high, sick) = absent, present
    won = (high[:, None] > low) + 0.5 * (high[:, None] == low)
    if hits is not None:
        won = won * hits[:, None]
    lesion, none = (np.eye(people)[whose] for whose in (sick, well))  # (cases, people)
    return Tally(lesion.T @ won @ none, np.outer(lesion.sum(axis=0), none.sum(axis=0)))


def area(tallies: Sequence[Tally], *, generator: np.random.Generator, draws: int = DRAWS) -> Interval:
    """The mean area of several kinds of lesions (or of one), and its 95 % interval over people."""
    return difference(tallies, [], generator=generator, draws=draws)


def difference(
    a: Sequence[Tally], b: Sequence[Tally], *, generator: np.random.Generator, draws: int = DRAWS
) -> Interval:
    """The mean area of ``a`` minus that of ``b`` on the same people, and its 95 % interval over people."""
    people = len(a[0].won)
    times = generator.multinomial(people, np.full(people, 1 / people), size=draws).astype(np.float64)
    drawn, point = (_mean(a, each) - _mean(b, each) for each in (times, np.ones((1, people))))
    known = drawn[np.isfinite(drawn)]
    low, high = np.quantile(known, [0.025, 0.975]) if known.size else (np.nan, np.nan)
    return Interval(float(point[0]), float(low), float(high), people)


def _mean(tallies: Sequence[Tally], times: Values) -> Values:
    """The mean area (draws,) of the tallies; 0 for none."""
    return np.mean([each.area(times) for each in tallies], axis=0) if tallies else np.zeros(len(times))
