"""Random shapes: a smooth diffeomorphism, an affine and a pose, as one map from a person to a source; all in mm.

phi = exp(v) of a stationary velocity field v (Gaussian-filtered noise on a coarse grid) by scaling and squaring: u <- u
o (id + u) + u from u = v / 2^n (Arsigny et al., MICCAI 2006). Its Jacobian is kept positive: no tissue folds.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from m2diff.shapes import Affine, VolumeArray

Field = npt.NDArray[np.float32]  # (3, i, j, k), displacement in mm on a coarse grid

SPACING_MM = 6.0
REACH_MM = 132.0  # the coarse grid spans a head, +- this much around its centre
SQUARINGS = 6
LEAST_JACOBIAN = 0.2


@dataclass(frozen=True, eq=False)
class Warp:
    """A map from a simulated person to a source, both in mm around the brain's centre.

    ``matrix`` undoes pose and scale; then ``displacement`` (3, i, j, k), on a grid of ``SPACING_MM``, is added.
    """

    matrix: Affine
    displacement: Field

    def __call__(self, points: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
        """(3, ...) mm in the person -> (3, ...) mm in the source."""
        moved = np.tensordot(self.matrix[:3, :3], points, 1) + self.matrix[:3, 3].reshape(3, *[1] * (points.ndim - 1))
        return moved + field_at(self.displacement, moved)


def random_warp(rng: np.random.Generator, *, amplitude_mm: float = 7.0, pose: bool = True) -> Warp:
    """A person's own shape and position.

    ``amplitude_mm``: the largest smooth displacement, times 0.6 to 1.15 at random. It scales the affine, not the pose.
    """
    displacement = random_diffeomorphism(rng, amplitude_mm * float(rng.uniform(0.6, 1.15)))
    shape = random_affine(rng, strength=min(1.0, amplitude_mm / 7.0))
    placed = random_pose(rng) if pose else np.eye(4)
    return Warp(np.asarray(np.linalg.inv(placed @ shape), dtype=np.float64), displacement)


def random_diffeomorphism(rng: np.random.Generator, amplitude_mm: float) -> Field:
    """A smooth, invertible displacement whose longest vector is about ``amplitude_mm``."""
    velocity = random_velocity(rng, amplitude_mm)
    displacement = exponential(velocity)
    while jacobian(displacement).min() < LEAST_JACOBIAN:  # rare: shorten the flow
        velocity = velocity * np.float32(0.8)
        displacement = exponential(velocity)
    return displacement


def random_velocity(rng: np.random.Generator, amplitude_mm: float) -> Field:
    """Smooth noise of two scales, broad (the shape of the head) and fine (the folds), (3, i, j, k)."""
    side = 2 * round(REACH_MM / SPACING_MM) + 1
    velocity = np.zeros((3, side, side, side), dtype=np.float32)
    for fwhm_mm, share in ((70.0, 0.7), (28.0, 0.3)):
        noise = rng.standard_normal(velocity.shape, dtype=np.float32)
        sigma = fwhm_mm / 2.355 / SPACING_MM
        smooth = ndimage.gaussian_filter(noise, (0, sigma, sigma, sigma), mode="reflect", truncate=3.0)
        velocity += np.float32(share) * smooth / np.linalg.norm(smooth, axis=0).max()
    return velocity * np.float32(amplitude_mm) / np.linalg.norm(velocity, axis=0).max()


def exponential(velocity: Field) -> Field:
    """The displacement of the flow of a stationary velocity field after unit time, by scaling and squaring."""
    grid = _coarse_points(velocity.shape[1:])
    displacement = velocity / np.float32(2**SQUARINGS)
    for _ in range(SQUARINGS):
        displacement = displacement + field_at(displacement, grid + displacement)
    return displacement.astype(np.float32)


def jacobian(displacement: Field) -> npt.NDArray[np.float32]:
    """det(I + grad u) at every point of the coarse grid: local volume change; <= 0 where tissue would fold."""
    rows = [np.gradient(component, SPACING_MM) for component in displacement]
    matrix = np.moveaxis(np.array(rows), (0, 1), (-2, -1)) + np.eye(3, dtype=np.float32)
    return np.linalg.det(matrix).astype(np.float32)


def field_at(displacement: Field, points: npt.NDArray[np.floating]) -> Field:
    """The displacement (3, ...) at ``points`` (3, ...) in mm around the centre; beyond the grid, its edge's."""
    centre = (np.array(displacement.shape[1:]).reshape(3, *[1] * (points.ndim - 1)) - 1) / 2
    index = points / SPACING_MM + centre
    parts = [ndimage.map_coordinates(u, index, order=1, mode="nearest", prefilter=False) for u in displacement]
    return np.array(parts, dtype=np.float32)


