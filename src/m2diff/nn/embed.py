"""Numbers into vectors: the diffusion step and the dose."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2diff.shapes import PerItem, TimeSteps


def sinusoids(t: TimeSteps, width: int) -> Tensor:
    """Cosines, then sines, of ``t`` at ``width / 2`` frequencies from 1 to 1/10000: (b, width) (arXiv 1706.03762)."""
    half = width // 2
    frequencies = torch.exp(-math.log(10000.0) / half * torch.arange(half, dtype=torch.float32, device=t.device))
    angles = t[:, None].float() * frequencies  # (b, half)
    return torch.cat([angles.cos(), angles.sin()], dim=1)


class TimeEmbedding(nn.Module):
    """The diffusion step as a vector: sinusoids, then two linear layers."""

    def __init__(self, width: int, embedding: int) -> None:
        super().__init__()
        self.width = width
        self.first = nn.Linear(width, embedding)
        self.second = nn.Linear(embedding, embedding)

    def forward(self, t: TimeSteps) -> Tensor:
        """(b,) steps to (b, embedding)."""
        return self.second(F.silu(self.first(sinusoids(t, self.width))))


class DoseEmbedding(nn.Module):
    """Embeds log2 of the dose reduction factor; a learned vector where it is unknown."""

    OCTAVES = 7.0  # log2(128): the usual ladder (4 ... 100) then lies within 0 ... 1

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.first = nn.Linear(1, 2 * embedding)
        self.second = nn.Linear(2 * embedding, embedding)
        self.unknown = nn.Parameter(0.02 * torch.randn(embedding))

    def forward(self, drf: PerItem | None, count: int) -> Tensor:
        """(b,) dose reduction factors, NaN where unknown (None: all unknown), to (b, embedding)."""
        unknown = self.unknown.expand(count, -1)
        if drf is None:
            return unknown
        missing = torch.isnan(drf)
        octaves = torch.log2(torch.where(missing, torch.ones_like(drf), drf)) / self.OCTAVES
        known = self.second(F.silu(self.first(octaves[:, None].to(self.first.weight.dtype))))
        return torch.where(missing[:, None], unknown.to(known.dtype), known)
