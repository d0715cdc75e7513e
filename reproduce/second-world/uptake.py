"""An uptake of its own for every region of the atlas, and PET-only lesions.

A region's level is an FDG-like mean of its kind times a factor of its own, 12 % SD, and one of its side, 3.5 % SD.
White matter has a factor of its own under every gyrus, 10 % SD, smoothed. Within a region runs a gradient; over all
lies a random field without a scale of its own (a power law). No two regions share a level.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from persons import CSF_TISSUE, FLUID, GREY_TISSUE, WHITE, Anatomy

KINDS = (
    (("ventral dc",), 0.65),
    (("vent", "csf"), 0.08),
    (("vessel",), 0.45),
    (("cerebellum exterior",), 0.82),
    (("cerebellum white", "cerebral white", "cerebral exterior", "optic chiasm"), 0.38),
    (("vermal",), 0.85),
    (("brain stem",), 0.60),
    (("hippocampus", "amygdala", "ent entorhinal", "parahippocampal"), 0.72),
    (("pallidum", "basal forebrain"), 0.75),
    (("putamen", "caudate", "thalamus"), 1.10),
    (("accumbens",), 0.95),
    (("pole", "subcallosal", "orbital", "rectus"), 0.90),
    (("precuneus", "posterior cingulate", "calcarine", "cuneus"), 1.12),
)
"""Mean level by words in a region's name, the first that fits; 1 (cortex) elsewhere."""

FIRST_CORTEX = 100  # labels from here on are gyri
FOLDED = (38, 39, 71, 72, 73)  # cerebellar cortex: like the gyri, its labels hold fluid between the folds


@dataclass(frozen=True)
class Lesion:
    """A PET-only ellipsoid. ``factor`` multiplies the uptake within."""

    code: int
    kind: str
    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    factor: float


def draw_levels(names: dict[int, str], rng: np.random.Generator) -> dict[int, float]:
    """The level of every label of the atlas; cortex is about 1."""
    own: dict[str, float] = {}
    levels = {}
    for code, name in sorted(names.items()):
        both = name.removeprefix("Right ").removeprefix("Left ")
        if both not in own:
            own[both] = float(np.exp(rng.normal(0, 0.12)))
        levels[code] = _mean(name) * own[both] * float(np.exp(rng.normal(0, 0.035)))
    return levels


def activity(anatomy: Anatomy, levels: dict[int, float], rng: np.random.Generator) -> np.ndarray:
    """The brain's uptake on the anatomy's own grid, float32."""
    labels, tissues = anatomy.labels, anatomy.tissues
    table = np.zeros(max(levels) + 1)
    table[list(levels)] = list(levels.values())
    out = table[labels] * _gradients(labels, rng)
    out[_folded(labels) & (tissues == CSF_TISSUE)] = levels[FLUID]
    white = np.isin(labels, WHITE)
    nearest = ndimage.distance_transform_edt(labels < FIRST_CORTEX, return_distances=False, return_indices=True)
    gyri = labels[tuple(nearest)]
    gyral = np.exp(rng.normal(0, 0.10, table.size))[gyri]
    out[white] *= ndimage.gaussian_filter(gyral, 5.0)[white]
    mixed = white & (tissues == GREY_TISSUE)  # the border to the cortex
    out[mixed] = (out[mixed] + table[gyri][mixed]) / 2
    out *= np.exp(0.05 * _power_law(labels.shape, rng))
    out[labels == 0] = 0
    return ndimage.gaussian_filter(out, 0.5).astype(np.float32)


def add_lesions(
    image: np.ndarray, brain: np.ndarray, affine: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, tuple[Lesion, ...]]:
    """Up to three lesions of 4 to 8 mm within ``brain``, apart from each other: image, their labels, their record."""
    image, codes, lesions = image.copy(), np.zeros(image.shape, np.int16), []
    inner = ndimage.binary_erosion(brain, iterations=5)
    places = np.argwhere(inner)
    for code in range(1, 1 + int(rng.integers(0, 4))):
        at = places[rng.integers(len(places))]
        radii = rng.uniform(4, 8, 3)
        hot = bool(rng.random() < 0.5)
        factor = float(rng.uniform(1.4, 2.2) if hot else rng.uniform(0.2, 0.6))
        reach = np.ceil(radii / np.diag(affine)[:3]).astype(int) + 1
        box = tuple(slice(max(0, a - r), a + r + 1) for a, r in zip(at, reach, strict=True))
        offsets = np.indices(codes[box].shape) + np.array([s.start for s in box]).reshape(3, 1, 1, 1)
        offsets = (offsets - at.reshape(3, 1, 1, 1)) * np.diag(affine)[:3].reshape(3, 1, 1, 1)
        inside = (offsets**2 / (radii**2).reshape(3, 1, 1, 1)).sum(0) <= 1
        if codes[box][inside].any():
            continue
        image[box][inside] *= np.float32(factor)
        codes[box][inside] = code
        centre = affine[:3, :3] @ at + affine[:3, 3]
        kind = "pet_hot" if hot else "pet_cold"
        lesions.append(Lesion(code, kind, tuple(map(float, centre)), tuple(map(float, radii)), factor))
    return image, codes, tuple(lesions)


def _mean(name: str) -> float:
    low = name.lower()
    return next((mean for words, mean in KINDS if any(word in low for word in words)), 1.0)


def _folded(labels: np.ndarray) -> np.ndarray:
    return (labels >= FIRST_CORTEX) | np.isin(labels, FOLDED)


def _gradients(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A linear run through every region, in a direction of its own and with 4 % SD over its voxels."""
    present = np.unique(labels)
    out = np.ones(labels.shape)
    for code, box in zip(present, ndimage.find_objects(np.searchsorted(present, labels) + 1), strict=True):
        inside = labels[box] == code
        run = np.tensordot(rng.standard_normal(3), np.indices(inside.shape), 1)[inside]
        out[box][inside] += 0.04 * (run - run.mean()) / max(run.std(), 1e-6)
    return out


def _power_law(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """A random field of unit SD whose amplitude falls with the frequency to the power of 1.6, from 60 mm to 3 mm."""
    frequencies = np.meshgrid(*[np.fft.fftfreq(n) for n in shape[:2]], np.fft.rfftfreq(shape[2]), indexing="ij")
    radius = np.sqrt(sum(f**2 for f in frequencies))
    weight = np.where((radius > 1 / 60) & (radius < 1 / 3), np.maximum(radius, 1e-3) ** -1.6, 0)
    field = np.fft.irfftn(np.fft.rfftn(rng.standard_normal(shape)) * weight, shape, axes=(0, 1, 2))
    return field / field.std()
