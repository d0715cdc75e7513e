"""Means over neighbours along all three axes, as one matrix for each axis: small products, far cheaper than pooling."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor


@lru_cache
@torch.inference_mode(False)  # kept, and needed by training too, whoever asks first
def neighbours(cells: int, passes: int, device: torch.device) -> Tensor:
    """(cells, cells): so many means over three neighbours, along one axis; at the ends over those that are there."""
    near = (torch.arange(cells)[:, None] - torch.arange(cells)).abs() <= 1
    return torch.linalg.matrix_power(near.double() / near.sum(dim=1, keepdim=True), passes).float().to(device)


def along_axes(x: Tensor, matrices: list[Tensor]) -> Tensor:
    """(b, n, d, h, w) after one matrix for each of its last three axes."""
    along_d, along_h, along_w = matrices
    x = along_h @ (x @ along_w.T)
    return (along_d @ x.flatten(3)).unflatten(3, x.shape[3:])
