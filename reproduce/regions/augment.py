"""Training examples: a prepared person under a random warp, T1 contrast and head."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from torch.nn import functional as F

from m2diff.parcellation import atlas, space
from m2diff.parcellation.segment import level
from m2diff.simulation.head import EYES, SKULL, SOFT

SHAPE = space.SHAPE
SEED = 11
TURN, SCALE, SHIFT_MM, WARP_MM = 1.5, 0.02, 1.2, 3.5
"""How far people differ from their place in the box: about what an affine map to the template leaves."""


@dataclass(frozen=True)
class Example:
    """``image``, ``classes``, ``sides`` (i, j, k) in the box; ``cells``: those of 4 mm in and near the brain."""

    image: torch.Tensor
    classes: torch.Tensor
    sides: torch.Tensor
    cells: torch.Tensor


class Examples(torch.utils.data.IterableDataset):  # type: ignore[type-arg]
    """Examples ``first`` to ``last``; number n depends on n alone."""

    def __init__(self, files: list[Path], first: int, last: int) -> None:
        self.files, self.first, self.last = files, first, last

    def __iter__(self) -> Iterator[Example]:
        people = [dict(np.load(file)) for file in self.files]
        for number in range(self.first, self.last):
            rng = np.random.default_rng([SEED, number])
            yield made(people[int(rng.integers(len(people)))], rng)


def made(person: dict[str, np.ndarray], rng: np.random.Generator) -> Example:
    """One example of one person."""
    flip = bool(rng.random() < 0.5)
    points = warped(rng, flip)
    t1 = sampled(person["t1"], points, "bilinear")
    classes = sampled(person["classes"], points, "nearest").astype(np.int64)
    sides = sampled(person["sides"], points, "nearest") * (-1 if flip else 1)
    head = sampled(person["heads"][int(rng.integers(len(person["heads"])))], points, "nearest").astype(np.int64)
    image = contrast(t1, classes, rng)
    image = surrounded(image, classes > 0, head, rng)
    image = scanned(image, rng)
    image /= level(image)
    near = ndimage.binary_dilation(classes > 0, iterations=4).reshape(*(n for s in SHAPE for n in (s // 2, 2)))
    cells = torch.from_numpy(np.flatnonzero(near.any((1, 3, 5))))
    return Example(
        torch.from_numpy(np.clip(image, 0, 4).astype(np.float32)),
        torch.from_numpy(classes.astype(np.uint8)),
        torch.from_numpy(sides.astype(np.int8)),
        cells,
    )


def warped(rng: np.random.Generator, flip: bool) -> torch.Tensor:
    """Where each voxel of the box looks, in ``grid_sample``'s units (k, j, i order), under a random affine and warp."""
    axes = [torch.linspace(-1, 1, size) for size in SHAPE]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    half = torch.tensor(SHAPE, dtype=torch.float32) * space.EDGE_MM / 2
    mm = grid * half
    turn = np.deg2rad(rng.normal(0, TURN, 3))
    matrix = np.eye(3)
    for axis, angle in enumerate(turn):
        a, b = [n for n in range(3) if n != axis]
        one = np.eye(3)
        one[[a, a, b, b], [a, b, a, b]] = np.cos(angle), -np.sin(angle), np.sin(angle), np.cos(angle)
        matrix = matrix @ one
    matrix = matrix @ np.diag(rng.normal(1, SCALE, 3)) + rng.normal(0, SCALE / 2, (3, 3)) * (1 - np.eye(3))
    mm = mm @ torch.tensor(matrix.T, dtype=torch.float32) + torch.tensor(
        rng.normal(0, SHIFT_MM, 3), dtype=torch.float32
    )
    for cells, amplitude in ((6, rng.uniform(0, WARP_MM)), (12, rng.uniform(0, WARP_MM / 2))):
        noise = torch.tensor(rng.standard_normal((1, 3, cells, cells + 2, cells + 1)), dtype=torch.float32)
        smooth = F.interpolate(noise, SHAPE, mode="trilinear", align_corners=True)[0].permute(1, 2, 3, 0)
        mm = mm + smooth * float(amplitude) * 0.6
    if flip:
        mm[..., 0] *= -1
    return (mm / half).flip(-1)[None]


