"""The scale of an MRI: its tissue is near 1 whatever the scanner. (For a PET scan see ``pet``.)"""

from __future__ import annotations

import numpy as np

from m2diff.errors import BadInput
from m2diff.preparation import mask
from m2diff.preparation.grid import smoothed
from m2diff.shapes import MaskArray, VolumeArray

MRI_CEILING = 4.0  # upper limit of normalised MRI: fat and vessels are brighter, and carry nothing


def normalise_mri(data: VolumeArray, within: MaskArray | None = None) -> VolumeArray:
    """Divide an MRI on the working grid by the median of its tissue; limit it to 0 ... ``MRI_CEILING``.

    ``within`` (the PET's brain) restricts the median, so that skull or none does not matter. BadInput without tissue.
    """
    calm = smoothed(data, mask.MRI_CALM_MM)
    if float(calm.max()) <= max(float(calm.min()), 0.0):
        raise BadInput("The MRI shows no tissue where the PET lies; check that both are of the same person and place.")
    tissue = mask.bright(calm)
    if within is not None and (tissue & within).sum() > 0.1 * within.sum():
        tissue &= within
    return np.clip(data / np.float32(np.median(data[tissue])), 0.0, MRI_CEILING)
