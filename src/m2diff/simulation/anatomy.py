"""Step 0.1, a person: a real or template anatomy with a shape, a position, a head and an MRI contrast of its own."""

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
from m2diff.simulation.sources import AnatomySource, find_sources, mni_source
from m2diff.simulation.tissue_maps import Tissues

__all__ = ["Anatomy", "AnatomySource", "HeadKind", "find_sources", "make_person", "mni_source"]

HeadKind = Literal["none", "grown", "map"]

WARP_MM = 7.0
"""The largest displacement, before each person's own factor, of a template; real people are warped half as much."""
_MARGIN_MM = {"none": ((8, 8, 8), (8, 8, 8)), "head": ((24, 26, 42), (24, 30, 24))}
"""What the box leaves around the brain on the low and the high side of x, y, z: room for the head."""
COARSE_STEP = 4  # the warp is evaluated every so many voxels and interpolated: it has no finer detail


@dataclass(frozen=True, eq=False)
class Anatomy:
    """One simulated person before any tracer: images (i, j, k) on one isotropic grid whose axes point right, front, up.

    ``labels`` are codes of ``regions.REGIONS``; ``gm``, ``wm``, ``csf`` fractions of a voxel (0 to 1); ``tissue_class``
    0 air, 1 soft tissue, 2 skull, 3 brain and CSF, 4 eyes. ``person`` names the source it was warped from.
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


@dataclass(frozen=True)
class PersonGrid:
    """An isotropic box in millimetres around the centre of a brain: its first voxel, its shape, its voxel edge."""

    origin: tuple[float, float, float]
    shape: tuple[int, int, int]
    step: float

    @property
    def affine(self) -> Affine:
        """Voxel index -> mm."""
        matrix = np.diag([self.step] * 3 + [1.0])
        matrix[:3, 3] = self.origin
        return matrix


def make_person(
    source: AnatomySource,
    rng: np.random.Generator,
    *,
    head: HeadKind = "grown",
    heads: Path | None = None,
    resolution_mm: float = 1.0,
    pose: bool = True,
    warp: float | None = None,
) -> Anatomy:
    """A new person from ``source``: shape, pose, head and MRI drawn from ``rng``; the same state, the same person.

    ``warp`` scales the deformation (1: up to 8 mm and 7 %); by default 1 for the template, 0.5 for real people, whose
    shapes differ already. ``heads`` is the folder of head label maps that ``head="map"`` draws from.
    """
    head_file = _draw_head(head, heads, rng)
    tissues = source.load()
    strength = warp if warp is not None else 1.0 if source.kind == "mni" else 0.5
    change = random_warp(rng, amplitude_mm=WARP_MM * strength, pose=pose)
    centre = _brain_centre(tissues)
    grid = _box(tissues, change, centre, resolution_mm, _MARGIN_MM["none" if head == "none" else "head"])
    moved = _pull(tissues, change, centre, grid)
    brain = moved.gm + moved.wm + moved.csf > 0.5
    if head == "grown":
        tissue_class = grow_head(brain, rng, resolution_mm)
    elif head_file is not None:
        tissue_class = map_head(brain, grid.affine, head_file)
    else:
        tissue_class = np.where(brain, BRAIN, AIR).astype(np.uint8)
    t1 = render_t1(moved, tissue_class, rng, spacing_mm=resolution_mm, has_head=head != "none")
    return Anatomy(
        source.person, t1, moved.labels, moved.gm, moved.wm, moved.csf, tissue_class, grid.affine, head != "none"
    )


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


def _brain_centre(tissues: Tissues) -> np.ndarray:
    """The middle of the brain's box, in the source's own millimetres."""
    box = ndimage.find_objects((tissues.labels > 0).astype(np.uint8))[0]
    return (tissues.affine @ [*((side.start + side.stop - 1) / 2 for side in box), 1.0])[:3]


def _box(
    tissues: Tissues, change: Warp, centre: np.ndarray, step: float, margin: tuple[tuple[int, ...], tuple[int, ...]]
) -> PersonGrid:
    """The smallest grid that holds the warped brain and its margin."""
    look = 4.0  # mm: fine enough for a box
    axis = np.arange(-128.0, 129.0, look)
    points = np.array(np.meshgrid(axis, axis, axis, indexing="ij"))
    found = _source_values(tissues.labels, change, tissues, centre, points) > 0
    box = ndimage.find_objects(found.astype(np.uint8))[0]
    low = np.array([axis[side.start] - look for side in box]) - margin[0]
    high = np.array([axis[side.stop - 1] + look for side in box]) + margin[1]
    shape = np.ceil((high - low) / step).astype(int) + 1
    corner, size = (float(low[0]), float(low[1]), float(low[2])), (int(shape[0]), int(shape[1]), int(shape[2]))
    return PersonGrid(corner, size, step)


def _source_values(
    image: np.ndarray, change: Warp, tissues: Tissues, centre: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """Nearest values of a source's image at a person's points (3, ...)."""
    return ndimage.map_coordinates(image, _source_index(change, tissues, centre, points), order=0, prefilter=False)


def _source_index(change: Warp, tissues: Tissues, centre: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A person's millimetres (3, ...) -> voxel indices in the source (3, ...)."""
    to_index = np.linalg.inv(tissues.affine)
    offset = to_index[:3, :3] @ centre + to_index[:3, 3]
    return np.tensordot(to_index[:3, :3], change(points), 1) + offset.reshape(3, *[1] * (points.ndim - 1))


def _pull(tissues: Tissues, change: Warp, centre: np.ndarray, grid: PersonGrid) -> Tissues:
    """Every image of the source on the person's grid, in one resampling (labels by nearest neighbour)."""
    axes = [
        o + grid.step * COARSE_STEP * np.arange(-(-n // COARSE_STEP) + 1)
        for o, n in zip(grid.origin, grid.shape, strict=True)
    ]
    coarse = _source_index(change, tissues, centre, np.array(np.meshgrid(*axes, indexing="ij")))
    inside = _occupied(coarse, tissues.labels.shape, grid.shape)
    index = np.array([stretch(part.astype(np.float32), grid.shape, COARSE_STEP, inside) for part in coarse])

    def pulled(image: np.ndarray, order: Literal[0, 1] = 1) -> np.ndarray:
        out = np.zeros(grid.shape, dtype=image.dtype)
        out[inside] = ndimage.map_coordinates(image, index, order=order, prefilter=False)
        return out

    return Tissues(
        t1=pulled(tissues.t1),
        labels=pulled(tissues.labels, order=0),
        gm=pulled(tissues.gm),
        wm=pulled(tissues.wm),
        csf=pulled(tissues.csf),
        affine=grid.affine,
    )


def _occupied(coarse: np.ndarray, source: tuple[int, ...], shape: tuple[int, ...]) -> tuple[slice, ...]:
    """The part of the grid whose points fall inside the source's box: the rest holds no brain."""
    limit = np.array(source).reshape(3, 1, 1, 1)
    within = ((coarse > -1) & (coarse < limit)).all(0)
    box = ndimage.find_objects(within.astype(np.uint8))[0]
    return tuple(
        slice(max(0, (side.start - 1) * COARSE_STEP), min(n, side.stop * COARSE_STEP + 1))
        for side, n in zip(box, shape, strict=True)
    )
