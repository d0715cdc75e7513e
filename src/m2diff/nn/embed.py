"""Numbers into vectors: the diffusion step, the dose, and how the scan was reconstructed."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2diff.nn.blocks import zeroed
from m2diff.shapes import PerItem, TimeSteps


def sinusoids(t: TimeSteps, width: int) -> Tensor:
    """Cosines and sines of ``t`` at ``width / 2`` frequencies from 1 down to 1/10000, (b, width) float32.

    Vaswani et al. 2017, section 3.5, in the order (cosines, sines) of diffusion networks.
    """
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
    """How little dose was given, as a vector; a learned one where it is unknown.

    Reads log2 of the dose reduction factor: halving the dose is one step of the same size anywhere on the ladder.
    """

    OCTAVES = 7.0  # log2(128): the usual ladder (4 ... 100) then lies within 0 ... 1

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.first = nn.Linear(1, embedding)
        self.second = nn.Linear(embedding, embedding)
        self.unknown = nn.Parameter(0.02 * torch.randn(embedding))

    def forward(self, dose: PerItem | None, count: int) -> Tensor:
        """(b,) dose reduction factors, NaN where unknown (None: all unknown), to (b, embedding)."""
        unknown = self.unknown.expand(count, -1)
        if dose is None:
            return unknown
        missing = torch.isnan(dose)
        octaves = torch.log2(torch.where(missing, torch.ones_like(dose), dose)) / self.OCTAVES
        known = self.second(F.silu(self.first(octaves[:, None].to(self.first.weight.dtype))))
        return torch.where(missing[:, None], unknown.to(known.dtype), known)


SCAN_NUMBERS = 8
"""Numbers of ``scan_numbers``: four facts, and of each whether it is known."""


def scan_numbers(dose: PerItem | None, recon: Tensor | None, count: int, device: torch.device) -> Tensor:
    """How scans were made, as numbers of about -1 to 1, (count, ``SCAN_NUMBERS``) float32.

    ``dose``: (count,) dose reduction factors. ``recon``: (count, 3), see ``Conditions.recon``. NaN, or None for all, is
    unknown: a 0, and a 0 beside it where a 1 says that it is known. Of iterations and subsets it is first their product
    that counts, the number of updates. Values beyond those of a randomised cohort (21 to 96 updates, up to 21 subsets)
    are taken as its ends.
    """
    unknown = torch.full((count,), float("nan"), device=device)
    drf = unknown if dose is None else dose.to(device).float()
    iterations, subsets, fwhm = [unknown] * 3 if recon is None else recon.to(device).float().unbind(dim=1)
    facts = [
        drf.log2().clamp(0.0, 7.0) / 3.5 - 1,
        ((iterations * subsets).clamp(21.0, 96.0).log2() - 5.5) / 1.5,
        subsets.clamp(1.0, 21.0).log2() / 2.5 - 1,
        fwhm.clamp(0.0, 8.0) / 4 - 1,
    ]
    known = [(~fact.isnan()).float() for fact in facts]
    return torch.stack([*(fact.nan_to_num(0.0) for fact in facts), *known], dim=1)


class ScanEmbedding(nn.Module):
    """The numbers of ``scan_numbers`` as a vector; it starts as nothing, so that a trained network may be given one."""

    def __init__(self, embedding: int) -> None:
        super().__init__()
        self.first = nn.Linear(SCAN_NUMBERS, embedding)
        self.second = zeroed(nn.Linear(embedding, embedding))

    def forward(self, numbers: Tensor) -> Tensor:
        """(b, ``SCAN_NUMBERS``) to (b, embedding)."""
        return self.second(F.silu(self.first(numbers.to(self.first.weight.dtype))))
