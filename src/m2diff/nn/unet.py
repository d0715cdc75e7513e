"""The two halves of a U-Net, apart because a decoder may read the skips of several encoders."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from m2diff.nn.attention import SelfAttention
from m2diff.nn.blocks import Downsample, ResBlock, Upsample
from m2diff.shapes import Features


@dataclass(frozen=True)
class UNetShape:
    """The size of both halves: all that Encoder, Middle and Decoder must agree on."""

    widths: tuple[int, ...]
    """Channels of each level, finest first."""
    blocks: int
    """Residual blocks a level in the encoder; the decoder has one more."""
    embedding: int
    """Length of the vector that modulates every block."""
    attention: tuple[int, ...] = ()
    """Levels (0 is the finest) whose blocks are each followed by self-attention."""
    heads: int = 4
    groups: int = 32
    dropout: float = 0.0
    spatial: int = 2

    @property
    def levels(self) -> int:
        """Number of resolutions."""
        return len(self.widths)

    @property
    def multiple(self) -> int:
        """What the sizes of a feature map must divide by."""
        return 2 ** (self.levels - 1)

    @property
    def skips(self) -> tuple[int, ...]:
        """Channels of each skip in the order in which the encoder leaves them: stem, blocks, way down, blocks ..."""
        skips = [self.widths[0]]
        for level, width in enumerate(self.widths):
            skips += [width] * self.blocks
            if level < self.levels - 1:
                skips.append(width)
        return tuple(skips)

    def block(self, channels_in: int, channels_out: int) -> ResBlock:
        """A residual block of this network."""
        return ResBlock(channels_in, channels_out, self.embedding, self.groups, self.dropout, self.spatial)

    def attend(self, channels: int) -> SelfAttention:
        """A self-attention of this network."""
        return SelfAttention(channels, self.heads, self.groups)


class Stage(nn.Module):
    """A residual block, then attention, a way up, both or neither."""

    def __init__(self, block: ResBlock, attention: SelfAttention | None = None, up: Upsample | None = None) -> None:
        super().__init__()
        self.block = block
        self.attention = attention
        self.up = up

    def forward(self, x: Features, embedding: Tensor) -> Features:
        """(b, c_in, h, w) to (b, c_out, h, w), or twice that size behind a way up."""
        x = self.block(x, embedding)
        if self.attention is not None:
            x = self.attention(x)
        return x if self.up is None else self.up(x)


class Encoder(nn.Module):
    """The way down: from the stem's features to one feature map a step, coarser and wider."""

    def __init__(self, shape: UNetShape) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        channels = shape.widths[0]
        for level, width in enumerate(shape.widths):
            for _ in range(shape.blocks):
                attention = shape.attend(width) if level in shape.attention else None
                self.steps.append(Stage(shape.block(channels, width), attention))
                channels = width
            if level < shape.levels - 1:
                self.steps.append(Downsample(channels, shape.spatial))

    def forward(self, x: Features, embedding: Tensor) -> list[Features]:
        """The stem's features and all that follow, finest first; their channels are ``UNetShape.skips``."""
        skips = [x]
        for step in self.steps:
            x = step(x, embedding) if isinstance(step, Stage) else step(x)
            skips.append(x)
        return skips


class Middle(nn.Module):
    """The bottom: a residual block, and where wanted attention and a second one."""

    def __init__(self, shape: UNetShape, *, attention: bool) -> None:
        super().__init__()
        width = shape.widths[-1]
        self.first = Stage(shape.block(width, width), shape.attend(width) if attention else None)
        self.second = shape.block(width, width) if attention else None

    def forward(self, x: Features, embedding: Tensor) -> Features:
        """(b, c, h, w) to the same."""
        x = self.first(x, embedding)
        return x if self.second is None else self.second(x, embedding)


class Decoder(nn.Module):
    """The way up: every block reads its state, its own encoder's skip and those of ``guides`` other encoders."""

    def __init__(self, shape: UNetShape, *, guides: int = 0) -> None:
        super().__init__()
        self.steps = nn.ModuleList()
        skips = list(shape.skips)
        channels = shape.widths[-1]
        for level, width in reversed(list(enumerate(shape.widths))):
            for number in range(shape.blocks + 1):
                block = shape.block(channels + (1 + guides) * skips.pop(), width)
                attention = shape.attend(width) if level in shape.attention else None
                last = number == shape.blocks and level > 0
                self.steps.append(Stage(block, attention, Upsample(width, shape.spatial) if last else None))
                channels = width

    def forward(self, state: Features, embedding: Tensor, *skips: Sequence[Features]) -> Features:
        """The middle's features, and the skips of the own encoder first, then of the others: to the finest level."""
        for step, *at_this_step in zip(self.steps, *(reversed(each) for each in skips), strict=True):
            state = step(torch.cat([state, *at_this_step], dim=1), embedding)
        return state
