"""The template's space, in which the network sees every brain alike; the way there and back."""

from __future__ import annotations

import numpy as np

from m2diff.preparation import grid
from m2diff.shapes import Affine, VolumeArray
from m2diff.volume import Volume

EDGE_MM = 2.0
SHAPE = (80, 112, 96)
"""Voxels (i, j, k): a brain of MNI152's size with 10 mm around it."""
AFFINE = np.array([[2.0, 0, 0, -79], [0, 2, 0, -120], [0, 0, 2, -88], [0, 0, 0, 1]])
"""Of the box in MNI152's world, RAS+; the midline lies between two voxels."""


def seen(mri: Volume, placement: Affine) -> VolumeArray:
    """The MRI in the template's box, ``SHAPE``; ``placement`` moves the template's world to the MRI's."""
    return grid.onto(mri, AFFINE, SHAPE, np.asarray(np.linalg.inv(placement), dtype=np.float64))
