"""The head around a stripped brain: grown from the brain's shape, or taken from a label map.

Classes: 0 air, 1 soft tissue (scalp, muscle, mucosa), 2 skull, 3 brain and CSF, 4 eyes. Computed at 2 mm, then
interpolated to the brain's grid.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from scipy import linalg, ndimage

from m2diff.errors import BadInput
from m2diff.shapes import Affine, MaskArray, VolumeArray
from m2diff.simulation.deform import smooth_field, stretch

HeadMap: TypeAlias = npt.NDArray[np.uint8]  # (i, j, k)

AIR, SOFT, SKULL, BRAIN, EYES = range(5)

_COARSE_MM = 2.0

# Head labels of SimNIBS' charm, used beside FreeSurfer's numbers; checked by eye.
CHARM = {
    502: AIR,  # sinuses, throat
    506: EYES,
    # CSF, eye muscles, mucosa, skin, spinal cord, veins, optic nerve
    **dict.fromkeys((507, 508, 509, 511, 512, 514, 530), SOFT),
    **dict.fromkeys((515, 516), SKULL),  # cortical bone, marrow
}


def grow_head(brain: MaskArray, rng: np.random.Generator, spacing_mm: float = 1.0) -> HeadMap:
    """Grow a head: CSF (1 to 3 mm), skull (5 to 9), scalp (4 to 10), smoothly varying; ellipsoids as face and neck."""
    step = max(1, round(_COARSE_MM / spacing_mm))
    small = brain[::step, ::step, ::step]
    distance = stretch(_distance_mm(_closed(small, step * spacing_mm), step * spacing_mm), brain.shape, step)
    csf, skull, scalp = rng.uniform([1.0, 5.0, 4.0], [3.0, 9.0, 10.0])
    coarse = tuple(-(-n // 8) + 1 for n in brain.shape)
    thicker, fatter = (1 + 0.2 * stretch(smooth_field(rng, coarse, 30 / 8 / spacing_mm), brain.shape) for _ in range(2))
    inner = csf + skull * thicker.clip(0.4, 1.6)
    classes = np.full(brain.shape, AIR, dtype=np.uint8)
    for ball in (_FACE, _NECK):
        classes[_inside(ball, brain, float(rng.uniform(0.92, 1.1)))] = SOFT
    classes[_inside(_SPINE, brain)] = SKULL
    classes[distance < inner + scalp * fatter.clip(0.4, 1.6)] = SOFT
    for ball, what in ((_NOSE, AIR), (_THROAT, AIR), (_EYE, EYES)):
        classes[_inside(ball, brain)] = what
    classes[(distance < inner) & (classes != EYES)] = SKULL
    classes[(distance < csf) | brain] = BRAIN
    return classes


def _closed(mask: MaskArray, spacing_mm: float, radius_mm: float = 12.0) -> MaskArray:
    """The mask with its clefts filled: dilated by ``radius_mm``, then eroded by as much."""
    padded = np.pad(mask, 8)
    grown = ndimage.distance_transform_edt(~padded) * spacing_mm < radius_mm
    return (ndimage.distance_transform_edt(grown) * spacing_mm >= radius_mm)[8:-8, 8:-8, 8:-8] | mask


def _distance_mm(mask: MaskArray, spacing_mm: float) -> VolumeArray:
    """Millimetres from the surface of a mask, negative inside."""
    outside = ndimage.distance_transform_edt(~mask)
    inside = ndimage.distance_transform_edt(mask)
    return ((outside - inside) * spacing_mm).astype(np.float32)


# Ellipsoids, centre and radii, in units of the brain's box (MNI brain: 142 x 180 x 152 mm); x is mirrored.
_FACE = ((0.0, 0.33, -0.46), (0.43, 0.27, 0.46))
_NECK = ((0.0, -0.10, -0.95), (0.42, 0.34, 0.75))
_NOSE = ((0.0, 0.43, -0.38), (0.07, 0.14, 0.13))
_THROAT = ((0.0, 0.20, -0.66), (0.09, 0.06, 0.22))
_EYE = ((0.235, 0.44, -0.29), (0.085, 0.068, 0.08))
_SPINE = ((0.0, -0.13, -0.95), (0.13, 0.10, 0.42))


def _inside(ball: tuple[tuple[float, ...], tuple[float, ...]], brain: MaskArray, scale: float = 1.0) -> MaskArray:
    """The voxels of an ellipsoid (of both, where it is lateral)."""
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    total: npt.NDArray[np.float32] | float = 0.0
    for axis, (side, centre, radius) in enumerate(zip(box, *ball, strict=True)):
        size = side.stop - side.start
        place = (np.arange(brain.shape[axis], dtype=np.float32) - (side.start + side.stop) / 2) / size
        away = (np.abs(place) if axis == 0 else place) - centre
        total = total + ((away / (radius * scale)) ** 2).reshape([-1 if a == axis else 1 for a in range(3)])
    return np.asarray(total) < 1


def find_heads(folder: Path | str) -> list[Path]:
    """The head label maps in a folder, by name."""
    files = sorted(Path(folder).glob("*.nii*"))
    if not files:
        raise BadInput(f"{folder} holds no head label maps (*.nii.gz); give another folder or choose head 'grown'.")
    return files


def map_head(brain: MaskArray, affine: Affine, file: Path) -> HeadMap:
    """Lay a real head around another brain.

    An affine map matches mean and covariance of the two brains (the optimal map between Gaussians). Where they still
    differ, the skull is moved to lie outside the brain.
    """
    classes, head_affine = _read_head(Path(file))
    fit = _moment_fit(brain, affine, classes == BRAIN, head_affine)
    step = np.linalg.solve(head_affine, fit @ affine)  # voxel here -> voxel of the head map
    moved = ndimage.affine_transform(
        classes, step[:3, :3], step[:3, 3], output_shape=brain.shape, order=0, mode="constant", prefilter=False
    )
    return _around(moved, brain, float(affine[0, 0]))


@lru_cache(maxsize=1)
def _read_head(file: Path) -> tuple[HeadMap, Affine]:
    """The classes of a head label map in RAS order. Its CSF (24) is BRAIN too."""
    import nibabel as nib

    try:
        image = nib.as_closest_canonical(nib.load(file))
        labels = np.asarray(image.dataobj).astype(np.int16)
    except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
        raise BadInput(f"{file} cannot be read as a head label map ({error}); replace the file.") from error
    lookup = np.full(max(600, int(labels.max()) + 1), SOFT, dtype=np.uint8)
    lookup[1:500] = BRAIN
    lookup[0] = AIR
    lookup[list(CHARM)] = list(CHARM.values())
    return _lengthen_neck(lookup[labels]), np.asarray(image.affine, dtype=np.float64)


def _lengthen_neck(classes: HeadMap) -> HeadMap:
    """Extend a head that the field of view cut off below the skull base down to the edge of the file."""
    low = int(np.flatnonzero(classes.any((0, 1)))[0])
    if low > 0:
        start = low + 3  # the lowest planes are ragged
        floor = classes[:, :, start : start + 1]
        classes[:, :, :start] = np.where(floor == BRAIN, SOFT, floor)  # the spinal cord must not enter the fit
    return classes


def _moment_fit(brain: MaskArray, affine: Affine, other: MaskArray, other_affine: Affine) -> Affine:
    """The map from the millimetres of ``brain`` to those of ``other`` that matches mean and covariance."""
    mean, covariance = _moments(_closed_every(brain, 4), affine, 4)
    other_mean, other_covariance = _moments(_closed_every(other, 4), other_affine, 4)
    root = linalg.sqrtm(covariance).real
    inverse = np.linalg.inv(root)
    matrix = np.eye(4)
    matrix[:3, :3] = inverse @ linalg.sqrtm(root @ other_covariance @ root).real @ inverse
    matrix[:3, 3] = other_mean - matrix[:3, :3] @ mean
    return matrix


def _closed_every(mask: MaskArray, step: int) -> MaskArray:
    """Every n-th voxel of a mask, clefts filled, so that two brains are compared by outline."""
    return ndimage.binary_closing(np.pad(mask[::step, ::step, ::step], 4), iterations=3)[4:-4, 4:-4, 4:-4]


def _moments(mask: MaskArray, affine: Affine, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Mean (3,) and covariance (3, 3) in millimetres of a mask that holds every ``step``-th voxel."""
    points = np.argwhere(mask) * step @ affine[:3, :3].T + affine[:3, 3]
    return points.mean(0), np.cov(points.T)


def _around(moved: HeadMap, brain: MaskArray, spacing_mm: float) -> HeadMap:
    """Mend a mapped head around the brain: CSF, then skull, then scalp."""
    step = max(1, round(_COARSE_MM / spacing_mm))
    near = _closed(brain[::step, ::step, ::step], step * spacing_mm, 8.0)
    distance = stretch(_distance_mm(near, step * spacing_mm), brain.shape, step)
    box = ndimage.find_objects(brain.astype(np.uint8))[0][2]
    above = np.arange(brain.shape[2]) > box.start + 0.4 * (box.stop - box.start)  # the vault; below lies the skull base
    out = moved.copy()
    out[(moved == BRAIN) & (distance > 7)] = SKULL  # the mapped brain was larger: the skull comes in
    soft = (out == AIR) | (out == SOFT)
    out[soft & above & (distance < 6)] = SKULL  # it was smaller: the skull moves out, and the scalp with it
    out[(out == AIR) & above & (distance < 11)] = SOFT
    out[(distance < 1.5) | brain] = BRAIN
    return out
