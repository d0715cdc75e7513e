"""Where things lie on the working grid: the brain and the head in a PET scan, the tissue in an MRI.

For views and scales; scores are taken in a brain mask (docs/metrics.md). What is read off a PET scan is read off its
calmed version, so that whoever asks for several things smooths once (``pet.PetOnGrid``).
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from m2diff.errors import BadInput
from m2diff.preparation.grid import WORKING_MM, smoothed
from m2diff.shapes import MaskArray, VolumeArray

CALM_MM = 10.0
"""FWHM after which a brain stands out of its noise even at a hundredth of the dose."""
MRI_CALM_MM = 4.0
"""The same for an MRI, which has little noise."""
LEVEL_ML = 100.0
"""Volume of tissue above ``uptake_level``: no lesion is as large, and every brain is several times larger."""
BRAIN_SHARE = 0.4
"""A brain's voxels are above this share of the level, skull and scalp mostly below."""
HEAD_SHARE = 0.12
"""A head's voxels are above this share of the level; scalp and skull of an FDG scan are at a fifth and more."""
HEAD_MARGIN_MM = 6.0


def calmed(data: VolumeArray) -> VolumeArray:
    """A PET scan smoothed until its brain stands out."""
    return smoothed(data, CALM_MM)


def uptake_level(calm: VolumeArray) -> float:
    """The value that 100 ml of a calmed scan exceed (or a twentieth of the image, where that is less)."""
    count = int(min(LEVEL_ML * 1000.0 / WORKING_MM**3, calm.size / 20))
    flat = calm.ravel()
    return float(np.partition(flat, flat.size - 1 - count)[flat.size - 1 - count])


def brain(calm: VolumeArray, top: float) -> MaskArray:
    """The brain, roughly, in a calmed scan of level ``top``; BadInput where nothing stands out."""
    if not top > 0.0:
        raise BadInput(
            f"The PET shows no activity (100 ml of tissue should stand out, but their level is {top:g}); "
            "check that the file is the reconstructed scan."
        )
    return calm > BRAIN_SHARE * top


def head(calm: VolumeArray, top: float) -> MaskArray:
    """The head in a calmed scan of level ``top``: its largest piece, filled, with a margin of ``HEAD_MARGIN_MM``.

    All True where nothing stands out, so that a view is never empty.
    """
    found = largest_piece(calm > HEAD_SHARE * top)
    if not found.any():
        return np.ones(calm.shape, dtype=bool)
    for axis in range(3):  # fill slice by slice: a head is open where the field of view cuts the neck
        found = ndimage.binary_fill_holes(found, np.expand_dims(ndimage.generate_binary_structure(2, 1), axis))
    return grown(found, HEAD_MARGIN_MM / WORKING_MM)


def support(data: VolumeArray) -> MaskArray:
    """The head in a PET scan on the working grid, as ``head``."""
    calm = calmed(data)
    return head(calm, uptake_level(calm))


def tissue(data: VolumeArray) -> MaskArray:
    """The head or the brain in an MRI on the working grid."""
    return largest_piece(bright(smoothed(data, MRI_CALM_MM)))


def bright(calm: VolumeArray) -> MaskArray:
    """What is no air in a smoothed MRI.

    Above half of Otsu's threshold: in a whole head with bright fat the threshold itself may cut grey matter away.
    """
    from skimage.filters import threshold_otsu

    return calm > 0.5 * threshold_otsu(np.clip(calm, 0.0, np.percentile(calm, 99.5)))


def largest_piece(mask: MaskArray) -> MaskArray:
    """The largest connected piece of ``mask``; empty where it is empty."""
    pieces, count = ndimage.label(mask)
    if count == 0:
        return np.zeros(mask.shape, dtype=bool)
    sizes = np.bincount(pieces.ravel())
    return np.asarray(pieces == sizes[1:].argmax() + 1)


def grown(mask: MaskArray, voxels: float) -> MaskArray:
    """``mask`` with everything within so many voxels of it."""
    return np.asarray(ndimage.distance_transform_edt(~mask) <= voxels)


def box(mask: MaskArray, margin: int = 0) -> tuple[slice, slice, slice]:
    """The smallest box (i, j, k) around ``mask``, grown by ``margin`` voxels inside the image."""
    spans = zip(ndimage.find_objects(mask.astype(np.uint8))[0], mask.shape, strict=True)
    i, j, k = (slice(max(span.start - margin, 0), min(span.stop + margin, size)) for span, size in spans)
    return i, j, k
