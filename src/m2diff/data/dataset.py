"""Training slabs: item ``n`` is a pure function of (seed, n), so training resumes exactly, whatever the workers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from m2diff.batch import Anchors, Batch, Conditions
from m2diff.data.augment import MARGIN, Augmentation, Draw, Slices, filtered, recontrasted, shifted
from m2diff.data.cohort import PreparedSubject
from m2diff.shapes import PerItem, Slab

ENDLESS = 2**62
Array = TypeVar("Array", npt.NDArray[np.float32], Tensor)
Target = Literal["standard", "noise_free", "expected"]
"""What a slab should become: the standard scan, or of a simulated cohort the noise-free image or ``expected``."""


@dataclass(frozen=True)
class Item:
    """One training slab, each image (s, h, w), its DRF, and ``anchors``: the same at other doses."""

    low: Tensor
    mri: Tensor | None
    target: Tensor
    drf: float
    classes: Tensor | None = None
    anchors: tuple[Tensor, ...] = ()
    anchor_doses: tuple[float, ...] = ()


@dataclass(frozen=True)
class Plan:
    """What was drawn for an item: the number of its session, a dose, the first voxel (d, h, w), the variation."""

    subject: int
    drf: float
    corner: tuple[int, int, int]
    draw: Draw


class PlanDataset(Dataset[Plan]):
    """A dataset's plans without its images, for a cohort whose images lie elsewhere."""

    def __init__(self, dataset: SlabDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, n: int) -> Plan:
        return self.dataset.plan(n)


