"""Intervals: how far an answer may lie from the noise-free scan, by voxel and by region.

Both are a standard deviation times a factor. The standard deviation is worked out in each scan: of a voxel from the
local noise, level and gradient (``Calibration.log_sd``), of a regional mean from the noise's covariance and the balance
(``regional_sd``). The factor is conformal, by person: fitted on simulated people so that the interval holds as often as
it says, for each kind of tissue and level of noise (``reproduce/trust/calibrate.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from m2diff.preparation import grid
from m2diff.shapes import LabelArray, MaskArray, VolumeArray
from m2diff.trust.balance import Balance, coarse
from m2diff.trust.noise import Noise

FINE_MM, BROAD_MM = 8.0, 16.0
KINDS = ("cortex", "deep", "white", "cerebellum", "fluid")
_FLOOR = 1e-3  # of the brain's mean: keeps logarithms finite

Features = npt.NDArray[np.float32]  # (n, 8)


@dataclass(frozen=True, eq=False)
class Calibration:
    """What the calibration people taught, for one set of weights with an MRI or without.

    ``hidden``, ``hidden_bias``, ``out``, ``out_bias``: a perceptron from features to the log standard deviation.
    ``noise``: the levels (log) between which factors are interpolated. ``voxel``, ``region``: factor by kind, at each
    level of noise. ``joint``: what widens intervals to hold for all regions at once. ``alarm``: what the residual
    test's threshold is multiplied by, at each level of noise. ``terms``: by kind, what regional
    variances are made of.
    """

    mean: npt.NDArray[np.float64]
    scale: npt.NDArray[np.float64]
    hidden: npt.NDArray[np.float64]
    hidden_bias: npt.NDArray[np.float64]
    out: npt.NDArray[np.float64]
    out_bias: float
    noise: npt.NDArray[np.float64]
    voxel: Mapping[str, npt.NDArray[np.float64]]
    region: Mapping[str, npt.NDArray[np.float64]]
    joint: npt.NDArray[np.float64]
    terms: Mapping[str, npt.NDArray[np.float64]]
    alarm: npt.NDArray[np.float64]
    written: bool
    """Whether its intervals hold well enough to be shown (docs/trust.md); the residual test needs the rest."""

    @classmethod
    def from_json(cls, told: Mapping[str, Any]) -> Calibration:
        """From plain lists and numbers."""

        def by_kind(name: str) -> dict[str, npt.NDArray[np.float64]]:
            return {kind: np.array(values) for kind, values in told[name].items()}

        return cls(
            mean=np.array(told["mean"]),
            scale=np.array(told["scale"]),
            hidden=np.array(told["hidden"]),
            hidden_bias=np.array(told["hidden_bias"]),
            out=np.array(told["out"]),
            out_bias=float(told["out_bias"]),
            noise=np.array(told["noise"]),
            joint=np.array(told["joint"]),
            alarm=np.array(told["alarm"]),
            written=bool(told["written"]),
            voxel=by_kind("voxel"),
            region=by_kind("region"),
            terms=by_kind("terms"),
        )

    def log_sd(self, features: Features) -> npt.NDArray[np.float64]:
        """(n, features) to (n,): the log of the standard deviation before its factor."""
        inside = np.tanh((features - self.mean) / self.scale @ self.hidden + self.hidden_bias)
        return np.asarray(inside @ self.out + self.out_bias)

    def margin(self, noise: float) -> float:
        """What the residual test's threshold is multiplied by at this level of noise (``hidden.look``)."""
        return max(1.0, float(np.interp(np.log(noise), self.noise, self.alarm)))

    def factor(self, which: str, kind: str, noise: float) -> float:
        """The factor of ``voxel`` or ``region`` for a kind of tissue at this level of noise."""
        return float(np.interp(np.log(noise), self.noise, getattr(self, which)[kind]))


def calibration(weights: str | None, *, mri: bool) -> Calibration | None:
    """The calibration of the weights of this SHA-256, None where they have none."""
    for file in files("m2diff.trust").joinpath("calibration").iterdir():
        told = json.loads(file.read_text(encoding="utf-8"))
        if told["weights"] == weights:
            found = told.get("mri" if mri else "pet")
            return None if found is None else Calibration.from_json(found)
    return None


def features(
    low: VolumeArray, answer: VolumeArray, noise: Noise, inside: MaskArray, deviation: VolumeArray
) -> Features:
    """What tells how far off a voxel may be, for each voxel of ``inside``: (n, 8), logarithms of the brain's mean.

    Noise, what smoothing leaves of it, level, gradient, detail, the residual around the voxel at two scales, and
    ``deviation``, how far the regions of its kind were off before the balance: the scan's word on the prior.
    """
    residual = np.where(inside, low - answer, 0.0)
    gradient = np.sqrt(sum(each**2 for each in np.gradient(grid.smoothed(answer, 3.0))))
    images = (
        noise.sd,
        noise.sd * np.float32(noise.left_by(BROAD_MM)),
        grid.smoothed(answer, 4.0),
        gradient,
        np.abs(answer - grid.smoothed(answer, FINE_MM)),
        np.abs(grid.smoothed(residual, FINE_MM)),
        np.abs(grid.smoothed(residual, BROAD_MM)),
        deviation,
    )
    return np.stack([np.log(np.maximum(image[inside], _FLOOR)) for image in images], axis=1).astype(np.float32)


@dataclass(frozen=True, eq=False)
class RegionalTerms:
    """What a regional mean's variance is made of: inherited noise, the balance's doubt, the level squared."""

    numbers: tuple[int, ...]
    levels: npt.NDArray[np.float64]
    terms: npt.NDArray[np.float64]  # (regions, 3), in squares of the image's unit


def regional_terms(
    labels: LabelArray, residual: VolumeArray, answer: VolumeArray, inside: MaskArray, found: Balance
) -> RegionalTerms:
    """The terms of every region of ``labels`` (i, j, k) on the working grid."""
    numbers = [int(n) for n in np.unique(labels) if n > 0]
    shares = np.array([coarse((labels == n).astype(np.float32)).ravel() for n in numbers])
    shares /= shares.sum(1, keepdims=True)
    small = coarse(np.where(inside, residual, 0.0))
    noise = Noise.of(small, coarse(inside) > 0.5, grid.WORKING_MM * 2)
    inherited = [float(share @ noise.through(share.reshape(small.shape)).ravel()) for share in shares]
    mixed = (shares @ found.shapes.T).astype(np.float64)
    doubt = np.einsum("rp,pq,rq->r", mixed, found.covariance, mixed)
    levels = ndimage.mean(answer, labels, numbers)
    return RegionalTerms(tuple(numbers), levels, np.stack([inherited, np.maximum(doubt, 0.0), levels**2], axis=1))


def regional_sd(terms: RegionalTerms, kinds: Mapping[int, str], told: Calibration) -> npt.NDArray[np.float64]:
    """The standard deviation of each regional mean before its factor, in the image's unit."""
    weights = np.array([told.terms.get(kinds[number], np.zeros(3)) for number in terms.numbers])
    return np.asarray(np.sqrt((terms.terms * weights).sum(1)))


def noise_level(noise: Noise, brain: MaskArray) -> float:
    """The level of noise that factors depend on.

    the mean local standard deviation in the brain, of the brain's mean.
    """
    return float(noise.sd[brain].mean())
