"""The default anatomy: nilearn's MNI152 template with approximate regions.

nilearn has T1, grey and white matter at 1 mm but no atlas. Nuclei and brainstem are ellipsoids; other voxels go to the
nearest of a few seeds per region (Desikan-Killiany centres in MNI space, from memory of published tables, rounded to 2
mm). Left and right mirror each other.
"""

from __future__ import annotations

import numpy as np

from m2diff.shapes import LabelArray, MaskArray, VolumeArray
from m2diff.simulation import regions
from m2diff.simulation.tissue_maps import Tissues, clear_ventricle_walls, complete_labels, crop, grey_nuclei

Point = tuple[float, float, float]  # |x|, y, z in MNI mm

MNI_BRAIN_BOX = np.array([[-71.0, -106.0, -70.0], [71.0, 74.0, 82.0]])  # the corners of the template's brain, in mm

_SEEDS: dict[str, tuple[Point, ...]] = {
    "superior_frontal_gyrus": (
        (8, 55, 28), (10, 35, 48), (10, 12, 60), (10, -2, 66), (8, 62, 8), (22, 30, 48), (20, 52, 30), (18, 10, 64),
    ),
    "orbitofrontal_cortex": ((24, 35, -16), (8, 42, -18), (38, 30, -14), (8, 24, -20), (24, 54, -12), (6, 54, -8)),
    "dorsolateral_frontal_cortex": (
        (40, 35, 28), (34, 54, 12), (38, 20, 46), (46, 28, 10), (50, 14, 14), (46, 38, -2), (48, 0, 38), (40, -8, 52),
        (28, -14, 64), (56, 4, 22), (32, 45, 28), (28, 4, 58), (58, 2, 8), (20, 66, 4),
    ),
    "paracentral_lobule": ((6, -28, 62), (6, -22, 72), (8, -38, 68)),
    "postcentral_gyrus": ((42, -28, 54), (50, -22, 44), (58, -14, 30), (60, -12, 16), (28, -36, 66), (18, -38, 74)),
    "dorsolateral_parietal_cortex": (
        (22, -62, 60), (32, -52, 52), (48, -40, 46), (58, -32, 34), (42, -62, 44), (50, -56, 32), (60, -40, 24),
        (34, -78, 36), (22, -74, 48), (32, -48, 64), (46, -68, 26),
    ),
    "precuneus": ((6, -58, 40), (8, -66, 52), (8, -52, 60), (10, -62, 26), (6, -48, 48)),
    "anterior_cingulate_cortex": ((6, 36, 14), (6, 42, 4), (6, 22, 26), (6, 8, 36), (6, 30, -4)),
    "posterior_cingulate_cortex": ((6, -8, 38), (6, -20, 38), (6, -32, 38), (6, -42, 34)),
    "isthmus_cingulate_cortex": ((8, -48, 20), (8, -44, 8), (7, -50, 26), (14, -44, 0)),
    "lateral_temporal_cortex": (
        (56, -14, -4), (62, -28, 4), (60, -42, 12), (50, 4, -12), (60, -24, -14), (60, -44, -4), (54, -8, -28),
        (54, -36, -22), (54, -56, 2), (48, 12, -24), (38, 16, -34), (46, -24, 10), (52, -52, 14), (42, 4, -40),
        (56, -54, -14), (60, -10, -16), (46, -14, -34),
    ),
    "mesial_temporal_cortex": (
        (24, -8, -34), (26, -28, -20), (36, -40, -20), (34, -56, -14), (36, -20, -28), (20, -38, -10), (30, 2, -38),
    ),
    "lateral_occipital_cortex": (
        (30, -92, -4), (42, -80, -6), (46, -72, 6), (28, -94, 12), (36, -84, 18), (46, -70, -10), (18, -102, 2),
        (36, -74, -14), (26, -90, -14),
    ),
    "pericalcarine_cortex": ((10, -80, 7), (12, -70, 9), (8, -90, 2), (20, -64, 8)),
    "lingual_gyrus": ((10, -72, -3), (14, -60, -4), (12, -82, -9), (20, -54, -6), (12, -92, -12)),
    "cuneus": ((8, -80, 22), (8, -88, 26), (6, -76, 34), (10, -94, 16)),
    "insula": ((36, 6, 2), (38, -4, -4), (36, 16, -6), (38, -16, 6), (36, 0, 12)),
    "cerebellar_cortex": (
        (12, -56, -16), (28, -48, -28), (25, -66, -30), (40, -58, -36), (30, -74, -44), (12, -78, -28), (20, -62, -52),
        (36, -48, -46), (46, -64, -40), (4, -62, -22), (4, -68, -42), (10, -50, -52), (30, -84, -36), (14, -48, -18),
        (6, -50, -10), (10, -86, -36), (44, -54, -32), (20, -40, -46), (4, -60, -10),
    ),
}  # fmt: skip