class SlabDataset(Dataset[Item]):
    """Endless slabs of a cohort: a random subject, dose, place and augmentation for every index.

    ``slices`` by ``crop`` (height, width): size in voxels. Crops lie over the head; nine in ten are centred on a slice
    of the brain. ``batch``: in a mixed cohort, so many items in a row are all with an MRI, or all without.
    """

    def __init__(
        self,
        subjects: Sequence[PreparedSubject],
        *,
        slices: int,
        crop: tuple[int, int] = (96, 96),
        augmentation: Augmentation | None = None,
        target: Target = "standard",
        classes: bool = False,
        anchors: bool = False,
        mri: bool = True,
        seed: int = 0,
        batch: int = 1,
    ) -> None:
        self.subjects, self.batch = tuple(subjects), batch
        self.mri = mri
        guided = [n for n, subject in enumerate(self.subjects) if mri and subject.mri is not None]
        self.kinds = (guided, [n for n in range(len(self.subjects)) if n not in guided])
        self.size = (slices, *crop)
        self.augmentation = augmentation or Augmentation()
        self.target, self.classes, self.anchors = target, classes, anchors
        self.seed = seed

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, n: int) -> Item:
        """Item ``n``; it depends on nothing else."""
        plan = self.plan(n)
        subject, corner, draw = self.subjects[plan.subject], plan.corner, plan.draw
        low = self._pet(subject.low(plan.drf), corner, draw, draw.scale)
        clean = self._pet(self.clean(subject), corner, draw, draw.scale * subject.meta.ratio[plan.drf])
        target = self.towards(clean, low, plan.drf)
        seen, clean_seen = (_tensor(x[..., ::-1] if draw.flip else x) for x in (low, target))
        guide, tissues = self._guide(subject, corner, draw), self._tissues(subject, corner, draw)
        anchors, between = self._anchors(plan), self.between(plan)
        return Item(seen, guide, clean_seen, plan.drf, tissues, anchors, between)

    def plan(self, n: int) -> Plan:
        """All that is drawn for item ``n``."""
        rng = np.random.default_rng([self.seed, n])
        among = self._kind(n)
        number = among[int(rng.integers(len(among)))]
        subject = self.subjects[number]
        drf = subject.doses[rng.integers(len(subject.doses))]
        corner = self._corner(subject, rng)
        return Plan(number, drf, corner, Draw.random(rng, self.augmentation))

    def clean(self, subject: PreparedSubject) -> Any:
        """The stack (d, h, w) that targets of ``subject`` are made from."""
        return subject.standard if self.target == "standard" else subject.noise_free

    def towards(self, clean: Array, low: Array, drf: float | Array) -> Array:
        """Targets from slabs of ``clean`` and of the low-dose scan, both on the latter's scale."""
        return expected(clean, low, drf) if self.target == "expected" else clean

    def between(self, plan: Plan) -> tuple[float, ...]:
        """The doses of an item's anchors, where anchors are wanted."""
        return self.subjects[plan.subject].between(plan.drf) if self.anchors else ()

    def _anchors(self, plan: Plan) -> tuple[Tensor, ...]:
        """The slabs (s, h, w) at intermediate doses, varied as the input is."""
        subject, corner, draw = self.subjects[plan.subject], plan.corner, plan.draw
        slabs = [
            self._pet(subject.low(dose), corner, draw, draw.scale * subject.factor(dose, plan.drf))
            for dose in self.between(plan)
        ]
        return tuple(_tensor(slab[..., ::-1] if draw.flip else slab) for slab in slabs)

    def _guide(self, subject: PreparedSubject, corner: tuple[int, int, int], draw: Draw) -> Tensor | None:
        """The MRI's slab (s, h, w), shifted, recontrasted and mirrored as drawn; None where the session has none."""
        stack = subject.mri if self.mri else None
        if stack is None:
            return None
        mri = recontrasted(self._read(stack, corner, draw.shift), draw.gamma, draw.gain)
        return _tensor(mri[..., ::-1] if draw.flip else mri)

    def _kind(self, n: int) -> Sequence[int]:
        """Numbers of the sessions for item ``n``; in a mixed cohort all with an MRI, or all without."""
        if not all(self.kinds):
            return range(len(self.subjects))
        share = len(self.kinds[0]) / len(self.subjects)
        return self.kinds[int(np.random.default_rng([self.seed, n // self.batch, 1]).random() >= share)]

    def _tissues(self, subject: PreparedSubject, corner: tuple[int, int, int], draw: Draw) -> Tensor | None:
        """The tissue fractions (classes, s, h, w), blurred and mirrored as the PET is."""
        stacks = subject.classes if self.classes else None
        if stacks is None:
            return None
        shares = np.stack([self._pet(stack, corner, draw, 1 / 255) for stack in stacks])
        return _tensor(shares[..., ::-1] if draw.flip else shares)

    def _corner(self, subject: PreparedSubject, rng: np.random.Generator) -> tuple[int, int, int]:
        """First index of the slab along d, h, w; always three random numbers."""
        along, share, *in_plane = rng.random(4)
        box = subject.meta.brain if share < 0.9 else subject.meta.head
        shape, slices = subject.standard.shape, self.size[0]
        middle = box.low[0] + int(along * (box.high[0] - box.low[0]))
        first = min(max(middle - slices // 2, 0), max(shape[0] - slices, 0))
        head = subject.meta.head
        rows, columns = (
            _place(head.low[axis], head.high[axis], self.size[axis], shape[axis], float(at))
            for axis, at in zip((1, 2), in_plane, strict=True)
        )
        return first, rows, columns

    def _pet(self, stack: Any, corner: tuple[int, int, int], draw: Draw, factor: float) -> Slices:
        if draw.sigma == 0.0:
            return factor * window(stack, corner, self.size)
        return factor * filtered(_with_margin(stack, corner, self.size), draw.sigma)

    def _read(self, stack: Any, corner: tuple[int, int, int], shift: tuple[float, float, float]) -> Slices:
        if not any(shift):
            return window(stack, corner, self.size)
        return shifted(_with_margin(stack, corner, self.size), shift)


def expected(noise_free: Array, low: Array, drf: float | Array) -> Array:
    """E[standard | low, clean] = clean + (low - clean) / DRF; exact for counts and their linear maps, close for OSEM.

    On the standard scan's scale, low-dose noise has DRF times the variance. Thinning makes their covariance equal the
    standard noise variance. Training towards it has the same optimum as the standard scan, with less noise.
    """
    return noise_free + (low - noise_free) / drf


def window(stack: Any, corner: Sequence[int], size: Sequence[int]) -> Slices:
    """The box of ``size`` at ``corner`` of a stack (d, h, w), float32; beyond the stack its edge repeats."""
    spans = list(zip(corner, size, stack.shape, strict=True))
    clipped = tuple(slice(min(max(at, 0), n - 1), max(min(at + length, n), 1)) for at, length, n in spans)
    inside = np.asarray(stack[clipped], dtype=np.float32)
    grow = [(s.start - at, at + length - s.stop) for s, (at, length, _) in zip(clipped, spans, strict=True)]
    grow = [(max(before, 0), max(after, 0)) for before, after in grow]
    return np.pad(inside, grow, mode="edge") if any(map(any, grow)) else inside


def _with_margin(stack: Any, corner: Sequence[int], size: Sequence[int]) -> Slices:
    return window(stack, [at - MARGIN for at in corner], [length + 2 * MARGIN for length in size])


def _place(low: int, high: int, crop: int, extent: int, at: float) -> int:
    """First index of a crop within a larger head [low, high), or around a smaller one; inside the image if it fits."""
    first, last = sorted((low, high - crop))
    first, last = max(first, 0), min(last, extent - crop)
    if first > last:  # the crop fits at one side only, or not at all: centre it on the head
        first = last = min(max((low + high - crop) // 2, 0), max(extent - crop, 0))
    return first + int(at * (last - first + 1))


def _tensor(slab: Slices) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(slab, dtype=np.float32))


def collate(items: Sequence[Item]) -> Batch:
    """Items as one batch: images (b, s, h, w), drf (b,); an MRI and classes only where all have one."""
    low: Slab = torch.stack([item.low for item in items])
    drf: PerItem = torch.tensor([item.drf for item in items], dtype=torch.float32)
    conditions = Conditions(low, _stacked([item.mri for item in items]), drf)
    target: Slab = torch.stack([item.target for item in items])
    return Batch(conditions, target, _stacked([item.classes for item in items]), _anchored(items))


def dose_table(doses: Sequence[Sequence[float]]) -> Tensor:
    """Each item's doses as one tensor (b, a), filled up with NaN."""
    longest = max(map(len, doses), default=0)
    return torch.tensor([[*each, *[float("nan")] * (longest - len(each))] for each in doses], dtype=torch.float32)


def _anchored(items: Sequence[Item]) -> Anchors | None:
    """The anchors of all items; None where no item has one."""
    doses = dose_table([item.anchor_doses for item in items])
    if doses.shape[1] == 0:
        return None
    images = torch.zeros(*doses.shape, *items[0].low.shape)
    for image, item in zip(images, items, strict=True):
        for place, anchor in zip(image, item.anchors, strict=False):
            place.copy_(anchor)
    return Anchors(images, doses)


def _stacked(tensors: Sequence[Tensor | None]) -> Tensor | None:
    """All of them in one tensor; None where one is missing."""
    there = [tensor for tensor in tensors if tensor is not None]
    return torch.stack(there) if len(there) == len(tensors) else None


class StepSampler(Sampler[list[int]]):
    """Items of the steps ``first`` to ``last``, for one of ``ranks``; step ``k`` starts at ``k * ranks * batch``."""

    def __init__(self, first: int, last: int, *, batch: int, rank: int = 0, ranks: int = 1) -> None:
        self.first, self.last = first, last
        self.batch, self.rank, self.ranks = batch, rank, ranks

    def __iter__(self) -> Iterator[list[int]]:
        for step in range(self.first, self.last):
            start = (step * self.ranks + self.rank) * self.batch
            yield list(range(start, start + self.batch))

    def __len__(self) -> int:
        return max(self.last - self.first, 0)
