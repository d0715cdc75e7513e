"""A real person's anatomy in another pose and a little out of shape, and where its T1 lies.

Coordinates: ``world`` is the PET scanner's, in mm (RAS+); ``native`` are the voxels of the anatomy's files. ``Warp``
leads from the first to the second, so that every image is read from the files once, at the points of its own grid.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from m2diff.errors import BadInput

FLUID = 46  # the atlas' number of fluid around the brain
WHITE = (44, 45)  # cerebral white matter, right and left
CSF_TISSUE, GREY_TISSUE, WHITE_TISSUE = 1, 2, 3
CONTROL_MM = 5.0  # spacing of the grid on which the warp is drawn


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One person as filed, axes towards right, front and head: T1, atlas labels without gaps, tissues, 1 mm voxels."""

    t1: np.ndarray
    labels: np.ndarray
    tissues: np.ndarray
    names: dict[int, str]


@dataclass(frozen=True, eq=False)
class Warp:
    """From world to native: turned and scaled about the brain's centre, then moved by a smooth field."""

    matrix: np.ndarray  # (3, 3)
    centre: np.ndarray  # (3,) native voxels; world 0
    field: np.ndarray  # (3, a, b, c) mm at world points CONTROL_MM apart, 0 in the middle

    def native(self, world: np.ndarray) -> np.ndarray:
        """Native voxels (3, ...) of world points (3, ...)."""
        middle = (np.array(self.field.shape[1:]) - 1) / 2
        shape = (3,) + (1,) * (world.ndim - 1)
        at = world / np.float32(CONTROL_MM) + middle.reshape(shape).astype(np.float32)
        moved = np.stack([ndimage.map_coordinates(part, at, order=1, mode="nearest") for part in self.field])
        moved += world
        return np.tensordot(self.matrix, moved, 1).astype(np.float32) + self.centre.reshape(shape).astype(np.float32)


def names(folder: Path) -> dict[int, str]:
    """The atlas' region names by label number, from the table beside the anatomies."""
    tables = sorted(folder.glob("*Label-Information.csv"))
    if not tables:
        raise BadInput(
            f"{folder} holds no table *Label-Information.csv of the regions' names; put it beside the images."
        )
    with tables[0].open(newline="", encoding="utf-8-sig") as lines:
        return {int(row["Label Number"]): " ".join(row["Label Name"].split()) for row in csv.DictReader(lines)}


def read(folder: Path, person: str) -> Anatomy:
    """The anatomy of ``person``: T1 {person}_SS, labels {person}_glm, tissues {person}_tissues (.nii.gz)."""
    t1, labels, tissues = (_canonical(folder / f"{person}_{what}.nii.gz") for what in ("SS", "glm", "tissues"))
    brain = _largest(tissues > 0)  # one person's files hold a capsule outside the head
    tissues = np.where(brain, tissues, 0).astype(np.uint8)
    labels = np.where(brain, labels, 0).astype(np.int16)
    return Anatomy(np.where(brain, t1, 0).astype(np.float32), _filled(labels, tissues), tissues, names(folder))


def draw_warp(anatomy: Anatomy, rng: np.random.Generator, reach_mm: float) -> Warp:
    """A pose (up to about 5 degrees), a size (3 % SD an axis) and a smooth field (about 1.5 mm SD a direction)."""
    turn = Rotation.from_euler("xyz", rng.uniform(-5, 5, 3), degrees=True).as_matrix()
    size = np.diag(1 + 0.03 * rng.standard_normal(3).clip(-2, 2))
    knots = int(np.ceil(2 * reach_mm / CONTROL_MM)) + 3
    field = ndimage.gaussian_filter(rng.standard_normal((3, knots, knots, knots)), (0, 4, 4, 4), mode="wrap")
    field *= 1.5 / field.std()
    places = np.argwhere(anatomy.tissues > 0)
    centre = (places.min(0) + places.max(0)) / 2 + rng.uniform(-5, 5, 3)
    return Warp(turn @ size, centre, field.astype(np.float32))


def grid_points(affine: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """World points (3, i, j, k) of a grid's voxels, in float32."""
    index = np.indices(shape, dtype=np.float32)
    return np.tensordot(affine[:3, :3].astype(np.float32), index, 1) + affine[:3, 3].reshape(3, 1, 1, 1).astype(
        np.float32
    )


def read_at(image: np.ndarray, native: np.ndarray, order: int = 1) -> np.ndarray:
    """``image`` at native points: nearest (0) or linear (1), 0 outside."""
    return ndimage.map_coordinates(image, native, order=order, prefilter=False)


def make_t1(anatomy: Anatomy, warp: Warp, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The T1 on its own 1 mm grid: image, the header's affine, and the rigid error of that header.

    The error leads from a place in the PET's world to where the T1's header says that it is. The image has a mild bias
    field and noise.
    """
    shape = tuple(int(n) + 24 for n in anatomy.t1.shape)
    affine = np.eye(4)
    affine[:3, 3] = -(np.array(shape) - 1) / 2
    error = np.eye(4)
    axis, way = (v / np.linalg.norm(v) for v in rng.standard_normal((2, 3)))
    error[:3, :3] = Rotation.from_rotvec(np.deg2rad(rng.uniform(0.5, 3)) * axis).as_matrix()
    error[:3, 3] = rng.uniform(0.5, 3) * way
    image = read_at(anatomy.t1, warp.native(grid_points(np.linalg.inv(error) @ affine, shape)))
    inside = image > 0
    bias = ndimage.gaussian_filter(rng.standard_normal([n // 8 + 1 for n in shape]), 5)
    bias *= 0.08 / bias.std()
    image *= np.exp(ndimage.zoom(bias, 8, order=1)[tuple(slice(n) for n in shape)])
    image += inside * rng.normal(0, 0.02 * float(image[inside].mean()), shape)
    return image.clip(0).astype(np.float32), affine, error


@lru_cache(maxsize=4)
def _canonical(path: Path) -> np.ndarray:
    if not path.is_file():
        raise BadInput(f"{path} does not exist; give the folder of the anatomies and the names of persons in it.")
    image = nib.as_closest_canonical(nib.load(path))
    if not np.allclose(image.header.get_zooms()[:3], 1, atol=0.01):
        raise BadInput(f"{path} must have voxels of 1 mm, got {image.header.get_zooms()[:3]}; resample it.")
    return np.asarray(image.dataobj)


def _largest(mask: np.ndarray) -> np.ndarray:
    pieces, _ = ndimage.label(mask)
    return pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])


def _filled(labels: np.ndarray, tissues: np.ndarray) -> np.ndarray:
    """Labels with the gaps filled: grey and white matter take the nearest label that is no fluid, fluid is fluid."""
    nearest = ndimage.distance_transform_edt(np.isin(labels, (0, FLUID)), return_distances=False, return_indices=True)
    gap = (labels == 0) & (tissues > 0)
    return np.where(gap, np.where(tissues == CSF_TISSUE, FLUID, labels[tuple(nearest)]), labels).astype(np.int16)
