"""Rigid placements (4, 4) in world millimetres, and centres of mass."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from m2diff.shapes import Affine, MaskArray


def centre(where: MaskArray, affine: Affine) -> npt.NDArray[np.float64]:
    """Centre of mass of a mask, world mm."""
    index = np.argwhere(where).mean(axis=0) if where.any() else (np.array(where.shape) - 1) / 2
    return np.asarray(affine[:3, :3] @ index + affine[:3, 3], dtype=np.float64)


def shift(by: npt.NDArray[np.float64]) -> Affine:
    """The shift by a vector, mm."""
    matrix = np.eye(4)
    matrix[:3, 3] = by
    return matrix


def mirror(x: float) -> Affine:
    """The reflection of the first axis about ``x``."""
    matrix = np.diag([-1.0, 1.0, 1.0, 1.0])
    matrix[0, 3] = 2 * x
    return matrix


def rotation(centre: npt.NDArray[np.float64], turn: npt.NDArray[np.float64]) -> Affine:
    """The rotation by the vector ``turn`` (radians) about ``centre``."""
    from scipy.spatial.transform import Rotation

    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(turn).as_matrix()
    return shift(centre) @ matrix @ shift(-centre)
