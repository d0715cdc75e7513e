"""The working grid (2 mm voxels, axes permuted and flipped towards RAS, never rotated) and the way back.

Resampling is separable: one small matrix an axis. To the finer grid it is cubic-spline interpolation ``U``; to the
coarser one the least-squares inverse ``pinv(U)`` (Unser, Aldroubi and Eden 1995, IEEE Trans. Image Process. 4:247).
That keeps constants and cubic polynomials, does not alias, and makes both directions nearly undo each other.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt
from nibabel import orientations
from scipy import ndimage
from scipy.interpolate import make_interp_spline

from m2diff.errors import BadInput
from m2diff.shapes import Affine, VolumeArray
from m2diff.volume import Volume

WORKING_MM = 2.0  # voxel edge of the working grid
_TOLERANCE = 0.01  # voxels within this share of ``WORKING_MM`` are left as they are
FWHM_PER_SIGMA = 2.3548200450309493

AxisMatrix: TypeAlias = npt.NDArray[np.float32]  # (to, from)


@dataclass(frozen=True, eq=False)
class AxisMap:
    """Resampling along an axis; None leaves it as it is. Working voxel n is at scan voxel ``start + n * step``."""

    there: AxisMatrix | None = None
    back: AxisMatrix | None = None
    start: float = 0.0
    step: float = 1.0


@dataclass(frozen=True, eq=False)
class WorkingImage:
    """An image on the working grid, ``data`` (i, j, k) and ``affine``, with the way back to its scan's grid."""

    data: VolumeArray
    affine: Affine
    axes: tuple[AxisMap, ...]
    orientation: npt.NDArray[np.float64]  # nibabel's orientation array of the scan: which way each of its axes points

    def undo(self, data: VolumeArray) -> VolumeArray:
        """``data`` (working grid) on the grid and orientation of the scan."""
        if data.shape != self.data.shape:
            raise ValueError(f"undo takes the working grid's shape {self.data.shape}, got {data.shape}")
        for axis, axis_map in enumerate(self.axes):
            data = _along(data, axis_map.back, axis)
        canonical = orientations.axcodes2ornt("RAS")
        turned = orientations.apply_orientation(data, orientations.ornt_transform(canonical, self.orientation))
        return np.ascontiguousarray(turned, dtype=np.float32)


def to_working(volume: Volume) -> WorkingImage:
    """The image of ``volume`` on the working grid; bit-exact where voxels are 2 mm already."""
    orientation = orientations.io_orientation(volume.affine)
    if np.isnan(orientation).any():
        raise BadInput("The affine maps a whole axis of the scan to a point; correct the header's sform or qform.")
    data = np.ascontiguousarray(orientations.apply_orientation(volume.data, orientation), dtype=np.float32)
    affine = volume.affine @ orientations.inv_ornt_aff(orientation, volume.shape)
    axes = tuple(
        _axis_map(size, float(edge))
        for size, edge in zip(data.shape, np.linalg.norm(affine[:3, :3], axis=0), strict=True)
    )
    for axis, axis_map in enumerate(axes):
        data = _along(data, axis_map.there, axis)
    index = np.diag([*(a.step for a in axes), 1.0])
    index[:3, 3] = [a.start for a in axes]
    return WorkingImage(data, affine @ index, axes, orientation)


def onto(volume: Volume, affine: Affine, shape: tuple[int, ...], placement: Affine | None = None) -> VolumeArray:
    """Sample ``volume`` on another grid (``affine``, ``shape``); 0 where it does not reach.

    ``placement`` (4, 4) moves the volume's world to the grid's (mm, RAS+). Finer voxels are smoothed first. On the same
    grid it returns a copy.
    """
    world = volume.affine if placement is None else placement @ volume.affine
    index = np.linalg.inv(world) @ affine  # voxel of the grid -> voxel of the volume
    if volume.shape == tuple(shape) and np.abs(index - np.eye(4)).max() < 1e-4:
        return volume.data.copy()
    target = float(np.linalg.norm(affine[:3, :3], axis=0).mean())
    missing = [np.sqrt(max(target**2 - edge**2, 0.0)) / edge for edge in volume.voxel_size]
    smooth = ndimage.gaussian_filter(volume.data, np.array(missing) / FWHM_PER_SIGMA, mode="nearest", truncate=3.0)
    # Linear suffices for voxels well below the target's.
    order: Literal[1, 3] = 1 if max(volume.voxel_size) < 0.75 * target else 3
    sampled = ndimage.affine_transform(smooth, index[:3, :3], index[:3, 3], tuple(shape), order=order)
    return np.asarray(sampled, dtype=np.float32)


def smoothed(data: VolumeArray, fwhm_mm: float) -> VolumeArray:
    """An image on the working grid after a Gaussian of ``fwhm_mm``."""
    sigma = fwhm_mm / FWHM_PER_SIGMA / WORKING_MM
    return ndimage.gaussian_filter(np.asarray(data, dtype=np.float32), sigma, mode="nearest", truncate=3.0)


def _axis_map(size: int, edge: float) -> AxisMap:
    """The map of an axis of ``size`` voxels of ``edge`` mm; both grids share their middle."""
    if abs(edge / WORKING_MM - 1.0) <= _TOLERANCE or size < 4:
        return AxisMap()
    finer = edge < WORKING_MM
    steps = (size - 1) * edge / WORKING_MM
    # Every coarse voxel needs finer ones around it, or the inverse is undetermined.
    count = int(np.floor(steps + 1e-6) if finer else np.ceil(steps - 1e-6)) + 1
    if count < 4:
        return AxisMap()
    scan = (np.arange(size) - (size - 1) / 2) * edge
    work = (np.arange(count) - (count - 1) / 2) * WORKING_MM
    up = _interpolation(work, scan) if finer else _interpolation(scan, work)
    down = np.linalg.pinv(up)
    there, back = (down, up) if finer else (up, down)
    start = (work[0] - scan[0]) / edge
    return AxisMap(there.astype(np.float32), back.astype(np.float32), float(start), WORKING_MM / edge)


def _interpolation(coarse: npt.NDArray[Any], fine: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """The matrix (fine, coarse) of cubic-spline interpolation; beyond its ends the coarse grid's last value holds."""
    spline = make_interp_spline(coarse, np.eye(len(coarse)), k=3)
    return np.asarray(spline(np.clip(fine, coarse[0], coarse[-1])))


def _along(data: VolumeArray, matrix: AxisMatrix | None, axis: int) -> VolumeArray:
    """``matrix`` applied along ``axis``."""
    if matrix is None:
        return data
    return np.ascontiguousarray(np.moveaxis(np.tensordot(matrix, data, axes=(1, axis)), 0, axis))
