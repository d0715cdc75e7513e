"""A cohort in a GPU's memory, with training slabs cut there; cut on the CPU, they would keep the GPU waiting.

All variations but the MRI's contrast are linear, each a small matrix along one axis. Items equal ``SlabDataset``'s, to
rounding.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from m2diff.batch import CLASSES, Anchors, Batch, Conditions
from m2diff.data.augment import MARGIN
from m2diff.data.cohort import PreparedSubject
from m2diff.data.dataset import Plan, SlabDataset, dose_table

Corner = tuple[int, int, int]
_Matrix = npt.NDArray[np.float32]  # (voxels of the slab, voxels read), along one axis


@dataclass(frozen=True, eq=False)
class Shelf:
    """Stacks of many sizes, one after the other in one tensor; ``entry``: a key's number."""

    values: Tensor
    begins: npt.NDArray[np.int64]
    shapes: npt.NDArray[np.int64]  # (entries, 3)
    entry: dict[Any, int]

    @classmethod
    def of(cls, stacks: dict[Any, npt.NDArray[Any]], device: torch.device) -> Shelf | None:
        """Put stacks (d, h, w) on ``device`` as they are stored; None where there are none."""
        if not stacks:
            return None
        ends = np.cumsum([stack.size for stack in stacks.values()])
        dtype = torch.from_numpy(np.empty(0, next(iter(stacks.values())).dtype)).dtype
        values = torch.empty(int(ends[-1]), dtype=dtype, device=device)
        for stack, end in zip(stacks.values(), ends, strict=True):
            values[end - stack.size : end] = torch.from_numpy(np.array(stack).ravel()).to(device)
        shapes = np.array([stack.shape for stack in stacks.values()])
        return cls(values, ends - shapes.prod(axis=1), shapes, {key: n for n, key in enumerate(stacks)})

    def boxes(self, keys: Sequence[Any], corners: Sequence[Corner], size: Sequence[int]) -> Tensor:
        """Boxes of ``size`` at ``corners`` of the stacks ``keys``, (n, d, h, w) float32; edges repeat."""
        entries = [self.entry[key] for key in keys]
        first, shapes = np.array(corners), self.shapes[entries]
        strides = np.stack([shapes[:, 1] * shapes[:, 2], shapes[:, 2], np.ones_like(shapes[:, 2])])
        d, h, w = (
            np.clip(first[:, axis, None] + np.arange(length), 0, shapes[:, axis, None] - 1) * strides[axis][:, None]
            for axis, length in enumerate(size)
        )
        d, h, w = (torch.from_numpy(x).to(self.values.device) for x in (d + self.begins[entries][:, None], h, w))
        return self.values[d[:, :, None, None] + h[:, None, :, None] + w[:, None, None, :]].float()


