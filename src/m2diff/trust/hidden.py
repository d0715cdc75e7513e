"""What the scan says that the answer does not, and what could hide from both.

A small lesion that an answer has lost, or made up, is still in the residual (scan - answer). For lesions of three
sizes,

    z(v) = (k * residual)(v) / sd(v),   k: the lesion at the image's resolution,   sd: from the scan itself

is looked through for values above a threshold which noise alone passes in one brain of twenty. The same numbers tell
the smallest contrast that would pass it in four cases of five: the limit of detection.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from m2diff.preparation import grid
from m2diff.shapes import Affine, MaskArray, VolumeArray
from m2diff.trust.balance import RESOLUTION_MM
from m2diff.trust.noise import Noise, robust_sd

SIZES_MM = (8.0, 12.0, 16.0)
"""Diameters of the lesions that are looked for."""
FALSE_ALARMS = 0.05  # share of brains without a lesion in which anything is flagged
POWER = 0.8416  # standard normal quantile of 80 % power
SIMULATED = 60  # pairs of noise images behind the threshold
SIDE = 64  # voxels a side of a simulated noise image: more than a brain's volume


COLUMNS = {
    "region": "where it lies",
    "x": "of its largest |z|, mm in the scan's world (RAS+)",
    "y": "likewise",
    "z": "likewise",
    "size_mm": "diameter of the lesion that fits it best",
    "contrast_percent": "what the scan has there and the result lacks, of the result's level; below 0 is cold",
    "z_score": "its largest z",
    "volume_ml": "volume above the threshold",
}


@dataclass(frozen=True)
class Cluster:
    """A flagged place.

    ``world``: of its largest |z|, mm. ``contrast``: of a lesion of ``size_mm`` there, 0.5 for + 50 %.
    """

    world: tuple[float, float, float]
    size_mm: float
    contrast: float
    z: float
    volume_ml: float
    region: str = ""

    def cells(self) -> list[str]:
        """The place as text, in the order of ``COLUMNS``."""
        numbers = (*self.world, self.size_mm, 100 * self.contrast, self.z, self.volume_ml)
        return [self.region or "n/a", *(f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}" for value in numbers)]


@dataclass(frozen=True, eq=False)
class Hidden:
    """``z`` and ``limit`` (smallest contrast found with 80 % power, NaN outside the brain) by size; all (i, j, k)."""

    z: dict[float, VolumeArray]
    limit: dict[float, VolumeArray]
    threshold: float
    clusters: tuple[Cluster, ...]


def look(
    low: VolumeArray,
    answer: VolumeArray,
    brain: MaskArray,
    noise: Noise,
    affine: Affine,
    *,
    margin: float = 1.0,
) -> Hidden:
    """Compare an ``answer`` with its scan ``low``, both normalised on the working grid, inside ``brain``.

    ``margin``: what the threshold of pure noise is multiplied by, as an answer's own errors are no noise.
    """
    residual = np.where(brain, low - answer, 0.0).astype(np.float32)
    kernels = {size: lesion(size) for size in SIZES_MM}
    spreads, z, limit, amount = {}, {}, {}, {}
    for size, kernel in kernels.items():
        filtered = _convolved(residual, kernel)
        unit = filtered / noise.sd
        spreads[size] = robust_sd(unit[brain])
        z[size] = np.where(brain, unit / spreads[size], 0.0).astype(np.float32)
        level = np.maximum(_convolved(answer, kernel / kernel.sum()), 1e-6)
        response = float((kernel**2).sum())
        per_contrast = level * response  # what a contrast of 1 adds to the filtered residual
        amount[size] = np.where(brain, filtered / per_contrast, 0.0)
        limit[size] = noise.sd * spreads[size] / per_contrast
    threshold = margin * noise_threshold(noise, list(kernels.values()), int(brain.sum()))
    limits = {
        size: np.where(brain, (threshold + POWER) * each, np.nan).astype(np.float32) for size, each in limit.items()
    }
    return Hidden(z, limits, threshold, clusters(z, amount, threshold, affine))


def lesion(size_mm: float) -> npt.NDArray[np.float32]:
    """A ball of uptake 1 and this diameter, as the scan shows it: (n, n, n), odd, on the working grid."""
    fine = 4
    reach = int(np.ceil((size_mm / 2 + 1.5 * RESOLUTION_MM) / grid.WORKING_MM))
    side = fine * (2 * reach + 1)
    axis = (np.arange(side) - (side - 1) / 2) * grid.WORKING_MM / fine
    squares = np.add.outer(np.add.outer(axis**2, axis**2), axis**2)
    ball = (squares <= (size_mm / 2) ** 2).astype(np.float32)
    shown = ndimage.gaussian_filter(ball, RESOLUTION_MM / grid.FWHM_PER_SIGMA / grid.WORKING_MM * fine, mode="constant")
    n = 2 * reach + 1
    return np.asarray(shown.reshape(n, fine, n, fine, n, fine).mean((1, 3, 5)), dtype=np.float32)


def noise_threshold(noise: Noise, kernels: list[npt.NDArray[np.float32]], voxels: int) -> float:
    """The |z| that the largest value over all kernels passes in ``FALSE_ALARMS`` of brains of pure noise."""
    rng = np.random.default_rng(0)
    shape = (SIDE,) * 3
    power = fft.fftn(_wrapped(noise.rho)).real.clip(min=0)
    amplitude = np.sqrt(power / power.mean()).astype(np.float32)
    planes = max(1, round(voxels / SIDE**2))
    filters = [fft.fftn(_centred(kernel)) for kernel in kernels]
    scales = [np.sqrt(float((np.abs(each) ** 2 * power / power.mean()).mean())) for each in filters]
    largest = []
    for _ in range(SIMULATED):
        white = rng.standard_normal((2, *shape), dtype=np.float32)
        coloured = fft.fftn(white[0] + 1j * white[1]) * amplitude
        found = np.zeros(2)
        for each, scale in zip(filters, scales, strict=True):
            image = fft.ifftn(coloured * each)[:, :, : min(planes, SIDE)] / scale
            found = np.maximum(found, [np.abs(image.real).max(), np.abs(image.imag).max()])
        largest += found.tolist()
    # A Gumbel fit smooths the tail of few maxima.
    spread = float(np.std(largest)) * np.sqrt(6) / np.pi
    middle = float(np.mean(largest)) - 0.5772 * spread
    return middle - spread * float(np.log(-np.log(1 - FALSE_ALARMS)))


def clusters(
    z: Mapping[float, VolumeArray], amount: Mapping[float, VolumeArray], threshold: float, affine: Affine
) -> tuple[Cluster, ...]:
    """The connected places above the threshold, largest |z| first; each by the size that fits it best."""
    sizes = list(z)
    stack = np.array([z[size] for size in sizes])
    best = np.abs(stack).argmax(axis=0)
    strongest = np.take_along_axis(stack, best[None], axis=0)[0]
    found = []
    for sign in (1, -1):
        places, _ = ndimage.label(sign * strongest > threshold, ndimage.generate_binary_structure(3, 3))
        for number, span in enumerate(ndimage.find_objects(places), start=1):
            inside = np.where(places[span] == number, np.abs(strongest[span]), 0.0)
            peak = tuple(
                int(n) + s.start for n, s in zip(np.unravel_index(inside.argmax(), inside.shape), span, strict=True)
            )
            size = sizes[best[peak]]
            x, y, height = (affine @ [*peak, 1.0])[:3].tolist()
            volume = float((inside > 0).sum()) * grid.WORKING_MM**3 / 1000
            found.append(Cluster((x, y, height), size, float(amount[size][peak]), float(strongest[peak]), volume))
    return tuple(sorted(found, key=lambda one: -abs(one.z)))


def _convolved(image: VolumeArray, kernel: npt.NDArray[np.float32]) -> VolumeArray:
    """Convolution with a kernel centred on its middle voxel, 0 beyond the image."""
    from scipy.signal import fftconvolve

    return np.asarray(fftconvolve(image, kernel, mode="same"), dtype=np.float32)


def _centred(kernel: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """The kernel in a periodic cube of ``SIDE``, its middle at index 0."""
    out = np.zeros((SIDE,) * 3, dtype=np.float32)
    n = kernel.shape[0]
    out[:n, :n, :n] = kernel
    return np.roll(out, (-(n // 2),) * 3, axis=(0, 1, 2))


def _wrapped(rho: VolumeArray) -> npt.NDArray[np.float32]:
    """The autocorrelation's near shifts, centre at index 0, in a periodic cube of ``SIDE``."""
    half = SIDE // 2
    for axis in range(3):
        reach = min(half, rho.shape[axis] // 2)
        middle = list(rho.shape)
        middle[axis] = SIDE - 2 * reach
        first, last = np.split(rho, [reach], axis)[0], np.split(rho, [rho.shape[axis] - reach], axis)[1]
        rho = np.concatenate([first, np.zeros(middle, dtype=np.float32), last], axis)
    return rho
