"""Where a PET scan has anything to show. For views and scales; scores are taken in a brain mask (docs/metrics.md)."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from m2diff.preparation.grid import WORKING_MM, smoothed
from m2diff.preparation.intensity import CALM_MM, level
from m2diff.shapes import MaskArray, VolumeArray

HEAD_SHARE = 0.12
"""A head's voxels are above this share of the scan's level; scalp and skull of an FDG scan are at a fifth and more."""
MARGIN_MM = 6.0


def support(data: VolumeArray) -> MaskArray:
    """The head in a PET scan on the working grid: its largest piece, filled, with a margin of ``MARGIN_MM``.

    All True where nothing stands out, so that a view is never empty.
    """
    calm = smoothed(data, CALM_MM)
    head = largest_piece(calm > HEAD_SHARE * level(calm))
    if not head.any():
        return np.ones(data.shape, dtype=bool)
    for axis in range(3):  # fill slice by slice: a head is open where the field of view cuts the neck
        filled = [ndimage.binary_fill_holes(part) for part in np.moveaxis(head, axis, 0)]
        head = np.moveaxis(np.stack(filled), 0, axis)
    near: MaskArray = ndimage.distance_transform_edt(~head) * WORKING_MM <= MARGIN_MM
    return near


def tissue(data: VolumeArray) -> MaskArray:
    """The head or the brain in an MRI on the working grid."""
    from skimage.filters import threshold_otsu

    calm = smoothed(data, 4.0)
    return largest_piece(calm > 0.5 * threshold_otsu(np.clip(calm, 0.0, np.percentile(calm, 99.5))))


def largest_piece(mask: MaskArray) -> MaskArray:
    """The largest connected piece of ``mask``; empty where it is empty."""
    pieces, count = ndimage.label(mask)
    if count == 0:
        return np.zeros(mask.shape, dtype=bool)
    sizes = np.bincount(pieces.ravel())
    return np.asarray(pieces == sizes[1:].argmax() + 1)


def grown(mask: MaskArray, voxels: float) -> MaskArray:
    """``mask`` with everything within so many voxels of it."""
    near: MaskArray = ndimage.distance_transform_edt(~mask) <= voxels
    return near


def box(mask: MaskArray, margin: int = 0) -> tuple[slice, slice, slice]:
    """The smallest box (i, j, k) around ``mask``, grown by ``margin`` voxels inside the image."""
    spans = [np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis))) for axis in range(3)]
    i, j, k = (
        slice(max(int(span[0]) - margin, 0), min(int(span[-1]) + 1 + margin, size))
        for span, size in zip(spans, mask.shape, strict=True)
    )
    return i, j, k
