"""Three planes through a head, cut from volumes of any grid and orientation.

The report's image defines an isotropic grid in mm, along its own axes nearest to right, front and up. All volumes are
sampled there by world coordinates, so pictures match.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import nibabel as nib
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from m2diff.shapes import Affine, VolumeArray
from m2diff.volume import Volume

Plane = Literal["axial", "coronal", "sagittal"]
PLANES: tuple[Plane, ...] = ("axial", "coronal", "sagittal")
_ACROSS: dict[Plane, tuple[int, int]] = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}  # (column, row) axes
_THROUGH: dict[Plane, int] = {"axial": 2, "coronal": 1, "sagittal": 0}

_PIXEL_MM = 1.0
_MARGIN_MM = 8.0
_FOREGROUND = 0.15  # of the bright level, in the smoothed image: what counts as shown
_MOST_POINTS = 200_000  # of the head, for the ends of a scale

PlaneImage = npt.NDArray[np.float32]  # (row, column), row 0 at the bottom
Place = npt.NDArray[np.float64]  # (right, front, up) mm along the axes of a scene
Points = npt.NDArray[np.float64]  # (3, n) mm along the axes of a scene


@dataclass(frozen=True, eq=False)
class Scene:
    """Where the planes are: a box, a centre and the head's points, in mm.

    ``frame``: (right, front, up, 1) mm on the axes to world mm.
    """

    frame: Affine
    low: npt.NDArray[np.float64]
    high: npt.NDArray[np.float64]
    centre: Place
    head: Points

    def cut(
        self,
        volume: Volume,
        plane: Plane,
        at: float | None = None,
        *,
        nearest: bool = False,
        pixel_mm: float = _PIXEL_MM,
    ) -> PlaneImage:
        """``volume`` on a plane (at its centre, or ``at`` mm), linear or of the ``nearest`` voxel; 0 outside it."""
        column, row = _ACROSS[plane]
        columns, rows = (np.arange(self.low[axis], self.high[axis], pixel_mm) for axis in (column, row))
        points = np.empty((3, rows.size, columns.size))
        points[column], points[row] = columns[None, :], rows[:, None]
        points[_THROUGH[plane]] = self.centre[_THROUGH[plane]] if at is None else at
        values = self._sampled(volume, points.reshape(3, -1), order=0 if nearest else 1)
        return values.reshape(rows.size, columns.size)

    def in_head(self, volume: Volume) -> npt.NDArray[np.float32]:
        """The values of ``volume`` at the points of the head."""
        return self._sampled(volume, self.head, order=1)

    def _sampled(self, volume: Volume, points: Points, order: int) -> npt.NDArray[np.float32]:
        index = np.linalg.solve(volume.affine, self.frame) @ np.vstack([points, np.ones(points.shape[1])])
        values = ndimage.map_coordinates(volume.data, index[:3], order=order, cval=0.0)
        return np.asarray(values, dtype=np.float32)

    def place(self, world_mm: tuple[float, float, float]) -> Place:
        """A point of the world along the axes: (right, front, up) mm."""
        return np.asarray(np.linalg.solve(self.frame, [*world_mm, 1.0])[:3])

    def levels(self, number: int) -> npt.NDArray[np.float64]:
        """Heights (mm, along the upward axis) of ``number`` axial planes, ascending."""
        extent = self.high[2] - self.low[2]
        return np.linspace(self.low[2] + 0.2 * extent, self.high[2] - 0.15 * extent, number)


def scene_of(image: Volume) -> Scene:
    """The scene of a report on ``image``: the box of its foreground and the centre of its activity."""
    turned = nib.as_closest_canonical(nib.Nifti1Image(np.asarray(image.data, dtype=np.float32), image.affine))
    data, affine = np.asarray(turned.dataobj), np.asarray(turned.affine)  # axes nearest to right, front and up
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    frame = affine.copy()
    frame[:3, :3] /= sizes  # millimetres along the image's axes, from its first voxel
    shown = _foreground(data, sizes)
    inside = np.argwhere(shown) * sizes
    last = (np.array(data.shape) - 1) * sizes
    low = np.maximum(inside.min(axis=0) - _MARGIN_MM, 0)
    high = np.minimum(inside.max(axis=0) + _MARGIN_MM, last) + _PIXEL_MM / 2
    head = inside[:: 1 + len(inside) // _MOST_POINTS].T
    return Scene(frame, low, high, inside.mean(axis=0), head)


def _foreground(data: VolumeArray, sizes: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
    """The largest part above a share of the bright level, after smoothing; everything if there is none."""
    smooth = ndimage.gaussian_filter(data, 6.0 / 2.355 / sizes)
    bright = smooth > _FOREGROUND * np.percentile(smooth, 99.5)
    parts, number = ndimage.label(bright)
    if number == 0:
        return np.ones(data.shape, dtype=bool)
    return parts == 1 + int(np.argmax(np.bincount(parts.ravel())[1:]))


def bright_level(pictures: Mapping[Plane, PlaneImage]) -> float:
    """The top of a grey scale: 99.7th percentile of the pictures' positive values; 1 if there are none."""
    values = np.concatenate([picture[picture > 0] for picture in pictures.values()])
    return float(np.percentile(values, 99.7)) if values.size else 1.0
