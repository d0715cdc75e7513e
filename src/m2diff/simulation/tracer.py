"""A person's tracer uptake: regional levels, texture, lesions, and the activity map.

FDG: grey-matter levels are drawn from mean and covariance of the SUVR of 537 normals (``regions.normals``); the
Alzheimer group also gets the known hypometabolism. Amyloid: see ``amyloid``. ``random``: every region has its own
level, as no tracer has, so that networks must use the counts. Activity = SUVR (cerebellum about 1) times a reference
concentration in Bq/mL.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import ndimage

from m2diff.shapes import LabelArray, VolumeArray
from m2diff.simulation import amyloid, regions
from m2diff.simulation.anatomy import Anatomy
from m2diff.simulation.head import EYES, SKULL, SOFT

Group = Literal["healthy", "ad"]
TracerName = Literal["fdg", "amyloid"]
Pattern = Literal["fdg", "amyloid", "random"]
LesionKind = Literal["pet_hot", "pet_cold", "mri_only"]


@dataclass(frozen=True)
class Tracer:
    """A tracer. ``trc``: its label in file names. ``counts``: of a standard scan (FDG: 1). Times: after injection."""

    name: str
    trc: str
    radionuclide: str
    injected_mbq: float
    scan_start_s: int
    duration_s: int
    counts: float


TRACERS: dict[TracerName, Tracer] = {
    "fdg": Tracer("FDG", "18FFDG", "F18", injected_mbq=250.0, scan_start_s=2400, duration_s=1200, counts=1.0),
    "amyloid": Tracer(
        "florbetapir", "18FAV45", "F18", injected_mbq=370.0, scan_start_s=3000, duration_s=1200, counts=0.5
    ),
}
"""Florbetapir: 370 MBq, scanned 50 (Clark et al. 2011) to 70 minutes after injection. Its counts are half of FDG's, as
the brain is assumed to hold half the activity."""

# Loss of uptake at severity 1 (Herholz 1995; Minoshima et al. 1995; Mosconi 2005: posterior cingulate and precuneus
# first, then temporo-parietal, later frontal; sensorimotor, occipital, basal ganglia and cerebellum spared).
AD_LOSS = {
    "posterior_cingulate_cortex": 0.35,
    "isthmus_cingulate_cortex": 0.32,
    "precuneus": 0.32,
    "dorsolateral_parietal_cortex": 0.32,
    "lateral_temporal_cortex": 0.26,
    "mesial_temporal_cortex": 0.20,
    "hippocampus": 0.18,
    "amygdala": 0.12,
}
AD_LATE_LOSS = {
    "dorsolateral_frontal_cortex": 0.22,
    "superior_frontal_gyrus": 0.18,
    "orbitofrontal_cortex": 0.12,
    "anterior_cingulate_cortex": 0.08,
}
"""Frontal loss, reached only beyond half of the full severity."""

TRIES = 20  # places drawn for a lesion before it is left out; one person in 200 needs a second


@dataclass(frozen=True, eq=False)
class Uptake:
    """A person's levels, in SUVR; ``grey`` by region code. The pattern ``random`` does not depend on ``group``."""

    group: Group
    pattern: Pattern
    grey: dict[int, float]
    white: float
    csf: float
    soft_tissue: float
    skull: float
    severity: float | None
    """Of AD (FDG) or of the amyloid load, 0 in the healthy, up to 1; None where uptake is random and has no pattern."""
    reference_bq_ml: float  # concentration of SUVR 1


@dataclass(frozen=True)
class SimulatedLesion:
    """One recorded lesion. ``code`` is its label; ``factor`` multiplies uptake (PET) or intensity (MRI) inside."""

    code: int
    kind: LesionKind
    centre_mm: tuple[float, float, float]
    radii_mm: tuple[float, float, float]
    factor: float