def random_affine(rng: np.random.Generator, strength: float = 1.0) -> Affine:
    """Scale of each axis by up to 7 % and a small shear, at ``strength`` 1."""
    matrix = np.eye(4)
    matrix[:3, :3] = np.diag(1 + strength * rng.uniform(-0.07, 0.07, 3))
    matrix[np.triu_indices(3, 1)] = strength * rng.uniform(-0.03, 0.03, 3)
    return matrix


def random_pose(rng: np.random.Generator) -> Affine:
    """How a head lies in a scanner: up to 12 degrees of pitch, 6 of roll and yaw, and a few millimetres of shift."""
    pitch, roll, yaw = np.deg2rad(rng.uniform([-12, -6, -6], [12, 6, 6]))
    matrix = np.eye(4)
    matrix[:3, :3] = _turn(2, yaw) @ _turn(1, roll) @ _turn(0, pitch)
    matrix[:3, 3] = rng.uniform(-6, 6, 3)
    return matrix


def _turn(axis: int, angle: float) -> npt.NDArray[np.float64]:
    """The rotation by ``angle`` about one axis, (3, 3)."""
    a, b = (axis + 1) % 3, (axis + 2) % 3
    matrix = np.eye(3)
    matrix[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
    return matrix


def smooth_field(rng: np.random.Generator, shape: tuple[int, ...], fwhm_points: float) -> VolumeArray:
    """Gaussian-filtered noise with standard deviation 1 on a (coarse) grid, for bias fields and thicknesses."""
    noise = rng.standard_normal(shape, dtype=np.float32)
    smooth = ndimage.gaussian_filter(noise, fwhm_points / 2.355, mode="reflect", truncate=3.0)
    return (smooth - smooth.mean()) / max(float(smooth.std()), 1e-6)


def stretch(
    coarse: VolumeArray, shape: tuple[int, ...], step: float = 0.0, part: tuple[slice, ...] | None = None
) -> VolumeArray:
    """A coarse volume on a finer grid of ``shape`` (or on its box ``part``), linear along each axis.

    ``step``: fine voxels from one coarse point to the next, from voxel 0; 0 spans the fine grid from end to end.
    """
    for axis, (n, m) in enumerate(zip(coarse.shape, shape, strict=True)):
        place = np.arange(m) / step if step else np.linspace(0, n - 1, m)
        wanted = place[part[axis]] if part else place
        coarse = _interpolate(coarse, np.minimum(wanted, n - 1), axis)
    return coarse


def _interpolate(data: VolumeArray, place: npt.NDArray[np.float64], axis: int) -> VolumeArray:
    """Linear interpolation along one axis at fractional indices ``place``."""
    low = np.minimum(place.astype(int), max(data.shape[axis] - 2, 0))
    high = np.minimum(low + 1, data.shape[axis] - 1)
    weight = (place - low).astype(np.float32).reshape([-1 if a == axis else 1 for a in range(data.ndim)])
    below = np.take(data, low, axis)
    return below + weight * (np.take(data, high, axis) - below)


def _coarse_points(shape: tuple[int, ...]) -> Field:
    """The millimetres of a coarse grid's points around its centre, (3, i, j, k)."""
    axes = [(np.arange(n) - (n - 1) / 2) * SPACING_MM for n in shape]
    return np.array(np.meshgrid(*axes, indexing="ij"), dtype=np.float32)
