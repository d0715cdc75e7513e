"""The order and direction in which a file stores its axes."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from m2diff.volume import Volume


def along(image: Volume, other: Volume) -> Volume:
    """``image`` with its axes in the order and direction of ``other``'s: dcm2niix, for one, turns the rows around.

    No voxel is resampled; where the two lie on one grid otherwise, they do voxel by voxel afterwards.
    """
    turn = nib.orientations.ornt_transform(nib.io_orientation(image.affine), nib.io_orientation(other.affine))
    data = np.ascontiguousarray(nib.apply_orientation(image.data, turn))
    affine = image.affine @ nib.orientations.inv_ornt_aff(turn, image.shape)
    return Volume(data, affine, image.unit, image.history, image.source)
