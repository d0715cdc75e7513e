"""The scale of an MRI, from the MRI alone: its tissue lies near 1 whatever the scanner (of a PET scan: ``pet``)."""

from __future__ import annotations

import numpy as np

from m2diff.errors import BadInput
from m2diff.preparation import mask
from m2diff.preparation.grid import smoothed
from m2diff.shapes import MaskArray, VolumeArray

MRI_CEILING = 4.0
"""Normalised MRI values are limited to this: fat and vessels shine, and carry nothing."""


def normalise_mri(data: VolumeArray, within: MaskArray | None = None) -> VolumeArray:
    """An MRI on the working grid divided by the median of its tissue, limited to 0 ... ``MRI_CEILING``.

    With ``within`` (the PET's brain) only the tissue in there counts, so that a whole head and a stripped brain get the
    same scale. Raises BadInput where there is no tissue.
    """
    calm = smoothed(data, mask.MRI_CALM_MM)
    if float(calm.max()) <= max(float(calm.min()), 0.0):
        raise BadInput("The MRI shows no tissue where the PET lies; check that both are of the same person and place.")
    tissue = mask.bright(calm)
    if within is not None and (tissue & within).sum() > 0.1 * within.sum():
        tissue &= within
    return np.clip(data / np.float32(np.median(data[tissue])), 0.0, MRI_CEILING)
