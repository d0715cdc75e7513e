"""A slow copy of the network: the exponential moving average of its weights, which is what a run ships.

    ema <- decay_k ema + (1 - decay_k) weights,    decay_k = min(decay, (1 + k) / (10 + k))

so that the first steps, when the weights are far from anywhere, are soon forgotten.
"""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import Tensor, nn


class Ema:
    """The averaged network ``model`` (in eval mode, without gradients), a copy of the one that is trained."""

    def __init__(self, trained: nn.Module, decay: float) -> None:
        self.model: nn.Module = deepcopy(trained).eval().requires_grad_(False)
        self.decay = decay

    @torch.no_grad()
    def update(self, trained: nn.Module, step: int) -> None:
        """Move towards ``trained`` after step ``step`` (0 is the first); counters and buffers are copied."""
        decay = min(self.decay, (1 + step) / (10 + step))
        mine, theirs = _parameters(self.model), _parameters(trained)
        torch._foreach_lerp_(mine, theirs, 1.0 - decay)
        for buffer, now in zip(self.model.buffers(), trained.buffers(), strict=True):
            buffer.copy_(now)


def _parameters(model: nn.Module) -> list[Tensor]:
    return [parameter.data for parameter in model.parameters()]