def draw_uptake(rng: np.random.Generator, group: Group, pattern: Pattern = "fdg") -> Uptake:
    """Draw one person's uptake; see the module."""
    if pattern == "amyloid":
        return _draw_amyloid(rng, group)
    severity: float | None = float(rng.uniform(0.3, 1.0)) if group == "ad" else 0.0
    normals = regions.normals()
    drawn = rng.multivariate_normal(normals.mean, normals.covariance, method="eigh").clip(0.3, 2.6)
    grey = dict(zip(range(1, len(drawn) + 1), map(float, drawn), strict=True))
    cortex = float(np.mean(drawn[:34]))  # the cortical columns of the table come first
    if pattern == "random":
        severity = None  # still drawn above: later draws must not depend on the pattern
        grey = {code: float(rng.uniform(0.1, 2.2)) for code in grey}
        levels = [float(x) for x in rng.uniform([0.2, 0.0, 0.0, 0.0], [1.6, 0.4, 1.0, 1.2])]
    else:
        grey = _with_ad_pattern(grey, severity or 0.0, rng)
        levels = [cortex * float(rng.uniform(0.38, 0.52)), *map(float, rng.uniform([0.03, 0.2, 0.1], [0.15, 0.5, 0.3]))]
    grey[regions.OTHER_GREY] = float(np.median(list(grey.values())))
    reference = float(np.exp(rng.uniform(np.log(8e3), np.log(2.5e4))))
    white, csf, soft, skull = levels
    return Uptake(group, pattern, grey, white, csf, soft, skull, severity, reference)


def _draw_amyloid(rng: np.random.Generator, group: Group) -> Uptake:
    """Draw one person's uptake of the amyloid tracer; levels outside the brain are assumed."""
    severity = float(rng.uniform(amyloid.MILDEST, 1.0)) if group == "ad" else 0.0
    grey = amyloid.grey_levels(rng, severity)
    grey[regions.OTHER_GREY] = float(np.median(list(grey.values())))
    white, csf, soft, skull = map(float, rng.uniform([1.6, 0.1, 0.3, 0.2], [2.0, 0.3, 0.6, 0.5]))
    reference = float(np.exp(rng.uniform(np.log(4e3), np.log(9e3))))
    return Uptake(group, "amyloid", grey, white, csf, soft, skull, severity, reference)


def _with_ad_pattern(grey: dict[int, float], severity: float, rng: np.random.Generator) -> dict[int, float]:
    """Uptake after the loss of ``severity``, with random asymmetry and regional variation."""
    late = max(0.0, (severity - 0.5) / 0.5)
    side = float(rng.uniform(-0.3, 0.3))  # > 0: left worse
    out = {}
    for code, level in grey.items():
        name = regions.REGIONS[code]
        stem = name.removesuffix("_left").removesuffix("_right")
        loss = severity * AD_LOSS.get(stem, 0.0) + late * AD_LATE_LOSS.get(stem, 0.0)
        lean = side if name.endswith("_left") else -side
        out[code] = level * (1 - float(np.clip(loss * (1 + lean + rng.normal(0, 0.1)), 0, 0.6)))
    return out


def activity_map(anatomy: Anatomy, uptake: Uptake, rng: np.random.Generator) -> VolumeArray:
    """Activity (i, j, k) in SUVR on the anatomy's grid: tissue fractions mix, a smooth texture adds a few percent."""
    lookup = np.zeros(256, dtype=np.float32)
    for code, level in uptake.grey.items():
        lookup[code] = level
    grey_label = lookup[anatomy.labels]
    brain = anatomy.gm * _spread(grey_label, anatomy) + anatomy.wm * np.float32(uptake.white) + anatomy.csf * uptake.csf
    brain *= _texture(anatomy, rng, strength=float(rng.uniform(0.02, 0.07)), fwhm_mm=float(rng.uniform(8, 20)))
    if anatomy.has_head:
        outside = (anatomy.gm + anatomy.wm + anatomy.csf) < 0.05
        brain += outside * _head_activity(anatomy, uptake, rng)
    return brain.astype(np.float32)


def _spread(level: VolumeArray, anatomy: Anatomy) -> VolumeArray:
    """Region levels extended a few millimetres beyond their labels, where voxels still hold some grey matter."""
    known = (level > 0).astype(np.float32)
    sigma = 2.5 / float(np.abs(anatomy.affine[0, 0]))
    weight = ndimage.gaussian_filter(known, sigma, truncate=3.0)
    near = ndimage.gaussian_filter(level, sigma, truncate=3.0) / np.maximum(weight, 1e-4)
    return np.where(known > 0, level, near).astype(np.float32)


def _texture(anatomy: Anatomy, rng: np.random.Generator, strength: float, fwhm_mm: float) -> VolumeArray:
    """1 + a smooth random field of standard deviation ``strength``."""
    shape = anatomy.labels.shape
    step = float(np.abs(anatomy.affine[0, 0]))
    coarse = max(1, round(fwhm_mm / 3 / step))  # draw on a coarser grid: the field has no finer detail
    small = tuple(int(np.ceil(n / coarse)) + 1 for n in shape)
    field = ndimage.gaussian_filter(rng.standard_normal(small).astype(np.float32), fwhm_mm / 2.355 / step / coarse)
    field *= strength / max(float(field.std()), 1e-6)
    fine = ndimage.zoom(field, coarse, order=1, grid_mode=False)[: shape[0], : shape[1], : shape[2]]
    pad = [(0, max(0, n - m)) for n, m in zip(shape, fine.shape, strict=True)]
    return 1 + np.pad(fine, pad, mode="edge")


