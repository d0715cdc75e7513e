"""An MRI's regions: the network's answer in the template's box, carried to any grid."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from m2diff.errors import BadInput
from m2diff.nn.precision import best_precision
from m2diff.parcellation import atlas, space
from m2diff.preparation import brain
from m2diff.shapes import Affine, LabelArray, MaskArray, VolumeArray
from m2diff.volume import Volume

if TYPE_CHECKING:
    from m2diff.parcellation.network import RegionNet

PONS_HEIGHT = (0.35, 0.75)
"""The pons's part of the brain stem's height, from below."""
LEAST_IN_PET = 0.1
"""Least share of the template's variance that a PET explains: FDG and amyloid reach 0.18, an ellipsoid 0.08."""
CHUNK = 8192  # cells whose logits are held at once


@dataclass(frozen=True, eq=False)
class Parcels:
    """Regions found for one person, in the template's box (i, j, k): ``fine`` holds ``fine_number``s.

    ``placement`` moves the box's world to the world of the image that they were found in (mm, RAS+). ``source``: T1w,
    or template where an average was laid over the PET.
    """

    fine: LabelArray
    placement: Affine
    source: str

    def moved(self, further: Affine) -> Parcels:
        """The same in another world: ``further`` moves the image's world to it."""
        return Parcels(self.fine, further @ self.placement, self.source)

    def fine_on(self, affine: Affine, shape: tuple[int, ...]) -> LabelArray:
        """Fine numbers on a grid of the image's world."""
        return voted(self.fine, np.linalg.inv(self.placement @ space.AFFINE) @ affine, shape)

    def regions_on(self, affine: Affine, shape: tuple[int, ...]) -> LabelArray:
        """Numbers of ``atlas.regions()`` on a grid of the image's world; 0 outside and in fluid."""
        return voted(grouped(self.fine), np.linalg.inv(self.placement @ space.AFFINE) @ affine, shape)


def fine_number(number: LabelArray, side: npt.NDArray[np.integer]) -> LabelArray:
    """What ``Parcels.fine`` holds: classes on the right (side 1) or on the left or without a side (-1, 0)."""
    return np.asarray(2 * number.astype(np.int16) + (side > 0), dtype=np.int16)


def find(mri: Volume) -> Parcels:
    """The regions of a T1-weighted MRI, with skull or without; BadInput where the template finds no brain in it."""
    placement = brain.placement(mri)
    image = space.seen(mri, placement)
    classes, sides = _answer(image / level(image))
    sided = np.array([each.sided for each in atlas.classes()])[classes]
    return Parcels(fine_number(classes, np.where(sided, sides, 0)), placement, "T1w")


def from_template(pet: Volume) -> Parcels:
    """Average regions laid over an (enhanced) PET by affine registration: coarse. BadInput where it does not fit."""
    return Parcels(_average(), brain.placement(pet, least=LEAST_IN_PET), "template")


@lru_cache(maxsize=1)
def _average() -> LabelArray:
    """The most frequent fine number at each voxel of the box over the network's training people."""
    packed = np.load(str(files("m2diff.parcellation").joinpath("average.npz")))
    return np.asarray(packed["fine"], dtype=np.int16)


@lru_cache(maxsize=1)
def _network() -> RegionNet:
    """The shipped network; torch is loaded here and not with this module."""
    from m2diff.families.stored import load_into
    from m2diff.parcellation.network import RegionNet

    model = RegionNet()
    path = Path(str(files("m2diff.parcellation").joinpath("regions.safetensors")))
    load_into(model, path, misfit="the region network of this version; install m2diff anew")
    return model.eval()


def _answer(image: VolumeArray) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.int8]]:
    """Class and side (1 right, -1 left) of each voxel of the box."""
    import torch

    model = _network()
    classes, sides = [], []
    with torch.inference_mode():
        seen = torch.from_numpy(np.clip(image, 0, 4).astype(np.float32))[None]
        with torch.autocast("cpu", torch.bfloat16, enabled=best_precision("cpu") == "bf16"):
            features = model.features(seen)
        cells = features.float().flatten(2)[0].T
        for part in cells.split(CHUNK):
            logits = model.logits(part)
            classes.append(logits[..., :-1].argmax(-1).to(torch.int16))
            sides.append(logits[..., -1] > 0)
    right = _voxels(torch.cat(sides).numpy())
    return _voxels(torch.cat(classes).numpy()).astype(np.int16), np.where(right, 1, -1).astype(np.int8)


