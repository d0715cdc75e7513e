"""The blocks of a U-Net, for images (spatial = 2) or volumes (spatial = 3), from small to large."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2diff.shapes import Features, Slab

Layer = TypeVar("Layer", bound=nn.Module)
FEWEST_VOXELS = 4
"""Fewest output voxels along an axis for which a CPU's bfloat16 gradients are trusted."""


def convolved(layer: nn.Conv2d | nn.Conv3d, convolve: Callable[[Features], Features], x: Features) -> Features:
    """``convolve`` of ``x``; in float32 where ``layer`` trains on a CPU and ``x`` is narrow, at next to no cost.

    oneDNN 3.12 (PyTorch 2.13) reads and writes out of bounds in the bfloat16 weight gradient of narrow images: some of
    one to three voxels along an axis, or below the kernel's size. The sizes differ between CPUs.
    """
    trains = x.device.type == "cpu" and torch.is_grad_enabled() and torch.is_autocast_enabled("cpu")
    enough = max(FEWEST_VOXELS, *layer.kernel_size) * layer.stride[0]
    if not trains or min(x.shape[2:]) >= enough:
        return convolve(x)
    with torch.autocast("cpu", enabled=False):
        y = convolve(x.float())
    return y.to(torch.get_autocast_dtype("cpu"))


class Conv2d(nn.Conv2d):
    """A convolution over images whose gradients are right on a CPU too."""

    def forward(self, x: Features) -> Features:
        """(b, c_in, h, w) to (b, c_out, ...)."""
        return convolved(self, super().forward, x)


class Conv3d(nn.Conv3d):
    """A convolution over volumes whose gradients are right on a CPU too."""

    def forward(self, x: Features) -> Features:
        """(b, c_in, d, h, w) to (b, c_out, ...)."""
        return convolved(self, super().forward, x)


