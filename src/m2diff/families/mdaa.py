"""MDAA-Diff: attention from the guide's high frequencies, and the dose in the attention's weights.

    encoder stem * (1 + g . sigmoid(A)) + g . B,   A and B from the guide's Haar details, g a gate that can close
    every skip * channel weights(skip, dose) * spatial weights(skip, dose) -> decoder

MDAA-Diff, arXiv 2505.05112; only the abstract could be read (docs/methods/mdaa.md). The MRI takes the CT's place;
without a guide that part is left out.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from m2diff.batch import Conditions
from m2diff.families.config import UNetConfig
from m2diff.families.single import Encoded, NoisedNetwork, SingleDiffusion, SingleDiffusionConfig
from m2diff.nn.blocks import conv, per_channel, zeroed
from m2diff.nn.wavelet import haar
from m2diff.shapes import Features, Slab


class MDAANetwork(NoisedNetwork):
    """The network."""

    reduction: Annotated[int, Field(ge=1)] = 4
    """A skip's channels over those in the middle of its dose attention."""


class MDAAConfig(SingleDiffusionConfig):
    """Everything that a preset says about the model."""

    family: Literal["mdaa"] = "mdaa"
    network: MDAANetwork = MDAANetwork()


class WaveletAttention(nn.Module):
    """Gated weights and values at the guide's edges, at the features' resolution."""

    def __init__(self, network: UNetConfig, channels: int) -> None:
        super().__init__()
        self.slices, self.spatial = network.slices, network.spatial
        self.details = conv(self.spatial, 3 if self.spatial == 3 else 3 * self.slices, channels)
        self.weights_and_values = conv(self.spatial, channels, 2 * channels)
        self.gate = nn.Parameter(torch.zeros(channels))

    def forward(self, features: Features, guide: Slab) -> Features:
        """(b, c, ...) and the guide (b, s, h, w) to the features, sharpened where it has details."""
        _, details = haar(guide)
        if self.spatial == 3:
            details = details.unflatten(1, (3, self.slices))
        details = F.interpolate(details, size=features.shape[2:], mode="area")
        weights, values = self.weights_and_values(F.silu(self.details(details))).chunk(2, dim=1)
        gate = per_channel(torch.tanh(self.gate), features)
        return features * (1.0 + gate * weights.sigmoid()) + gate * values


class DoseAttention(nn.Module):
    """Channel and spatial weights of a skip, moved by the embedding of step and dose; they start at one."""

    def __init__(self, channels: int, embedding: int, reduction: int, spatial: int) -> None:
        super().__init__()
        middle = max(channels // reduction, 4)
        self.squeeze = nn.Linear(channels, middle)
        self.dose = nn.Linear(embedding, middle)
        self.excite = zeroed(nn.Linear(middle, channels))
        self.places = zeroed(conv(spatial, 2, 1, kernel=7))
        self.sharpness = zeroed(nn.Linear(embedding, 1))

    def forward(self, skip: Features, embedding: Tensor) -> Features:
        """(b, c, ...) and (b, embedding) to the skip, weighted."""
        pooled = skip.flatten(2).mean(dim=2)
        channel = 2.0 * self.excite(F.silu(self.squeeze(pooled) + self.dose(embedding))).sigmoid()
        skip = skip * per_channel(channel, skip)
        seen = torch.cat([skip.mean(dim=1, keepdim=True), skip.amax(dim=1, keepdim=True)], dim=1)
        sharpness = 1.0 + per_channel(self.sharpness(embedding), skip)
        return skip * (2.0 * (sharpness * self.places(seen)).sigmoid())


class MDAA(SingleDiffusion):
    """The trunk with wavelet attention on its stem and dose attention on its skips."""

    config: MDAAConfig

    def __init__(self, config: MDAAConfig) -> None:
        super().__init__(config)
        network, shape = config.network, config.network.shape
        self.wavelet = WaveletAttention(network, shape.widths[0])
        self.dosed = nn.ModuleList(
            DoseAttention(channels, shape.embedding, network.reduction, network.spatial) for channels in shape.skips
        )

    def encoded(self, features: Features, embedding: Tensor, conditions: Conditions) -> Encoded:
        """The way down, of features that the guide sharpened; its skips weighted by the dose."""
        if conditions.mri is not None:
            features = self.wavelet(features, conditions.mri)
        skips = self.encoder(features, embedding)
        return Encoded([attend(skip, embedding) for attend, skip in zip(self.dosed, skips, strict=True)])