def _voxels(cells: npt.NDArray[np.generic]) -> npt.NDArray[np.generic]:
    """(cells, 8) to the box (i, j, k)."""
    i, j, k = (size // 2 for size in space.SHAPE)
    return cells.reshape(i, j, k, 2, 2, 2).transpose(0, 3, 1, 4, 2, 5).reshape(space.SHAPE)


def grouped(fine: LabelArray) -> LabelArray:
    """Fine numbers in the box to numbers of ``atlas.regions()``; the pons is cut from the brain stem."""
    names = {name: number for number, name in atlas.regions().items()}
    table = np.zeros(2 * len(atlas.classes()), dtype=np.int16)
    for number, each in enumerate(atlas.classes()):
        if each.group is not None:
            for side, word in ((-1, "left"), (1, "right")):
                table[2 * number + (side > 0)] = names[f"{each.group}_{word}" if each.sided else each.group]
    out = table[fine]
    stem = np.nonzero(out == names["brainstem"])
    if len(stem[0]):
        low, high = np.percentile(stem[2], [1, 99])
        height = (stem[2] - low) / max(high - low, 1)
        inside = (height >= PONS_HEIGHT[0]) & (height <= PONS_HEIGHT[1])
        out[tuple(axis[inside] for axis in stem)] = names[atlas.PONS]
    return out


@lru_cache(maxsize=1)
def middle() -> MaskArray:
    """An ellipsoid well inside any brain in the template's box."""
    axes = np.meshgrid(*(np.arange(size) for size in space.SHAPE), indexing="ij")
    world = [space.AFFINE[n, n] * axis + space.AFFINE[n, 3] for n, axis in enumerate(axes)]
    squares = [((x - c) / r) ** 2 for x, c, r in zip(world, (0, -18, 10), (52, 66, 45), strict=True)]
    return np.asarray(sum(squares) < 1)


def level(image: VolumeArray) -> float:
    """The brain's level in an MRI in the box: the median of what is not empty in its ``middle``."""
    inside = image[middle()]
    inside = inside[inside > 0]
    if not inside.size:
        raise BadInput("The MRI is empty where the template expects its brain; check the file.")
    return float(np.median(inside))


def voted(labels: LabelArray, index: Affine, shape: tuple[int, ...]) -> LabelArray:
    """``labels`` on another grid: of the eight voxels around a point, the label of the largest trilinear weight.

    ``index`` maps voxels of the new grid to those of ``labels``. 0 beyond them.
    """
    corners = np.array(np.meshgrid(*([-0.5, n - 0.5] for n in labels.shape), indexing="ij")).reshape(3, -1)
    back = np.linalg.inv(index)
    reach = back[:3, :3] @ corners + back[:3, 3:]
    span = tuple(
        slice(max(int(a), 0), min(int(b) + 2, n)) for a, b, n in zip(reach.min(1), reach.max(1), shape, strict=True)
    )
    out = np.zeros(shape, dtype=labels.dtype)
    axes = np.meshgrid(*(np.arange(side.start, side.stop) for side in span), indexing="ij")
    if any(side.stop <= side.start for side in span):
        return out
    points = np.einsum("ab,b...->a...", index[:3, :3], np.array(axes)) + index[:3, 3].reshape(3, 1, 1, 1)
    low = np.floor(points).astype(np.int32)
    part = (points - low).astype(np.float32)
    padded = np.pad(labels, 1)
    found, weights = [], []
    for corner in np.ndindex(2, 2, 2):
        place = [np.clip(low[n] + corner[n] + 1, 0, labels.shape[n] + 1) for n in range(3)]
        found.append(padded[tuple(place)])
        weights.append(np.prod([part[n] if corner[n] else 1 - part[n] for n in range(3)], axis=0))
    best, top = found[0], np.full(found[0].shape, -1.0, dtype=np.float32)
    for label in found:
        total = sum(np.where(other == label, weight, 0) for other, weight in zip(found, weights, strict=True))
        better = total > top
        best, top = np.where(better, label, best), np.where(better, total, top)
    out[span] = best
    return out
