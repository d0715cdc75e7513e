"""A brain as tissue fractions and region codes that agree with each other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from m2diff.errors import BadInput
from m2diff.shapes import Affine, LabelArray, MaskArray, VolumeArray
from m2diff.simulation import regions


@dataclass(frozen=True, eq=False)
class Tissues:
    """A source's brain: T1, region codes and tissue fractions, all (i, j, k) in RAS order, cropped to the brain."""

    t1: VolumeArray
    labels: LabelArray
    gm: VolumeArray
    wm: VolumeArray
    csf: VolumeArray
    affine: Affine


def is_grey(codes: LabelArray) -> MaskArray:
    """Where codes name a region of grey matter."""
    return (codes > 0) & (codes <= regions.OTHER_GREY) & ~np.isin(codes, regions.WHITE_MATTER)


def largest_component(mask: MaskArray) -> MaskArray:
    """The largest connected part of a mask."""
    parts, count = ndimage.label(mask)
    if not count:
        raise BadInput("an anatomy's tissue maps hold no brain: expected voxels above 0; check the files.")
    return parts == np.bincount(parts.ravel())[1:].argmax() + 1


def crop(brain: MaskArray, affine: Affine, margin: int = 2) -> tuple[tuple[slice, ...], Affine]:
    """The box around the brain with a margin, and the affine of what it cuts out."""
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    low = [max(0, side.start - margin) for side in box]
    cut = tuple(slice(start, side.stop + margin) for start, side in zip(low, box, strict=True))
    moved = affine.copy()
    moved[:3, 3] = (affine @ [*low, 1.0])[:3]
    return cut, moved


def grey_nuclei(codes: LabelArray, gm: VolumeArray, wm: VolumeArray) -> tuple[VolumeArray, VolumeArray]:
    """Grey and white fractions in which nuclei and brainstem count as grey: their uptake follows their own label."""
    deep = ndimage.gaussian_filter(np.isin(codes, regions.DEEP).astype(np.float32), 0.7, truncate=3.0)
    return gm + wm * deep, wm * (1 - deep)


def clear_ventricle_walls(
    gm: VolumeArray, wm: VolumeArray, ventricles: MaskArray, spare: MaskArray
) -> tuple[VolumeArray, VolumeArray]:
    """Turn false grey matter at the ventricles (CSF mixed with white matter) white; ``spare``: real grey matter."""
    wall = ndimage.binary_dilation(ventricles, iterations=3) & ~ndimage.binary_dilation(spare)
    return np.where(wall, 0, gm), np.where(wall, wm + gm, wm)


def complete_labels(codes: LabelArray, gm: VolumeArray, wm: VolumeArray, csf: VolumeArray) -> LabelArray:
    """A code for every brain voxel that agrees with its main tissue; BadInput where no grey matter has a region.

    Grey matter without a region takes the nearest one's; white matter its side and part (cerebrum, cerebellum).
    """
    fractions = np.stack([gm, wm, csf])
    main = fractions.argmax(0)
    brain = fractions.sum(0) > 0.25
    seeds = is_grey(codes) & (main == 0) & brain
    if not seeds.any():
        raise BadInput(
            "an anatomy's labels must name a region of its grey matter, but they name none; give labels that lie on "
            "its tissue maps."
        )
    nearest = ndimage.distance_transform_edt(~seeds, return_distances=False, return_indices=True)
    region = codes[tuple(nearest)]
    white = np.where(np.isin(codes, regions.WHITE_MATTER), codes, _white_of(region))
    out = np.select([main == 0, main == 1], [region, white], regions.CSF)
    return np.where(brain, out, 0).astype(np.int16)


def _white_of(region: LabelArray) -> LabelArray:
    """The white matter that belongs to a grey region: cerebellar or cerebral, on its side (midline: left)."""
    lookup = np.zeros(64, dtype=np.int16)
    for code, name in regions.REGIONS.items():
        left, right = (regions.CEREBELLAR_WHITE_LEFT, regions.CEREBELLAR_WHITE_RIGHT)
        if code not in (*regions.CEREBELLAR_CORTEX, regions.BRAINSTEM, regions.PONS):
            left, right = regions.WHITE_MATTER_LEFT, regions.WHITE_MATTER_RIGHT
        lookup[code] = right if name.endswith("_right") else left
    return lookup[region]