class ResidentCohort:
    """The images of ``dataset`` on ``device``, and the batches cut from them."""

    def __init__(self, dataset: SlabDataset, device: torch.device) -> None:
        self.size, self.device = dataset.size, device
        self.between, self.towards = dataset.between, dataset.towards
        subjects = self.subjects = dataset.subjects
        numbered = list(enumerate(subjects))
        self.low = Shelf.of({(n, drf): s.low(drf) for n, s in numbered for drf in s.doses}, device)
        self.clean = Shelf.of({n: dataset.clean(s) for n, s in numbered}, device)
        self.mri = Shelf.of({n: s.mri for n, s in numbered if dataset.mri and s.mri is not None}, device)
        tissues = {n: s.classes for n, s in numbered if dataset.classes and s.classes is not None}
        self.tissues = Shelf.of({(n, k): each for n, t in tissues.items() for k, each in enumerate(t)}, device)

    def batch(self, plans: Sequence[Plan]) -> Batch:
        """The slabs of ``plans``, as ``collate`` would give them, on the device."""
        subjects, corners = [plan.subject for plan in plans], [plan.corner for plan in plans]
        axes = self._axes([_pet_matrices(plan, self.size) for plan in plans])
        scale = [plan.draw.scale for plan in plans]
        ratio = [self.subjects[plan.subject].meta.ratio[plan.drf] for plan in plans]
        low = self._column(scale) * self._cut(self.low, [(p.subject, p.drf) for p in plans], corners, axes)
        clean = self._column(np.multiply(scale, ratio)) * self._cut(self.clean, subjects, corners, axes)
        drf = torch.tensor([plan.drf for plan in plans], dtype=torch.float32, device=self.device)
        target = self.towards(clean, low, drf[:, None, None, None])
        conditions = Conditions(low, self._guides(plans), drf)
        return Batch(conditions, target, self._tissues(subjects, corners, axes), self._anchors(plans, corners, axes))

    def _anchors(self, plans: Sequence[Plan], corners: list[Corner], axes: list[Tensor]) -> Anchors | None:
        """The slabs at intermediate doses, varied as the input is; None where no item has one."""
        between = [self.between(plan) for plan in plans]
        doses = dose_table(between)
        if doses.shape[1] == 0:
            return None
        images = []
        for n in range(doses.shape[1]):
            there = [each[n] if n < len(each) else None for each in between]
            keys = [(p.subject, p.drf if dose is None else dose) for p, dose in zip(plans, there, strict=True)]
            scale = [  # 0 blanks an anchor that does not exist
                0.0 if dose is None else p.draw.scale * self.subjects[p.subject].factor(dose, p.drf)
                for p, dose in zip(plans, there, strict=True)
            ]
            images.append(self._column(scale) * self._cut(self.low, keys, corners, axes))
        return Anchors(torch.stack(images, dim=1), doses.to(self.device))

    def _guides(self, plans: Sequence[Plan]) -> Tensor | None:
        """The MRIs (b, s, h, w), moved, recontrasted and mirrored; None where one of the sessions has none."""
        subjects = [plan.subject for plan in plans]
        if self.mri is None or not self.mri.entry.keys() >= set(subjects):
            return None
        axes = self._axes([_mri_matrices(plan, self.size) for plan in plans])
        mri = self._cut(self.mri, subjects, [plan.corner for plan in plans], axes)
        gamma, gain = (self._column([getattr(plan.draw, name) for plan in plans]) for name in ("gamma", "gain"))
        return gain * mri.clamp(min=0.0) ** gamma

    def _tissues(self, subjects: list[int], corners: list[Corner], axes: list[Tensor]) -> Tensor | None:
        """The tissues (b, classes, s, h, w), varied as the PET is; None where one of the sessions has none."""
        if self.tissues is None or not self.tissues.entry.keys() >= {(n, 0) for n in subjects}:
            return None
        kinds = range(len(CLASSES))
        each = [self._cut(self.tissues, [(n, kind) for n in subjects], corners, axes) for kind in kinds]
        return torch.stack(each, dim=1) / 255

    def _cut(self, shelf: Shelf | None, keys: list[Any], corners: list[Corner], axes: list[Tensor]) -> Tensor:
        """Slabs (b, s, h, w), read with a margin and varied along each axis by ``axes``, (b, out, in) each."""
        assert shelf is not None
        along_d, along_h, along_w = axes
        margin = (np.array(corners) - MARGIN).tolist()
        x = shelf.boxes(keys, margin, [length + 2 * MARGIN for length in self.size])
        x = along_h[:, None] @ (x @ along_w.mT[:, None])
        return (along_d @ x.flatten(2)).unflatten(2, x.shape[2:])

    def _axes(self, matrices: Sequence[tuple[_Matrix, _Matrix, _Matrix]]) -> list[Tensor]:
        """The matrices of a batch's items, one tensor (b, out, in) for each axis."""
        return [torch.from_numpy(np.stack(each)).to(self.device) for each in zip(*matrices, strict=True)]

    def _column(self, values: Any) -> Tensor:
        """One number an item, in the shape that multiplies slabs."""
        return torch.tensor(values, dtype=torch.float32, device=self.device)[:, None, None, None]


def fits(dataset: SlabDataset, device: torch.device) -> bool:
    """Whether ``device`` is a GPU and the cohort takes less than half its free memory."""
    if device.type != "cuda":
        return False
    free, _ = torch.cuda.mem_get_info(device)
    return sum(_bytes(dataset, subject) for subject in dataset.subjects) < free / 2


def _bytes(dataset: SlabDataset, subject: PreparedSubject) -> int:
    mri, classes = subject.mri if dataset.mri else None, subject.classes if dataset.classes else None
    images = [subject.standard, mri, classes]
    return sum(image.nbytes for image in images if image is not None) + len(subject.doses) * subject.standard.nbytes


def _pet_matrices(plan: Plan, size: Sequence[int]) -> tuple[_Matrix, _Matrix, _Matrix]:
    """A Gaussian post-filter along each axis, and the mirror along the last."""
    taps = np.arange(-MARGIN, MARGIN + 1)
    sigma = plan.draw.sigma
    kernel = np.exp(-0.5 * (taps / sigma) ** 2) if sigma > 0 else (taps == 0).astype(np.float64)
    return _mirrored([_band(kernel / kernel.sum(), length) for length in size], plan.draw.flip)


def _mri_matrices(plan: Plan, size: Sequence[int]) -> tuple[_Matrix, _Matrix, _Matrix]:
    """A displacement of up to a voxel along each axis, and the mirror along the last."""
    matrices = []
    for amount, length in zip(plan.draw.shift, size, strict=True):
        kernel = np.zeros(2 * MARGIN + 1)
        kernel[MARGIN] = 1 - abs(amount)
        kernel[MARGIN - 1 if amount > 0 else MARGIN + 1] += abs(amount)
        matrices.append(_band(kernel, length))
    return _mirrored(matrices, plan.draw.flip)


def _band(kernel: npt.NDArray[np.float64], length: int) -> _Matrix:
    """(length, length + 2 MARGIN): output ``i`` is ``kernel`` over the inputs ``i`` to ``i`` + 2 MARGIN."""
    matrix = np.zeros((length, length + 2 * MARGIN), dtype=np.float32)
    rows = np.arange(length)
    for tap, weight in enumerate(kernel):
        matrix[rows, rows + tap] = weight
    return matrix


def _mirrored(matrices: list[_Matrix], flip: bool) -> tuple[_Matrix, _Matrix, _Matrix]:
    along_d, along_h, along_w = matrices
    return along_d, along_h, along_w[::-1].copy() if flip else along_w
