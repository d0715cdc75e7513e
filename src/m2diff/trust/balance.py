"""Regional balance: an answer's regional means, corrected by what the scan itself says of them.

    low - answer = sum over regions of a_p B_p + noise,   a_p = level_p alpha_p,   alpha ~ N(0, T)

B_p: the region's indicator at the image's resolution. The noise's covariance is measured (``noise``). T has a variance
for each kind of region and a correlation between left and right; both are fitted to this scan by marginal likelihood
(empirical Bayes), so that a prior that is right is kept and one that the scan contradicts gives way. It is a geometric
transfer matrix (Rousset et al., J Nucl Med 39:904, 1998) with a prior.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import linalg, ndimage, optimize

from m2diff.preparation import grid
from m2diff.shapes import LabelArray, MaskArray, VolumeArray
from m2diff.trust.noise import Noise

RESOLUTION_MM = 6.0
UNFOLLOWED = 0.4
"""Share of the residual's noise that counts against the scan. An answer follows most of a regional mean's noise, so
that little of it is left in the residual; what the estimated spectrum shows there leaks in from finer noise."""
COARSE = 2  # the equations are set up on blocks of 2 x 2 x 2 working voxels
TYPICAL, WIDTH = 0.03, 0.7
"""What relative deviations are expected before the scan is seen: log-normal, median and width in natural logs."""
LEAST_VOXELS = 8

Matrix = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Partition:
    """``labels`` (i, j, k) on the working grid: 0 outside, else a region's number. ``kind``, ``pair`` by number.

    ``kind``: which variance a region shares. ``pair``: the number of its other side, or its own.
    """

    labels: LabelArray
    kind: dict[int, str]
    pair: dict[int, int]


@dataclass(frozen=True, eq=False)
class Balance:
    """``correction`` (i, j, k): what is added to the answer. ``covariance``: of the deviations of ``numbers``.

    ``shapes`` (regions, coarse voxels): what one unit of a region's amount adds. ``deviation``: the fitted prior, by
    kind.
    """

    correction: VolumeArray
    numbers: tuple[int, ...]
    covariance: Matrix
    shapes: npt.NDArray[np.float32]
    deviation: dict[str, float]


def balance(low: VolumeArray, answer: VolumeArray, partition: Partition, inside: MaskArray) -> Balance:
    """The balance of ``answer`` against its scan ``low``, both (i, j, k) on the working grid and normalised."""
    labels = partition.labels
    sizes = np.bincount(labels[labels > 0])
    numbers = [int(n) for n in np.flatnonzero(sizes >= LEAST_VOXELS)]
    residual = coarse(np.where(inside, low - answer, 0.0))
    noise = Noise.of(residual, coarse(inside) > 0.5, grid.WORKING_MM * COARSE)
    shapes = indicators(labels, numbers)
    flat = shapes.reshape(len(numbers), -1)
    levels = ndimage.mean(answer, labels, numbers)
    flat = flat * np.maximum(levels, 0.0).astype(np.float32)[:, None]
    gram = (flat @ flat.T).astype(np.float64)
    seen = (flat @ residual.ravel()).astype(np.float64)
    through = np.array([noise.through(each.reshape(residual.shape)).ravel() for each in flat])
    spread = UNFOLLOWED * (through @ flat.T).astype(np.float64)
    spread = (spread + spread.T) / 2 + 1e-9 * np.trace(spread) / len(numbers) * np.eye(len(numbers))
    kinds = sorted({partition.kind[n] for n in numbers})
    prior = _Prior(numbers, kinds, partition)
    chosen = prior.fitted(gram, spread, seen)
    before = prior.covariance(chosen)
    gain = linalg.solve(gram @ before @ gram + spread, gram @ before, assume_a="pos").T
    amount = gain @ seen
    after = before - gain @ gram @ before
    added = np.zeros(int(labels.max()) + 1, dtype=np.float32)
    added[numbers] = amount * levels
    return Balance(
        correction=grid.smoothed(added[labels], RESOLUTION_MM),
        numbers=tuple(numbers),
        covariance=after,
        shapes=flat,
        deviation=dict(zip(kinds, np.exp(chosen[:-1]).tolist(), strict=True)),
    )


@dataclass(frozen=True, eq=False)
class _Prior:
    """The covariance of relative deviations: log standard deviations of the kinds, then a logit of left with right."""

    numbers: list[int]
    kinds: list[str]
    partition: Partition

    def covariance(self, chosen: npt.NDArray[np.float64]) -> Matrix:
        """T for these parameters."""
        place = {number: n for n, number in enumerate(self.numbers)}
        kind = [self.kinds.index(self.partition.kind[n]) for n in self.numbers]
        sd = np.exp(chosen[:-1])[kind]
        both = 1 / (1 + np.exp(-chosen[-1]))
        out = np.diag(sd**2)
        for number, n in place.items():
            other = place.get(self.partition.pair[number], n)
            if other != n:
                out[n, other] = both * sd[n] * sd[other]
        return out

    def fitted(self, gram: Matrix, spread: Matrix, seen: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """The parameters of the largest posterior given ``seen``."""

        def cost(chosen: npt.NDArray[np.float64]) -> float:
            total = gram @ self.covariance(chosen) @ gram + spread
            root = linalg.cholesky(total, lower=True)
            white = linalg.solve_triangular(root, seen, lower=True)
            fit = 0.5 * white @ white + np.log(np.diag(root)).sum()
            before = ((chosen[:-1] - np.log(TYPICAL)) / WIDTH) ** 2
            return float(fit + 0.5 * before.sum() + 0.5 * chosen[-1] ** 2 / 4)

        start = np.r_[np.full(len(self.kinds), np.log(TYPICAL)), 0.0]
        return np.asarray(optimize.minimize(cost, start, method="L-BFGS-B", options={"maxiter": 60}).x)


def coarse(image: npt.NDArray[np.generic]) -> VolumeArray:
    """Means over blocks of ``COARSE`` voxels a side; an axis is padded by its edge to a multiple."""
    pads = [(0, -size % COARSE) for size in image.shape]
    padded = np.pad(image.astype(np.float32), pads, mode="edge")
    i, j, k = (size // COARSE for size in padded.shape)
    return padded.reshape(i, COARSE, j, COARSE, k, COARSE).mean((1, 3, 5))


def indicators(labels: LabelArray, numbers: list[int]) -> npt.NDArray[np.float32]:
    """(regions, i, j, k) on the coarse grid: each region at the image's resolution."""
    whole = coarse(labels).shape
    out = np.zeros((len(numbers), *whole), dtype=np.float32)
    margin = 2 * round(RESOLUTION_MM / grid.WORKING_MM / COARSE) * COARSE
    boxes = ndimage.find_objects(labels)
    for row, number in zip(out, numbers, strict=True):
        span = tuple(
            slice(
                max(side.start - margin, 0) // COARSE * COARSE, min(-(-(side.stop + margin) // COARSE) * COARSE, size)
            )
            for side, size in zip(boxes[number - 1], labels.shape, strict=True)
        )
        part = coarse(grid.smoothed((labels[span] == number).astype(np.float32), RESOLUTION_MM))
        row[tuple(slice(s.start // COARSE, s.start // COARSE + n) for s, n in zip(span, part.shape, strict=True))] = (
            part
        )
    return out
