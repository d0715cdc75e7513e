"""A T1-weighted MRI with contrast, resolution, bias field and noise drawn for every person."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from m2diff.shapes import VolumeArray
from m2diff.simulation.deform import smooth_field, stretch
from m2diff.simulation.head import BRAIN, EYES, SKULL, SOFT, HeadMap
from m2diff.simulation.tissue_maps import Tissues

BIAS_GRID_MM = 16.0


def render_t1(
    brain: Tissues, tissue_class: HeadMap, rng: np.random.Generator, *, spacing_mm: float, has_head: bool
) -> VolumeArray:
    """Render a person's MRI, (i, j, k), in arbitrary units (white matter at some hundreds).

    ``brain.t1`` is a warped real T1. It gets new tissue levels, a head, the scanner's resolution, a bias field and
    Rician noise. A stripped brain stays 0 outside.
    """
    # Relative to white matter (1), over the range of clinical T1 protocols.
    csf, grey = map(float, rng.uniform([0.12, 0.58], [0.35, 0.82]))
    image = _recontrast(brain, csf, grey)
    inside = (brain.gm + brain.wm + brain.csf).clip(0, 1)
    if has_head:
        image += (1 - inside) * _head_intensities(tissue_class, csf, rng, spacing_mm)
    voxel_mm = rng.uniform(0.8, 1.3, 3)
    image = ndimage.gaussian_filter(image, 0.42 * voxel_mm / spacing_mm, truncate=2.5)
    image *= _bias_field(image.shape, rng, spacing_mm)
    image = _rician(image, float(rng.uniform(0.01, 0.045)), rng)
    if not has_head:
        image *= inside > 0.3
    return (image * np.float32(rng.uniform(250, 900))).astype(np.float32)


def _recontrast(brain: Tissues, csf: float, grey: float) -> VolumeArray:
    """The real T1 through a monotone curve that puts the medians of CSF, grey and white at new levels."""
    measured = [_median(brain.t1, brain.csf), _median(brain.t1, brain.gm), _median(brain.t1, brain.wm)]
    knots = np.maximum.accumulate(np.array([0.0, *measured, measured[-1] * 2.0]) + np.arange(5) * 1e-3)
    levels = np.array([0.0, csf, grey, 1.0, 1.0 + (1.0 - grey) * 2.5])
    return np.interp(brain.t1, knots, levels).astype(np.float32)


def _median(t1: VolumeArray, fraction: VolumeArray) -> float:
    """Median T1 of the voxels that one tissue fills (every second voxel an axis)."""
    values = t1[::2, ::2, ::2][fraction[::2, ::2, ::2] > 0.9]
    return float(np.median(values)) if values.size else 0.0


def _head_intensities(classes: HeadMap, csf: float, rng: np.random.Generator, spacing_mm: float) -> VolumeArray:
    """Intensities outside the brain: dark bone with brighter marrow, muscle, bright fat under the skin, dark eyes."""
    bone, marrow, muscle, fat, eye = rng.uniform([0.03, 0.25, 0.35, 0.9, 0.15], [0.12, 0.7, 0.6, 1.5, 0.3])
    step = max(1, round(2.0 / spacing_mm))
    small = classes[::step, ::step, ::step]

    def nearby(mask: npt.NDArray[np.bool_], sigma_mm: float) -> VolumeArray:
        blurred = ndimage.gaussian_filter(mask.astype(np.float32), sigma_mm / step / spacing_mm, truncate=3.0)
        return stretch(blurred, classes.shape, step)

    coarse = tuple(-(-n // 4) + 1 for n in classes.shape)
    texture = stretch(smooth_field(rng, coarse, 9 / 4 / spacing_mm), classes.shape)
    fatness = (1.8 * nearby(small == 0, 4.0) + 0.25 * texture).clip(0, 1)
    deep_bone = (3 * nearby(small == SKULL, 2.0) - 1.6).clip(0, 1)
    out = np.zeros(classes.shape, dtype=np.float32)
    for code, value in (
        (SOFT, muscle + (fat - muscle) * fatness),
        (SKULL, bone + (marrow - bone) * deep_bone),
        (BRAIN, csf),
        (EYES, eye),
    ):
        np.copyto(out, value, where=classes == code)
    return out


def _bias_field(shape: tuple[int, ...], rng: np.random.Generator, spacing_mm: float) -> VolumeArray:
    """Smooth shading by the receive coils, up to 10 to 30 % either way."""
    coarse = tuple(int(np.ceil(n * spacing_mm / BIAS_GRID_MM)) + 1 for n in shape)
    field = smooth_field(rng, coarse, 110 / BIAS_GRID_MM)
    return np.exp(stretch(field * np.float32(rng.uniform(0.1, 0.3)) / np.abs(field).max(), shape))


def _rician(image: VolumeArray, sigma: float, rng: np.random.Generator) -> VolumeArray:
    """The magnitude of a complex image with Gaussian noise of ``sigma`` (white matter is 1) in both channels."""
    real = image + np.float32(sigma) * rng.standard_normal(image.shape, dtype=np.float32)
    imaginary = np.float32(sigma) * rng.standard_normal(image.shape, dtype=np.float32)
    return np.hypot(real, imaginary)