_NUCLEI: tuple[tuple[str, Point, Point], ...] = (  # later ones win
    ("hippocampus", (25, -15, -18), (6, 8, 6)),
    ("hippocampus", (27, -25, -13), (6, 8, 6)),
    ("hippocampus", (25, -34, -4), (6, 7, 7)),
    ("amygdala", (22, -4, -19), (7, 7, 7)),
    ("caudate", (12, 13, 4), (5.5, 10, 9)),
    ("caudate", (15, 0, 17), (4.5, 12, 5)),
    ("caudate", (18, -14, 20), (4, 9, 4)),
    ("putamen", (26, 3, 0), (6.5, 16, 10)),
    ("globus_pallidus", (18.5, -4, -1), (4.5, 8, 6)),
    ("ventral_diencephalon", (9, -14, -8), (8, 8, 6)),
    ("thalamus", (11, -19, 8), (9, 13, 9)),
    ("brainstem_wo_pons", (0, -29, -13), (13, 10, 9)),
    ("brainstem_wo_pons", (0, -42, -56), (8, 8, 15)),
    ("pons", (0, -28, -32), (16, 13, 13)),
)
"""Ellipsoids: the region without its side, centre and half-axes along x, y, z in MNI mm (|x|)."""


def template() -> Tissues:
    """The MNI152 template as a source.

    Its maps average many brains. Squared fractions, and a T1 from them mixed into the average one, give a person folds.
    """
    from nilearn import datasets

    names = ("template", "gm_template", "wm_template", "brain_mask")
    images = [getattr(datasets, f"load_mni152_{name}")(resolution=1) for name in names]
    cut, affine = crop(np.asarray(images[3].dataobj) > 0, np.asarray(images[0].affine, dtype=np.float64))
    t1, gm, wm, brain = (np.asarray(image.dataobj, dtype=np.float32)[cut] for image in images)
    codes = label_by_seeds(brain > 0, affine)
    gm, wm, csf = _sharpen(gm, wm, brain)
    gm, wm = clear_ventricle_walls(gm, wm, _ventricles(csf > 0.5, affine), spare=np.isin(codes, regions.DEEP))
    sharp = t1[wm > 0.9].mean() * (0.65 * gm + wm + 0.25 * csf)
    gm, wm = grey_nuclei(codes, gm, wm)
    mixed = ((0.5 * t1 + 0.5 * sharp) * brain).astype(np.float32)
    return Tissues(mixed, complete_labels(codes, gm, wm, csf), gm, wm, csf, affine)


def _sharpen(gm: VolumeArray, wm: VolumeArray, brain: VolumeArray) -> tuple[VolumeArray, VolumeArray, VolumeArray]:
    """Square the fractions and scale them to sum to 1 in the brain: sharper than an average of many brains."""
    csf = (brain - gm - wm).clip(0, 1)
    squared = np.stack([gm.clip(0, 1), wm.clip(0, 1), csf]) ** 2
    squared *= brain / np.maximum(squared.sum(0), 1e-6)
    return squared[0], squared[1], squared[2]


def _ventricles(csf: MaskArray, affine: np.ndarray) -> MaskArray:
    """The CSF of the lateral and third ventricles: that in a box in the middle of the brain."""
    inside = csf.copy()
    for axis, (low, high) in enumerate(((-26, 26), (-42, 34), (-4, 27))):
        mm = affine[axis, axis] * np.arange(csf.shape[axis]) + affine[axis, 3]
        inside &= ((mm > low) & (mm < high)).reshape([-1 if a == axis else 1 for a in range(3)])
    return inside


def label_by_seeds(brain: MaskArray, affine: np.ndarray | None = None) -> LabelArray:
    """Region codes of a brain, (i, j, k) in RAS order; 0 outside. ``affine``: voxel to MNI mm; None fits the boxes."""
    from scipy.spatial import cKDTree

    index = np.argwhere(brain)
    to_mni = _box_to_mni(index) if affine is None else affine
    points = index @ to_mni[:3, :3].T + to_mni[:3, 3]
    folded = np.abs(points * [1, 0, 0]) + points * [0, 1, 1]
    names = [stem for stem, seeds in _SEEDS.items() for _ in seeds]
    left = np.array([regions.CODES[f"{name}_left"] for name in names])
    codes = left[cKDTree([seed for seeds in _SEEDS.values() for seed in seeds]).query(folded)[1]]
    for stem, centre, radii in _NUCLEI:
        inside = (((folded - centre) / radii) ** 2).sum(1) < 1
        codes[inside] = regions.CODES.get(f"{stem}_left", regions.CODES.get(stem))
    paired = ~np.isin(codes, (regions.BRAINSTEM, regions.PONS))
    codes[paired & (points[:, 0] > 0)] += 1
    labels = np.zeros(brain.shape, dtype=np.int16)
    labels[brain] = codes
    return labels


def _box_to_mni(index: np.ndarray) -> np.ndarray:
    """The diagonal affine that takes the bounding box of voxels to that of the template's brain."""
    low, high = index.min(0), index.max(0)
    scale = (MNI_BRAIN_BOX[1] - MNI_BRAIN_BOX[0]) / np.maximum(high - low, 1)
    matrix = np.diag([*scale, 1.0])
    matrix[:3, 3] = MNI_BRAIN_BOX[0] - low * scale
    return matrix
