"""Cuts a stack into batches of slabs that overlap by half, and stitches the answers to stacks."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import torch

from m2diff.batch import Conditions, Needs
from m2diff.data import views
from m2diff.shapes import Slab, Stack

Answering: TypeAlias = Callable[[Conditions, Slab | None], tuple[Slab, ...]]
"""From a batch of slabs, and their part of a noised stack where there is one, to one or several images of each."""
Part: TypeAlias = tuple[slice, Conditions]
"""Which slabs, and their conditions."""
Around: TypeAlias = Callable[[Iterable[Part]], Iterable[Part]]
"""Wraps the batches while they are answered, such as a progress bar."""


@dataclass(frozen=True, eq=False)
class Slabs:
    """One stack (d, h, w) of ``size``, cut into ``batches`` on its device; ``begins``: first slice of each slab."""

    needs: Needs
    batches: tuple[Part, ...]
    begins: tuple[int, ...]
    size: tuple[int, int, int]

    @classmethod
    def of(cls, low: Stack, mri: Stack | None, needs: Needs, *, drf: float, batch: int) -> Slabs:
        """Cut a stack (d, h, w), and its MRI where there is one, into batches of at most ``batch`` slabs."""
        begins = views.starts(low.shape[0], needs.slices, max(needs.slices // 2, 1))
        slabs = _cut(low, needs, begins)
        guides = None if mri is None else _cut(mri, needs, begins)
        doses = torch.full((len(begins),), drf, device=low.device)
        batches = tuple(
            (part, Conditions(slabs[part], None if guides is None else guides[part], doses[part]))
            for part in (slice(first, first + max(batch, 1)) for first in range(0, len(begins), max(batch, 1)))
        )
        d, h, w = low.shape
        return cls(needs, batches, tuple(begins), (d, h, w))

    def stitched(
        self, answer: Answering, x_t: Stack | None = None, *, device: torch.device | str, around: Around = iter
    ) -> tuple[Stack, ...]:
        """Stitch the answers to all slabs, made on ``device``, where the scan lies; ``x_t`` (d, h, w) is cut, too."""
        home = self.batches[0][1].low.device
        noised = None if x_t is None else _cut(x_t, self.needs, self.begins)
        answers = []
        for part, conditions in around(self.batches):
            x = None if noised is None else noised[part].to(device)
            answers.append([each.float().to(home) for each in answer(conditions.to(device), x)])
        depth, height, width = self.size
        wholes = (torch.cat(each)[..., :height, :width] for each in zip(*answers, strict=True))
        return tuple(views.stitch(whole, self.begins, depth) for whole in wholes)


def _cut(stack: Stack, needs: Needs, begins: Iterable[int]) -> Slab:
    """The slabs of a stack, padded to the sizes that a network takes."""
    slabs, _ = views.pad_to_multiple(views.cut(stack, needs.slices, list(begins)), needs.multiple)
    return slabs.contiguous(memory_format=torch.channels_last)