def _head_activity(anatomy: Anatomy, uptake: Uptake, rng: np.random.Generator) -> VolumeArray:
    """Uptake of scalp, muscle, marrow and a few hot spots (glands, mucosa, eye muscles), in SUVR."""
    levels = np.zeros(5, dtype=np.float32)
    levels[[SOFT, SKULL, EYES]] = uptake.soft_tissue, uptake.skull, uptake.soft_tissue * 1.2
    head = levels[anatomy.tissue_class]
    head *= _texture(anatomy, rng, strength=0.25, fwhm_mm=15.0)
    places = np.argwhere(anatomy.tissue_class == SOFT)
    for _ in range(int(rng.integers(2, 7)) if len(places) else 0):
        centre = tuple(int(c) for c in places[rng.integers(len(places))])
        spot = _ball(anatomy, _world(anatomy, centre), tuple(rng.uniform(4, 12, 3)))
        head[spot] *= np.float32(rng.uniform(1.5, 4))
    return head


def add_lesions(
    anatomy: Anatomy, activity: VolumeArray, rng: np.random.Generator
) -> tuple[VolumeArray, VolumeArray, LabelArray, tuple[SimulatedLesion, ...]]:
    """Give about half of all persons lesions: (activity, T1, lesion labels, the record).

    PET-only lesions (hot or cold) do not show in the MRI, nor MRI-only ones in the PET. An overlapping one is placed
    anew, and left out after ``TRIES``.
    """
    activity, t1 = activity.copy(), anatomy.t1.copy()
    labels = np.zeros(anatomy.labels.shape, dtype=np.int16)
    lesions: list[SimulatedLesion] = []
    places = np.argwhere((anatomy.gm + anatomy.wm) > 0.9)
    pet = int(rng.integers(1, 4)) if rng.random() < 0.35 else 0
    mri = int(rng.integers(1, 4)) if rng.random() < 0.35 else 0
    for number in range(pet + mri):
        hot = bool(rng.random() < 0.5)
        kind: LesionKind = "mri_only" if number >= pet else "pet_hot" if hot else "pet_cold"
        brightness = rng.uniform(0.45, 0.75) if rng.random() < 0.7 else rng.uniform(1.2, 1.5)
        factor = {"pet_hot": rng.uniform(1.4, 2.5), "pet_cold": rng.uniform(0.2, 0.65), "mri_only": brightness}[kind]
        for _ in range(TRIES):
            centre = _world(anatomy, tuple(int(c) for c in places[rng.integers(len(places))]))
            radii = tuple(float(r) for r in rng.uniform(3.0, 8.0) * rng.uniform(0.8, 1.25, 3))
            inside = _ball(anatomy, centre, radii)
            if not labels[inside].any():
                lesion = SimulatedLesion(len(lesions) + 1, kind, centre, (radii[0], radii[1], radii[2]), float(factor))
                (t1 if kind == "mri_only" else activity)[inside] *= np.float32(lesion.factor)
                labels[inside] = lesion.code
                lesions.append(lesion)
                break
    return activity, t1, labels, tuple(lesions)


def _world(anatomy: Anatomy, index: tuple[int, ...]) -> tuple[float, float, float]:
    """Voxel index -> world millimetres."""
    x, y, z = (anatomy.affine @ [*index, 1.0])[:3]
    return float(x), float(y), float(z)


def _ball(anatomy: Anatomy, centre_mm: tuple[float, ...], radii_mm: tuple[float, ...]) -> tuple[np.ndarray, ...]:
    """The indices of the voxels inside an ellipsoid along the axes, one array an axis."""
    step = np.abs(np.diag(anatomy.affine)[:3])
    centre = np.linalg.solve(anatomy.affine, [*centre_mm, 1.0])[:3]
    reach = np.asarray(radii_mm) / step
    low = np.maximum(np.floor(centre - reach).astype(int), 0)
    high = np.minimum(np.ceil(centre + reach).astype(int) + 1, anatomy.labels.shape)
    axes = np.ogrid[tuple(slice(a, b) for a, b in zip(low, high, strict=True))]
    distance = sum(((axis - c) / r) ** 2 for axis, c, r in zip(axes, centre, reach, strict=True))
    return tuple(index + start for index, start in zip(np.nonzero(distance <= 1), low, strict=True))
