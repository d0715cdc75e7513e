"""A simulated person: a real or template anatomy with its own shape, position, head and MRI contrast."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from scipy import ndimage

from m2diff.errors import BadInput
from m2diff.shapes import Affine, LabelArray, VolumeArray
from m2diff.simulation.deform import Warp, random_warp, stretch
from m2diff.simulation.head import AIR, BRAIN, HeadMap, find_heads, grow_head, map_head
from m2diff.simulation.mri import render_t1
from m2diff.simulation.sources import AnatomySource
from m2diff.simulation.tissue_maps import Tissues

HeadKind = Literal["none", "grown", "map"]

WARP_MM = 7.0
"""The largest displacement, before each person's own factor, of a template; real people are warped half as much."""
_MARGIN_MM = {"none": ((8, 8, 8), (8, 8, 8)), "head": ((24, 26, 42), (24, 30, 24))}
"""Margin of the box around the brain on the low and the high side of x, y, z: room for the head."""
COARSE_STEP = 4  # the warp is evaluated every so many voxels and interpolated: it has no finer detail


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One simulated person before any tracer: images (i, j, k) on one isotropic grid, axes right, front, up.

    ``labels``: codes of ``regions.REGIONS``. ``gm``, ``wm``, ``csf``: fractions, 0 to 1. ``tissue_class``: 0 air, 1
    soft tissue, 2 skull, 3 brain and CSF, 4 eyes. ``person``: the source it was warped from.
    """

    person: str
    t1: VolumeArray
    labels: LabelArray
    gm: VolumeArray
    wm: VolumeArray
    csf: VolumeArray
    tissue_class: HeadMap
    affine: Affine
    has_head: bool


def make_person(
    source: AnatomySource,
    rng: np.random.Generator,
    *,
    head: HeadKind = "grown",
    heads: Path | None = None,
    resolution_mm: float = 1.0,
    pose: bool = True,
) -> Anatomy:
    """Make a person from ``source``: shape, pose, head and MRI drawn from ``rng``.

    Real people are warped half as much as the template (8 mm, 7 % at most). ``heads``: label maps for ``head="map"``.
    """
    head_file = _draw_head(head, heads, rng)
    tissues = source.load()
    strength = 1.0 if source.kind == "mni" else 0.5
    change = random_warp(rng, amplitude_mm=WARP_MM * strength, pose=pose)
    box = ndimage.find_objects((tissues.labels > 0).astype(np.uint8))[0]
    centre = (tissues.affine @ [*((side.start + side.stop - 1) / 2 for side in box), 1.0])[:3]  # of the brain, mm
    affine, shape = _box(tissues, change, centre, resolution_mm, _MARGIN_MM["none" if head == "none" else "head"])
    moved = _pull(tissues, change, centre, affine, shape)
    brain = moved.gm + moved.wm + moved.csf > 0.5
    if head == "grown":
        tissue_class = grow_head(brain, rng, resolution_mm)
    elif head_file is not None:
        tissue_class = map_head(brain, affine, head_file)
    else:
        tissue_class = np.where(brain, BRAIN, AIR).astype(np.uint8)
    t1 = render_t1(moved, tissue_class, rng, spacing_mm=resolution_mm, has_head=head != "none")
    fractions = moved.gm, moved.wm, moved.csf
    return Anatomy(source.person, t1, moved.labels, *fractions, tissue_class, affine, head != "none")


def _draw_head(head: HeadKind, heads: Path | None, rng: np.random.Generator) -> Path | None:
    """The label map that a mapped head comes from; None for the other kinds."""
    if head not in ("none", "grown", "map"):
        raise BadInput(f"head expects none, grown or map, got {head!r}.")
    if head != "map":
        return None
    if heads is None:
        raise BadInput("head 'map' needs a folder of head label maps: give one, or choose head 'grown'.")
    files = find_heads(heads)
    return files[int(rng.integers(len(files)))]


def _box(
    tissues: Tissues, change: Warp, centre: np.ndarray, step: float, margin: tuple[tuple[int, ...], tuple[int, ...]]
) -> tuple[Affine, tuple[int, ...]]:
    """Affine and shape of the smallest isotropic grid that holds the warped brain and its margin."""
    look = 4.0  # mm: fine enough for a box
    axis = np.arange(-128.0, 129.0, look)
    points = np.array(np.meshgrid(axis, axis, axis, indexing="ij"))
    index = _source_index(change, tissues, centre, points)
    found = ndimage.map_coordinates(tissues.labels, index, order=0, prefilter=False) > 0
    box = ndimage.find_objects(found.astype(np.uint8))[0]
    low = np.array([axis[side.start] - look for side in box]) - margin[0]
    high = np.array([axis[side.stop - 1] + look for side in box]) + margin[1]
    affine = np.diag([step, step, step, 1.0])
    affine[:3, 3] = low
    return affine, tuple(int(n) + 1 for n in np.ceil((high - low) / step))


def _source_index(change: Warp, tissues: Tissues, centre: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A person's millimetres (3, ...) -> voxel indices in the source (3, ...)."""
    to_index = np.linalg.inv(tissues.affine)
    offset = to_index[:3, :3] @ centre + to_index[:3, 3]
    return np.tensordot(to_index[:3, :3], change(points), 1) + offset.reshape(3, *[1] * (points.ndim - 1))


def _pull(tissues: Tissues, change: Warp, centre: np.ndarray, affine: Affine, shape: tuple[int, ...]) -> Tissues:
    """Every image of the source on the person's grid, in one resampling (labels by nearest neighbour)."""
    axes = [
        o + affine[0, 0] * COARSE_STEP * np.arange(-(-n // COARSE_STEP) + 1)
        for o, n in zip(affine[:3, 3], shape, strict=True)
    ]
    coarse = _source_index(change, tissues, centre, np.array(np.meshgrid(*axes, indexing="ij")))
    inside = _occupied(coarse, tissues.labels.shape, shape)
    index = np.array([stretch(part.astype(np.float32), shape, COARSE_STEP, inside) for part in coarse])

    def pulled(image: np.ndarray, order: Literal[0, 1] = 1) -> np.ndarray:
        out = np.zeros(shape, dtype=image.dtype)
        out[inside] = ndimage.map_coordinates(image, index, order=order, prefilter=False)
        return out

    gm, wm, csf = map(pulled, (tissues.gm, tissues.wm, tissues.csf))
    return Tissues(pulled(tissues.t1), pulled(tissues.labels, order=0), gm, wm, csf, affine)


def _occupied(coarse: np.ndarray, source: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part of the grid whose points fall inside the source's box; the rest holds no brain."""
    limit = np.array(source).reshape(3, 1, 1, 1)
    within = ((coarse > -1) & (coarse < limit)).all(0)
    box = ndimage.find_objects(within.astype(np.uint8))[0]
    return tuple(
        slice(max(0, (side.start - 1) * COARSE_STEP), min(n, side.stop * COARSE_STEP + 1))
        for side, n in zip(box, shape, strict=True)
    )
