"""Between volumes (i, j, k) = (x, y, z) and stacks (d, h, w) = (z, y, x), and between stacks and slabs.

Only this file changes the order of axes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad

from m2diff.shapes import Slab, Stack, VolumeArray


def to_stack(array: VolumeArray) -> Stack:
    """A volume (i, j, k) as the networks see it: (d, h, w) = (k, j, i), float32, contiguous in memory."""
    return torch.from_numpy(np.ascontiguousarray(np.transpose(array), dtype=np.float32))


def from_stack(stack: Stack) -> VolumeArray:
    """A stack (d, h, w) as a volume (i, j, k); the inverse of ``to_stack``."""
    array = stack.detach().to(device="cpu", dtype=torch.float32).numpy()
    return np.ascontiguousarray(np.transpose(array))


def starts(depth: int, slices: int, stride: int) -> list[int]:
    """First slices of slabs ``stride`` apart that cover ``depth``, the last at the end; [0] for a shorter volume."""
    if not 1 <= stride <= slices:
        raise ValueError(f"slabs of {slices} slices cover a volume with a stride of 1 to {slices}, got {stride}")
    last = max(depth - slices, 0)
    return [*range(0, last, stride), last]


def cut(stack: Stack, slices: int, starts: Sequence[int]) -> Slab:
    """The slabs (n, s, h, w) of a stack (d, h, w); starts may lie outside, where the edge slice repeats."""
    first = torch.as_tensor(list(starts), device=stack.device)
    index = first[:, None] + torch.arange(slices, device=stack.device)  # (n, s)
    return stack[index.clamp(0, stack.shape[0] - 1)]


def stitch(slabs: Slab, starts: Sequence[int], depth: int) -> Stack:
    """One stack (d, h, w) from slabs (n, s, h, w): a centre-heavy mean, which undoes ``cut``."""
    n, slices, height, width = slabs.shape
    weights = centre_heavy(slices).to(slabs.device)
    total = torch.zeros(depth, height, width, device=slabs.device)
    weight = torch.zeros(depth, device=slabs.device)
    for slab, start in zip(slabs, starts, strict=True):
        first, last = max(start, 0), min(start + slices, depth)
        inside = slice(first - start, last - start)
        total[first:last] += weights[inside, None, None] * slab[inside].float()
        weight[first:last] += weights[inside]
    if bool((weight == 0).any()):
        raise ValueError(f"{n} slabs of {slices} slices at {list(starts)} leave a part of {depth} slices uncovered")
    return total / weight[:, None, None]


def centre_heavy(slices: int) -> Tensor:
    """Weights (s,) of the slices of a slab: a raised cosine, largest in the middle and positive everywhere."""
    place = (torch.arange(slices) + 0.5) / slices  # in (0, 1)
    return torch.sin(torch.pi * place) ** 2 + 0.05


def pad_to_multiple(slabs: Tensor, multiple: int) -> tuple[Tensor, tuple[int, int]]:
    """Images (..., h, w) grown at bottom and right to multiples of ``multiple``, edges repeated, and their old size."""
    height, width = slabs.shape[-2:]
    grow = (-height % multiple, -width % multiple)
    grown = pad(slabs.reshape(-1, 1, height, width), (0, grow[1], 0, grow[0]), mode="replicate")
    return grown.reshape(*slabs.shape[:-2], height + grow[0], width + grow[1]), (height, width)