def conv(spatial: int, channels_in: int, channels_out: int, kernel: int = 3, stride: int = 1) -> nn.Module:
    """A convolution over ``spatial`` axes that keeps the image's size (at stride 1)."""
    layer = {2: Conv2d, 3: Conv3d}[spatial]
    return layer(channels_in, channels_out, kernel, stride=stride, padding=kernel // 2)


class Norm(nn.GroupNorm):
    """Group normalisation that keeps bfloat16 under autocast, with float32 sums; PyTorch's own returns float32."""

    def forward(self, x: Features) -> Features:
        """(b, c, ...) to the same."""
        if x.dtype != torch.bfloat16:
            return super().forward(x)
        with torch.autocast(x.device.type, enabled=False):
            return F.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


def group_norm(channels: int, groups: int) -> Norm:
    """Group normalisation in ``groups`` groups, or in the largest number below that divides the channels."""
    return Norm(math.gcd(channels, groups), channels)


def zeroed(layer: Layer) -> Layer:
    """The same layer with all its parameters at zero, so that it adds nothing at first."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def per_channel(values: Tensor, features: Features) -> Tensor:
    """One value a channel, (c,) or (b, c), in the shape that multiplies or adds to ``features`` (b, c, ...)."""
    return values.reshape(*values.shape, *[1] * (features.ndim - 2))


class ResBlock(nn.Module):
    """A residual block with h = norm(h) (1 + scale) + shift from an embedding (arXiv 2102.09672, appendix A)."""

    def __init__(
        self, channels_in: int, channels_out: int, embedding: int, groups: int, dropout: float, spatial: int = 2
    ) -> None:
        super().__init__()
        self.norm_in = group_norm(channels_in, groups)
        self.conv_in = conv(spatial, channels_in, channels_out)
        self.modulation = nn.Linear(embedding, 2 * channels_out)
        self.norm_out = group_norm(channels_out, groups)
        self.dropout = nn.Dropout(dropout)
        self.conv_out = zeroed(conv(spatial, channels_out, channels_out))
        same = channels_in == channels_out
        self.shortcut = nn.Identity() if same else conv(spatial, channels_in, channels_out, kernel=1)

    def forward(self, x: Features, embedding: Tensor) -> Features:
        """(b, c_in, ...) and (b, embedding) to (b, c_out, ...)."""
        h = self.conv_in(F.silu(self.norm_in(x)))
        modulation = self.modulation(F.silu(embedding))
        scale, shift = per_channel(modulation, h).chunk(2, dim=1)
        h = torch.addcmul(shift, self.norm_out(h), 1.0 + scale)
        return self.shortcut(x) + self.conv_out(self.dropout(F.silu(h)))


class Downsample(nn.Module):
    """Half the size by a strided convolution."""

    def __init__(self, channels: int, spatial: int = 2) -> None:
        super().__init__()
        self.conv = conv(spatial, channels, channels, stride=2)

    def forward(self, x: Features) -> Features:
        """(b, c, h, w) to (b, c, h/2, w/2)."""
        return self.conv(x)


class Upsample(nn.Module):
    """Twice the size: nearest neighbours, then a convolution."""

    def __init__(self, channels: int, spatial: int = 2) -> None:
        super().__init__()
        self.conv = conv(spatial, channels, channels)

    def forward(self, x: Features) -> Features:
        """(b, c, h, w) to (b, c, 2h, 2w)."""
        return self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))


@dataclass(frozen=True)
class Folding:
    """Folds slabs into the grid of a network, and back; no voxel is lost.

    ``spatial`` 2: the slices and blocks of ``fold`` x ``fold`` pixels become channels. 3: blocks of ``fold`` voxels a
    side do, and the slices stay an axis.
    """

    slices: int
    fold: int = 1
    spatial: int = 2

    @property
    def channels(self) -> int:
        """Channels of one folded image."""
        return self.slices * self.fold**2 if self.spatial == 2 else self.fold**3

    def folded(self, x: Slab) -> Features:
        """Images (b, images * s, h, w) to (b, images * channels, [s / fold,] h / fold, w / fold)."""
        f = self.fold
        if self.spatial == 2:
            return F.pixel_unshuffle(x, f) if f > 1 else x
        b, _, h, w = x.shape
        blocks = x.reshape(b, -1, self.slices // f, f, h // f, f, w // f, f)  # (b, images, s', f, h', f, w', f)
        blocks = blocks.permute(0, 1, 3, 5, 7, 2, 4, 6).flatten(1, 4)
        return blocks.contiguous(memory_format=torch.channels_last_3d)

    def unfolded(self, y: Features) -> Slab:
        """The inverse of ``folded``."""
        f = self.fold
        if self.spatial == 2:
            return F.pixel_shuffle(y, f) if f > 1 else y
        b, _, s, h, w = y.shape
        blocks = y.reshape(b, -1, f, f, f, s, h, w).permute(0, 1, 5, 2, 6, 3, 7, 4)  # (b, images, s, f, h, f, w, f)
        return blocks.reshape(b, -1, h * f, w * f)


class PixelStem(nn.Module):
    """From slices to features: the slab folded, then one convolution."""

    def __init__(self, folding: Folding, channels: int, images: int = 1) -> None:
        super().__init__()
        self.folding = folding
        self.conv = conv(folding.spatial, images * folding.channels, channels)

    def forward(self, x: Slab) -> Features:
        """Images one after the other, (b, images * s, h, w), to (b, c, ...)."""
        return self.conv(self.folding.folded(x))


class PixelHead(nn.Module):
    """From features to slices: one convolution, at zero first unless told otherwise, then unfolded."""

    def __init__(self, channels: int, folding: Folding, images: int = 1, *, zero: bool = True) -> None:
        super().__init__()
        self.folding = folding
        self.conv = conv(folding.spatial, channels, images * folding.channels)
        if zero:
            zeroed(self.conv)

    def forward(self, x: Features) -> Slab:
        """(b, c, ...) to images one after the other, (b, images * s, h, w)."""
        return self.folding.unfolded(self.conv(x))