def sampled(image: np.ndarray, points: torch.Tensor, mode: str) -> np.ndarray:
    """An image over the whole box, of any resolution, at ``points``."""
    data = torch.from_numpy(image.astype(np.float32))[None, None]
    return F.grid_sample(data, points, mode=mode, align_corners=True)[0, 0].numpy()


def contrast(t1: np.ndarray, classes: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The brain with new levels of fluid, grey and white; in part painted from the labels."""
    white = np.isin(classes, [n for n, each in enumerate(atlas.classes()) if "white" in each.name])
    grey = (classes > atlas.VENTRICLES) & ~white
    measured = [
        float(np.median(t1[part])) if part.any() else 0.0 for part in (classes == atlas.VENTRICLES, grey, white)
    ]
    knots = np.maximum.accumulate(np.array([0, *measured, 2 * measured[-1]]) + np.arange(5) * 1e-3)
    fluid, mid = rng.uniform(0.08, 0.45), rng.uniform(0.55, 0.86)
    image = np.interp(t1, knots, [0, fluid, mid, 1, 1 + (1 - mid) * 2.5])
    if rng.random() < 0.4:
        own = np.array([fluid, fluid, fluid] + [0.0] * (len(atlas.classes()) - 3))
        own[0] = 0
        for number, each in enumerate(atlas.classes()[3:], start=3):
            deep = each.group in ("thalamus", "globus_pallidus", "brainstem", "ventral_diencephalon")
            base = 1.0 if "white" in each.name else rng.uniform(mid, 1.0) if deep else mid
            own[number] = base + rng.normal(0, 0.03)
        painted = own[classes] + rng.normal(0, 0.04, t1.shape)
        share = rng.uniform(0.2, 0.8)
        image = share * painted + (1 - share) * image
    return np.asarray(image * (classes > 0), dtype=np.float32)


def surrounded(image: np.ndarray, brain: np.ndarray, head: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The brain with a head (half of the time), well stripped, or stripped too widely."""
    kind = rng.choice(["none", "head", "rim"], p=[0.4, 0.45, 0.15])
    if kind == "none":
        return image
    bone, marrow, muscle, fat, eye = rng.uniform([0.02, 0.2, 0.3, 0.7, 0.1], [0.15, 0.7, 0.65, 1.6, 0.4])
    level = np.zeros(5, dtype=np.float32)
    level[[SKULL, SOFT, EYES]] = bone, muscle, eye
    around = level[head]
    depth = ndimage.distance_transform_edt(head == SOFT, sampling=2.0)
    air = ndimage.distance_transform_edt(head != 0, sampling=2.0)
    around[(head == SOFT) & (air > 1.5) & (air < rng.uniform(4, 9))] = fat
    inner = ndimage.distance_transform_edt(head == SKULL, sampling=2.0)
    around[inner > rng.uniform(2.0, 4.0)] = marrow
    around[depth > 14] *= rng.uniform(0.6, 1.4)
    around *= 1 + 0.25 * ndimage.gaussian_filter(rng.standard_normal(image.shape), 3).astype(np.float32) * 12
    around[head == 3] = rng.uniform(0.08, 0.4)  # fluid around the brain
    whole = np.where(brain, image, np.maximum(around, 0))
    if kind == "rim":
        whole *= ndimage.binary_dilation(brain, iterations=int(rng.integers(1, 4)))
    return whole


def scanned(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Resolution, bias field and Rician noise."""
    image = ndimage.gaussian_filter(image, rng.uniform(0, 0.55, 3) * (1 + (rng.random(3) < 0.1)), truncate=2.5)
    bias = ndimage.zoom(rng.standard_normal((3, 4, 3)), np.array(SHAPE) / np.array([3, 4, 3]), order=1)
    image = image * np.exp(rng.uniform(0, 0.2) * bias)
    noise = rng.uniform(0, 0.05)
    if noise < 0.005:
        return np.asarray(image)
    parts = [rng.standard_normal(image.shape) * noise for _ in range(2)]
    out = np.hypot(image + parts[0], parts[1])
    return np.asarray(np.where((image == 0) & (rng.random() < 0.5), 0, out))
