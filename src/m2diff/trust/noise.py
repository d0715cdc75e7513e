"""The noise of a scan, estimated from what an answer leaves of it.

    noise(v) = s(v) u(v),   s: local standard deviation,   u: stationary, of unit variance and autocorrelation rho

Reconstruction noise is correlated over some voxels and larger where more activity is, so both are measured in each
scan.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from m2diff.preparation import grid
from m2diff.shapes import MaskArray, VolumeArray

LOCAL_MM = 20.0
"""FWHM of the window of the local standard deviation."""
GRAIN_MM = 5.0  # what is broader is no grain
REACH_MM = 20.0
"""Beyond this distance noise counts as uncorrelated."""
LEAST = 1e-6  # of the head's mean standard deviation: keeps divisions finite where a scan is empty

Spectrum = npt.NDArray[np.float32]  # (i, j, k / 2 + 1)


@dataclass(frozen=True, eq=False)
class Noise:
    """``sd``.

    local standard deviation (i, j, k), in the residual's unit. ``rho``: autocorrelation, centre at index 0.
    """

    sd: VolumeArray
    rho: VolumeArray
    edge_mm: float

    @classmethod
    def of(cls, residual: VolumeArray, inside: MaskArray, edge_mm: float = grid.WORKING_MM) -> Noise:
        """The noise in ``residual`` (scan minus answer), read where ``inside``."""
        sd = local_sd(residual, inside, edge_mm)
        unit = np.where(inside, residual / sd, 0.0).astype(np.float32)
        return cls(sd, autocorrelation(unit, inside, edge_mm), edge_mm)

    @property
    def padded(self) -> tuple[int, ...]:
        """The shape in which products of spectra do not wrap around."""
        return self.rho.shape

    @cached_property
    def spectrum(self) -> Spectrum:
        """The power spectrum of the unit noise; not negative."""
        return np.maximum(fft.rfftn(self.rho).real, 0.0).astype(np.float32)

    def left_by(self, fwhm_mm: float) -> float:
        """The share of its standard deviation that a Gaussian of this width leaves: more where the grain is coarse."""
        axes = (fft.fftfreq(n, self.edge_mm) for n in self.padded[:2])
        last = fft.rfftfreq(self.padded[2], self.edge_mm)
        squares = np.add.outer(np.add.outer(*(axis**2 for axis in axes)), last**2)
        gain = np.exp(-4 * np.pi**2 * squares * (fwhm_mm / grid.FWHM_PER_SIGMA) ** 2)
        return float(np.sqrt((self.spectrum * gain).sum(dtype=np.float64) / self.spectrum.sum(dtype=np.float64)))

    def through(self, weights: VolumeArray) -> VolumeArray:
        """C w: the covariance of the noise applied to ``weights`` (i, j, k)."""
        shape = weights.shape
        there = fft.rfftn(self.sd * weights, self.padded) * self.spectrum
        return np.asarray(self.sd * fft.irfftn(there, self.padded)[tuple(slice(n) for n in shape)], dtype=np.float32)


def local_sd(residual: VolumeArray, inside: MaskArray, edge_mm: float) -> VolumeArray:
    """The standard deviation of the noise around each voxel, over what is ``inside``.

    Only its grain is looked at, so that a lesion in the residual does not pass for noise; the size is the whole's.
    """
    kept = np.where(inside, residual, 0.0).astype(np.float32)
    share = _smooth(inside.astype(np.float32), GRAIN_MM, edge_mm)
    grain = np.where(inside, kept - _smooth(kept, GRAIN_MM, edge_mm) / np.maximum(share, 1e-3), 0.0)
    around = np.maximum(_smooth(inside.astype(np.float32), LOCAL_MM, edge_mm), 1e-3)
    found = _smooth(np.abs(grain), LOCAL_MM, edge_mm) / around  # of absolute values: outliers count less
    if inside.any():
        found *= robust_sd(kept[inside]) / max(float(found[inside].mean()), 1e-12)
    floor = LEAST * float(found[inside].mean()) if inside.any() else 1.0
    return np.maximum(found, floor or 1.0).astype(np.float32)


def _smooth(image: VolumeArray, fwhm_mm: float, edge_mm: float) -> VolumeArray:
    """A Gaussian that counts nothing beyond the image."""
    sigma = fwhm_mm / grid.FWHM_PER_SIGMA / edge_mm
    return np.asarray(ndimage.gaussian_filter(image, sigma, mode="constant", truncate=3.0))


def robust_sd(values: npt.NDArray[np.floating]) -> float:
    """The standard deviation of the bulk: from the quartiles, which few lesions cannot move."""
    low, high = np.percentile(values, [25, 75])
    return max(float(high - low) / 1.349, 1e-12)


def autocorrelation(unit: VolumeArray, inside: MaskArray, edge_mm: float) -> VolumeArray:
    """The autocorrelation of ``unit`` (0 outside ``inside``) by shift, 1 at index 0, tapered to 0 at ``REACH_MM``."""
    shape = tuple(fft.next_fast_len(n + 2 * round(REACH_MM / edge_mm), real=True) for n in unit.shape)
    products, pairs = (
        fft.irfftn(np.abs(fft.rfftn(image.astype(np.float32), shape)) ** 2, shape) for image in (unit, inside)
    )
    shifts = np.meshgrid(*(fft.fftfreq(n) * n * edge_mm for n in shape), indexing="ij", sparse=True)
    distance = np.sqrt(sum(shift**2 for shift in shifts))
    taper = np.where(distance < REACH_MM, 0.5 + 0.5 * np.cos(np.pi * distance / REACH_MM), 0.0)
    rho = taper * products / np.maximum(pairs, 1.0)
    return np.asarray(rho / max(rho.flat[0], 1e-12), dtype=np.float32)
