"""MFdiff: PET and MRI fused into one learned feature, which is an extra condition of the diffusion.

    fused = P(low) + gate(P(low), M(mri)) . M(mri);   clean_0 = head_0(fused);   diffusion(x_t, low, fused) -> clean
    loss: MSE(clean, target) + 0.2 MSE(clean_0, target)

MFdiff, arXiv 2602.11545; only the abstract could be read (docs/methods/mfdiff.md). ``loss.first`` makes the fused
feature explain the clean scan by itself. Stage 1 trains on simulation, stage 2 on the target domain with ``--from``.
"""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from m2diff.batch import Conditions
from m2diff.families.config import SingleLoss, UNetConfig
from m2diff.families.single import Encoded, SingleDiffusion, SingleDiffusionConfig
from m2diff.nn import PixelHead
from m2diff.nn.blocks import conv, zeroed
from m2diff.shapes import Features, Slab


class MFdiffLoss(SingleLoss):
    """The loss."""

    forms_first: ClassVar[bool] = True
    first: Annotated[float, Field(ge=0.0)] = 0.2
    """Weight of the error of the fused feature's own estimate."""


class MFdiffConfig(SingleDiffusionConfig):
    """Everything that a preset says about the model."""

    family: Literal["mfdiff"] = "mfdiff"
    loss: MFdiffLoss = MFdiffLoss()


class Fusion(nn.Module):
    """One feature of both modalities, and the clean slab that it stands for."""

    def __init__(self, network: UNetConfig, channels: int) -> None:
        super().__init__()
        spatial = network.spatial
        self.pet = nn.Sequential(network.new_stem(), nn.SiLU(), conv(spatial, channels, channels))
        self.mri = nn.Sequential(network.new_stem(), nn.SiLU(), conv(spatial, channels, channels))
        self.gate = conv(spatial, 2 * channels, channels)
        self.head = PixelHead(channels, network.folding)

    def forward(self, low: Slab, mri: Slab | None) -> Features:
        """(b, s, h, w) each to (b, c, ...); the PET's own feature where there is no MRI."""
        of_pet = self.pet(low)
        if mri is None:
            return of_pet
        of_mri = self.mri(mri)
        return of_pet + self.gate(torch.cat([of_pet, of_mri], dim=1)).sigmoid() * of_mri

    def clean(self, fused: Features, low: Slab) -> Slab:
        """The feature's own estimate: a correction to the low-dose slab."""
        return low + self.head(F.silu(fused))


class MFdiff(SingleDiffusion):
    """The trunk, given the fused feature as well."""

    config: MFdiffConfig

    def __init__(self, config: MFdiffConfig) -> None:
        super().__init__(config)
        network = config.network
        channels = network.shape.widths[0]
        self.fusion = Fusion(network, channels)
        self.condition = zeroed(conv(network.spatial, channels, channels))

    def encoded(self, features: Features, embedding: Tensor, conditions: Conditions) -> Encoded:
        """The way down, of features with the fused one added, and the fused one's own estimate."""
        fused = self.fusion(conditions.low, conditions.mri)
        skips = self.encoder(features + self.condition(F.silu(fused)), embedding)
        return Encoded(skips, self.fusion.clean(fused, conditions.low))
