"""What the second scanner does: 3D time-of-flight counts of a head, nested doses, and PSF + TOF OSEM.

Counts are made on a grid twice as fine as the image's, with a resolution a little worse than the reconstruction's
model, so that the model is not exact. Reconstruction is ordinary-Poisson OSEM, every dose at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from tof import SIGMA, Geometry, Projector

TRUES = 1.0e8
"""Unscattered true counts of a standard scan."""


@dataclass(frozen=True)
class Scanner:
    """The scanner and its protocol.

    ``blur_mm``: the true resolution. ``scatter_fraction``: scatter / (trues + scatter). ``randoms_fraction``: randoms /
    trues. ``trues``: counts of the standard scan. ``filter_mm``: full width of the Gaussian after OSEM.
    """

    geometry: Geometry = field(default_factory=Geometry)
    blur_mm: float = 4.8
    scatter_fraction: float = 0.32
    randoms_fraction: float = 0.5
    trues: float = TRUES
    iterations: int = 4
    subsets: int = 10
    filter_mm: float = 2.5


@dataclass(frozen=True, eq=False)
class Counts:
    """What was counted, one entry an angle and in it one a slope. ``gain``: counts per unit of activity and mm."""

    expected: list[list[np.ndarray]]  # (x, bins, planes)
    background: list[list[np.ndarray]]
    survival: list[list[Tensor]]  # (x, 1, planes, 1), of photons
    gain: float


def expect(activity: np.ndarray, attenuation: np.ndarray, scanner: Scanner) -> Counts:
    """The expected counts of a standard scan of ``activity`` and ``attenuation`` (1/mm), both on the fine grid."""
    geometry = scanner.geometry
    fine = Projector(replace(geometry, fine=2, psf_mm=scanner.blur_mm))
    source, density = (
        torch.from_numpy(np.ascontiguousarray(i, np.float32))[..., None] for i in (activity, attenuation)
    )
    trues, survival = [], []
    for angle in range(geometry.angles):
        views, paths = fine.forward(source, angle), fine.paths(density, angle)
        survival.append([_pooled(torch.exp(-path)[:, None])[..., None] for path in paths])
        attenuated = [v[..., 0] * torch.exp(-path)[:, None] for v, path in zip(views, paths, strict=True)]
        trues.append([_pooled(view).numpy() for view in attenuated])
    total = sum(float(view.sum(dtype=np.float64)) for views in trues for view in views)
    gain = scanner.trues / total
    scaled = [[view * np.float32(gain) for view in views] for views in trues]
    bins = sum(view.size for views in trues for view in views)
    randoms = np.float32(scanner.randoms_fraction * scanner.trues / bins)
    background = [[_scatter(view, scanner) + randoms for view in views] for views in scaled]
    expected = [[t + b for t, b in zip(*pair, strict=True)] for pair in zip(scaled, background, strict=True)]
    return Counts(expected, background, survival, gain)


def draw(counts: Counts, factors: Sequence[float], rng: np.random.Generator) -> list[list[Tensor]]:
    """Counts at dose reduction ``factors`` (ascending, the first 1), nested: each keeps some of the one before.

    One entry an angle and slope: (x, bins, planes, doses), each dose multiplied by its factor; the last is the
    expected counts themselves, without noise.
    """
    return [[_doses(view, factors, rng) for view in views] for views in counts.expected]


def reconstruct(counts: Counts, drawn: list[list[Tensor]], scanner: Scanner) -> np.ndarray:
    """OSEM of the ``drawn`` counts, filtered: (x, y, z, doses) in the unit of the activity."""
    geometry, projector = scanner.geometry, Projector(scanner.geometry)
    subsets = [range(start, geometry.angles, scanner.subsets) for start in range(scanner.subsets)]
    sensitivities = [sum(projector.back(_all_bins(counts.survival[a], geometry), a) for a in each) for each in subsets]
    start = scanner.trues / counts.gain / sum(float((s * projector.field_of_view).sum()) for s in sensitivities)
    image = (projector.field_of_view * start).repeat(1, 1, geometry.slices, drawn[0][0].shape[3])
    for _ in range(scanner.iterations):
        for angles, sensitivity in zip(subsets, sensitivities, strict=True):
            image *= sum(_ratio_back(projector, image, counts, drawn, a) for a in angles) / (sensitivity + 1e-3)
    sigmas = [scanner.filter_mm * SIGMA / step for step in geometry.spacing]
    return ndimage.gaussian_filter(image.numpy(), (*sigmas, 0), mode="constant")


def _ratio_back(projector: Projector, image: Tensor, counts: Counts, drawn: list[list[Tensor]], angle: int) -> Tensor:
    """The back-projected ratio of counts to model at one angle."""
    ratios = []
    for slope, view in enumerate(projector.forward(image, angle)):
        survival = counts.survival[angle][slope]
        model = view * survival * counts.gain + torch.from_numpy(counts.background[angle][slope])[..., None]
        ratios.append(drawn[angle][slope] / model * survival)
    return projector.back(ratios, angle)


def _all_bins(survival: list[Tensor], geometry: Geometry) -> list[Tensor]:
    return [each.expand(-1, geometry.tof_bins, -1, -1).contiguous() for each in survival]


def _doses(expected: np.ndarray, factors: Sequence[float], rng: np.random.Generator) -> Tensor:
    counts, before, out = rng.poisson(expected), 1.0, []
    for factor in factors:
        counts = rng.binomial(counts, before / factor) if factor != before else counts
        out.append(counts * factor)
        before = factor
    return torch.from_numpy(np.stack([*out, expected], axis=-1).astype(np.float32))


def _scatter(trues: np.ndarray, scanner: Scanner) -> np.ndarray:
    """Scatter of one view: its trues, spread over 45 mm across, 35 mm along the axis and the time-of-flight bins."""
    spread = (45 / scanner.geometry.pixel_mm, 1.0, 35 / scanner.geometry.slice_mm)
    wide = ndimage.gaussian_filter(trues, spread, mode="nearest", truncate=2.5)
    share = scanner.scatter_fraction / (1 - scanner.scatter_fraction)
    return wide * np.float32(share * trues.sum(dtype=np.float64) / max(wide.sum(dtype=np.float64), 1e-12))


def _pooled(view: Tensor) -> Tensor:
    """(2x, bins, 2 planes) -> (x, bins, planes), by the mean."""
    x, bins, planes = view.shape
    return view.reshape(x // 2, 2, bins, planes // 2, 2).mean((1, 4))
