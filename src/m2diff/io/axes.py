"""The order and direction in which a file stores its axes."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from m2diff.volume import Volume


def along(image: Volume, other: Volume) -> Volume:
    """``image`` with its axes in ``other``'s order and direction, not resampled: dcm2niix, for one, reverses rows."""
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.io_orientation(other.affine))
    data = np.ascontiguousarray(nib.apply_orientation(image.data, turn))
    affine = image.affine @ nib.orientations.inv_ornt_aff(turn, image.shape)
    return Volume(data, affine, image.unit, image.history, image.source)
