"""One scale a volume, from the input alone: a brain lies near 1 whatever the unit, the dose and the tracer.

Every function commutes with a change of unit: an image multiplied by k has a scale multiplied by k.
"""

from __future__ import annotations

import numpy as np

from m2diff.errors import BadInput
from m2diff.preparation.grid import WORKING_MM, smoothed
from m2diff.shapes import MaskArray, VolumeArray

CALM_MM = 10.0
"""FWHM after which a brain stands out of its noise even at a hundredth of the dose."""
LEVEL_ML = 100.0
"""Volume of tissue above ``level``: no lesion is as large, and every brain is several times larger."""
BRAIN_SHARE = 0.4
"""A brain's voxels are above this share of the level, skull and scalp mostly below."""
MRI_CEILING = 4.0
"""Normalised MRI values are limited to this: fat and vessels shine, and carry nothing."""


def pet_scale(data: VolumeArray) -> float:
    """The mean of the brain in a (smoothed) PET scan on the working grid, in the scan's unit.

    Taken over the voxels above ``BRAIN_SHARE`` of the scan's ``level``; hot spots are too small to move it, and
    noise, a negative background and the size of the field of view do not enter.
    """
    calm = smoothed(data, CALM_MM)
    return float(calm[_foreground(calm)].mean(dtype=np.float64))


def foreground(data: VolumeArray) -> MaskArray:
    """The voxels from which ``pet_scale`` is taken: brain, roughly."""
    return _foreground(smoothed(data, CALM_MM))


def level(calm: VolumeArray) -> float:
    """The value that 100 ml of a smoothed scan exceed (or a twentieth of the image, where that is less)."""
    count = int(min(LEVEL_ML * 1000.0 / WORKING_MM**3, calm.size / 20))
    flat = calm.ravel()
    return float(np.partition(flat, flat.size - 1 - count)[flat.size - 1 - count])


def normalise_mri(data: VolumeArray, within: MaskArray | None = None) -> VolumeArray:
    """An MRI on the working grid divided by the median of its tissue, limited to 0 ... ``MRI_CEILING``.

    Tissue is what Otsu's threshold of the smoothed image leaves; with ``within`` (the PET's brain) only its part in
    there, so that a whole head and a stripped brain get the same scale.
    """
    from skimage.filters import threshold_otsu

    calm = smoothed(data, 4.0)
    if float(calm.max()) <= max(float(calm.min()), 0.0):
        raise BadInput("The MRI shows no tissue where the PET lies; check that both are of the same person and place.")
    # Half of Otsu's threshold: in a whole head with bright fat the threshold itself may cut grey matter away.
    tissue = calm > 0.5 * threshold_otsu(np.clip(calm, 0.0, np.percentile(calm, 99.5)))
    if within is not None and (tissue & within).sum() > 0.1 * within.sum():
        tissue &= within
    return np.clip(data / np.float32(np.median(data[tissue])), 0.0, MRI_CEILING)


def _foreground(calm: VolumeArray) -> MaskArray:
    top = level(calm)
    if not top > 0.0:
        raise BadInput(
            f"The PET shows no activity (100 ml of tissue should stand out, but their level is {top:g}); "
            "check that the file is the reconstructed scan."
        )
    return calm > BRAIN_SHARE * top
