"""What a PET scanner does to an activity map. The expected counts of a ray are

    ybar = k * exp(-A mu) * A (h * x)  +  scatter  +  randoms

with x the activity, h the scanner's resolution, A the line integrals, mu the attenuation map at 511 keV and k the
counts per unit of activity. Counts are Poisson. A lower dose keeps each count of the higher dose with probability
d_high / d_low (binomial thinning), so doses are nested as in list-mode decimation. Reconstruction is OSEM (Hudson and
Larkin, IEEE TMI 13(4), 1994) with attenuation and background in its model but no resolution modelling: without noise it
converges to h * x.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from m2diff.shapes import VolumeArray
from m2diff.simulation.projector import FlatImage, Geometry, Sinogram, projector

STANDARD_TRUES = 2e8
"""Unscattered true counts of a standard-dose scan over the axial field of view. A clinical brain FDG scan on a PET/MR
(about 250 MBq, from 40 to 60 minutes after injection) records some 1e8; time of flight, not modelled, doubles their
worth."""

ScannerName = Literal["pet-mr", "pet-ct"]
FWHM_TO_SIGMA = 1 / np.sqrt(8 * np.log(2))


@dataclass(frozen=True)
class Protocol:
    """One scanner and its protocol; lengths in mm.

    ``scatter_fraction``: scatter / (trues + scatter). ``randoms_fraction``: randoms / trues. ``counts``: a multiple of
    ``STANDARD_TRUES``. ``postfilter_mm``: FWHM of a Gaussian after OSEM (0: none).
    """

    voxel_mm: float = 2.0
    slice_mm: float = 2.0
    pixels: int = 128
    slices: int = 90
    views: int = 252
    bin_mm: float = 2.0
    subsets: int = 21
    iterations: int = 3
    resolution_mm: float = 4.5
    postfilter_mm: float = 5.0
    scatter_fraction: float = 0.30
    randoms_fraction: float = 0.30
    counts: float = 1.0

    @property
    def geometry(self) -> Geometry:
        """The sampling of the projector."""
        return Geometry(self.pixels, self.voxel_mm, self.views, self.bin_mm, self.subsets)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The image grid, (i, j, k)."""
        return self.pixels, self.pixels, self.slices

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size, (i, j, k), in millimetres."""
        return self.voxel_mm, self.voxel_mm, self.slice_mm


PET_MR = Protocol()  # the default: sampling and reconstruction of a clinical brain scan on a whole-body PET/MR

PET_CT = Protocol(
    voxel_mm=2.6,
    slice_mm=3.3,
    pixels=100,
    slices=55,
    views=224,
    bin_mm=2.8,
    subsets=16,
    iterations=2,
    resolution_mm=6.3,
    postfilter_mm=4.0,
    scatter_fraction=0.40,
    randoms_fraction=0.60,
    counts=0.5,
)
"""An older whole-body PET/CT: coarser, blurrier, less converged, with more background. Half the counts, since it has no
time of flight, which ``STANDARD_TRUES`` includes."""

MODELS: dict[ScannerName, str] = {"pet-mr": "m2diff 2D PET/MR", "pet-ct": "m2diff 2D PET/CT"}
"""What sidecars call each named scanner."""


def named(name: ScannerName) -> Protocol:
    """The fixed protocol of a named scanner."""
    return PET_CT if name == "pet-ct" else PET_MR


def random_protocol(rng: np.random.Generator) -> Protocol:
    """A random scanner, for training weights that must hold on any."""
    voxel = float(rng.choice([2.0, rng.uniform(1.6, 3.2)], p=[0.4, 0.6]))
    slice_mm = voxel if rng.random() < 0.5 else float(rng.uniform(1.8, 3.4))
    subsets = int(rng.choice([1, 4, 6, 8, 12, 14, 21], p=[0.05, 0.15, 0.15, 0.15, 0.15, 0.15, 0.2]))
    views = subsets * round(float(rng.uniform(120, 280)) / subsets)
    updates = float(np.exp(rng.uniform(np.log(24), np.log(90))))  # iterations x subsets: convergence and noise
    return Protocol(
        voxel_mm=voxel,
        slice_mm=slice_mm,
        pixels=int(np.ceil(256 / voxel / 2) * 2),
        slices=int(np.ceil(180 / slice_mm)),
        views=views,
        bin_mm=float(rng.uniform(1.8, 3.0)),
        subsets=subsets,
        iterations=max(1, round(updates / subsets)),
        resolution_mm=float(rng.uniform(3.0, 7.0)),
        postfilter_mm=float(rng.choice([0.0, rng.uniform(2.0, 6.5)], p=[0.15, 0.85])),
        scatter_fraction=float(rng.uniform(0.15, 0.45)),
        randoms_fraction=float(rng.uniform(0.1, 0.8)),
        counts=float(np.exp(rng.uniform(np.log(0.35), np.log(2.5)))),
    )


@dataclass(frozen=True)
class Acquisition:
    """Expected counts of a standard-dose scan. Sinograms: (rays, slices) for each subset. ``sensitivity``: k."""

    protocol: Protocol
    expected: list[Sinogram]
    background: list[Sinogram]
    survival: list[Sinogram] = field(repr=False)
    sensitivity: float


def blur(volume: VolumeArray, fwhm_mm: float, spacing: tuple[float, float, float]) -> VolumeArray:
    """Gaussian of full width at half maximum ``fwhm_mm``; ``volume`` itself where that is zero."""
    if fwhm_mm == 0:
        return volume
    sigma = [fwhm_mm * FWHM_TO_SIGMA / step for step in spacing]
    return ndimage.gaussian_filter(volume, sigma, mode="constant", truncate=4.0)


def acquire(activity: VolumeArray, attenuation: VolumeArray, protocol: Protocol) -> Acquisition:
    """The expected counts of a standard-dose scan; both images (i, j, k) on the protocol's grid.

    ``activity``: any unit, already blurred to the scanner's resolution. ``attenuation``: 1/mm at 511 keV.
    """
    system = projector(protocol.geometry)
    subsets = range(protocol.subsets)
    line_integrals = [system.forward(_columns(activity), s) for s in subsets]
    survival = [np.exp(-system.forward(_columns(attenuation), s)) for s in subsets]
    trues = [a * line for a, line in zip(survival, line_integrals, strict=True)]
    wanted = STANDARD_TRUES * protocol.counts
    sensitivity = wanted / float(sum(t.sum(dtype=np.float64) for t in trues))
    trues = [t * np.float32(sensitivity) for t in trues]
    background = _background(trues, protocol)
    expected = [t + b for t, b in zip(trues, background, strict=True)]
    return Acquisition(protocol, expected, background, survival, sensitivity)


def dose_ladder(
    acquisition: Acquisition, factors: list[float], rng: np.random.Generator
) -> Iterator[tuple[float, list[Sinogram]]]:
    """(factor, counts) at dose reduction factors 1, ``factors`` ..., ascending: Poisson, then thinned step by step."""
    counts = [rng.poisson(expected) for expected in acquisition.expected]
    previous = 1.0
    yield previous, [c.astype(np.float32) for c in counts]
    for factor in sorted(factors):
        counts = [rng.binomial(c, previous / factor) for c in counts]
        previous = factor
        yield factor, [c.astype(np.float32) for c in counts]


def reconstruct(acquisition: Acquisition, counts: list[Sinogram], factor: float = 1.0) -> VolumeArray:
    """OSEM of ``counts`` taken at dose reduction ``factor``, in the unit of the activity, (i, j, k)."""
    protocol, system = acquisition.protocol, projector(acquisition.protocol.geometry)
    gain = np.float32(acquisition.sensitivity / factor)
    floor = np.float32(1e-9)
    sensitivities = [system.back(a, s) * gain + floor for s, a in enumerate(acquisition.survival)]
    image = np.repeat(system.field_of_view.astype(np.float32)[:, None], protocol.slices, axis=1)
    image *= _flat_start(acquisition, counts, gain)
    for _ in range(protocol.iterations):
        for s in range(protocol.subsets):
            model = acquisition.survival[s] * system.forward(image, s)
            model *= gain
            model += acquisition.background[s] / np.float32(factor)
            ratio = counts[s] / np.maximum(model, floor)
            ratio *= acquisition.survival[s]
            image *= system.back(ratio, s) * gain / sensitivities[s]
    return blur(image.reshape(protocol.shape), protocol.postfilter_mm, protocol.spacing)


def _columns(volume: VolumeArray) -> FlatImage:
    """(i, j, k) as (pixels, slices), the layout of the projector."""
    return np.ascontiguousarray(volume.reshape(-1, volume.shape[2]), dtype=np.float32)


def _flat_start(acquisition: Acquisition, counts: list[Sinogram], gain: np.float32) -> np.float32:
    """A uniform start of about the right total, which saves iterations."""
    excess = sum(
        float((c - b * gain / np.float32(acquisition.sensitivity)).sum())
        for c, b in zip(counts, acquisition.background, strict=True)
    )
    rays = sum(float(a.sum()) for a in acquisition.survival) * float(gain)
    mean_path = acquisition.protocol.pixels * acquisition.protocol.voxel_mm / 2
    return np.float32(max(excess, 1.0) / (rays * mean_path))


def _background(trues: list[Sinogram], protocol: Protocol) -> list[Sinogram]:
    """Expected scatter and randoms: smooth sinograms (rays, slices) by subset, scaled to the stated fractions.

    Scatter: the trues, smeared widely over bins and slices. Randoms: nearly uniform, a little higher in the centre.
    """
    bins = protocol.geometry.bins
    radial, axial = 45.0 / protocol.bin_mm, 30.0 / protocol.slice_mm
    scatter_ratio = protocol.scatter_fraction / (1 - protocol.scatter_fraction)
    total = sum(float(t.sum(dtype=np.float64)) for t in trues)
    profile = np.exp(-0.5 * (np.linspace(-1, 1, bins) / 1.2) ** 2).astype(np.float32)
    rays = sum(t.size for t in trues)
    randoms = protocol.randoms_fraction * total / rays * profile / profile.mean()
    out: list[npt.NDArray[np.float32]] = []
    for sinogram in trues:
        by_view = sinogram.reshape(-1, bins, protocol.slices)  # (views, bins, slices)
        smeared = ndimage.gaussian_filter(by_view, (0.0, radial, axial), mode="nearest", truncate=2.5)
        smeared *= scatter_ratio * by_view.sum(dtype=np.float64) / max(float(smeared.sum(dtype=np.float64)), 1e-30)
        out.append((smeared + randoms[None, :, None]).reshape(sinogram.shape).astype(np.float32))
    return out
