"""The network that finds the regions: a U-Net in 3D over the template's whole box, folded to 4 mm."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2diff.nn.blocks import Downsample, Folding, Upsample, conv, group_norm, zeroed
from m2diff.parcellation import atlas, space
from m2diff.shapes import Features

WIDTHS = (48, 96, 128, 160)
FOLD = 2
NEAR, HIDDEN = 64, 160
"""Channels of the branch that sees a cell's own voxels, and of the head that joins it with the U-Net."""


class Block(nn.Module):
    """A residual block of two convolutions."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            group_norm(width, 8), nn.SiLU(), conv(3, width, width),
            group_norm(width, 8), nn.SiLU(), zeroed(conv(3, width, width)),
        )  # fmt: skip

    def forward(self, x: Features) -> Features:
        """(b, c, i, j, k) to the same."""
        return x + self.layers(x)


class RegionNet(nn.Module):
    """From an MRI in the box, its brain near 1, to a logit for each class and one for the right side."""

    def __init__(self) -> None:
        super().__init__()
        self.folding = Folding(space.SHAPE[0], FOLD, spatial=3)
        self.stem = conv(3, FOLD**3 + 3, WIDTHS[0])
        pairs = list(pairwise(WIDTHS))
        self.down = nn.ModuleList(Block(width) for width in WIDTHS)
        self.narrow = nn.ModuleList(Downsample(width, 3) for width in WIDTHS[:-1])
        self.widen = nn.ModuleList(conv(3, before, after, kernel=1) for before, after in pairs)
        self.rise = nn.ModuleList(Upsample(width, 3) for width in WIDTHS[1:])
        self.thin = nn.ModuleList(conv(3, after, before, kernel=1) for before, after in pairs)
        self.up = nn.ModuleList(Block(width) for width in WIDTHS[:-1])
        self.norm = group_norm(WIDTHS[0], 8)
        self.near = nn.Sequential(
            conv(3, FOLD**3, NEAR), group_norm(NEAR, 8), nn.SiLU(), conv(3, NEAR, NEAR), group_norm(NEAR, 8), nn.SiLU()
        )
        outputs = FOLD**3 * (len(atlas.classes()) + 1)
        self.head = nn.Sequential(nn.Linear(WIDTHS[0] + NEAR, HIDDEN), nn.SiLU(), nn.Linear(HIDDEN, outputs))

    def features(self, image: Tensor) -> Features:
        """(b, i, j, k) to (b, c, i / 2, j / 2, k / 2): where a cell lies, then what it looks like."""
        folded = self.folding.folded(image)
        axes = [torch.linspace(-1, 1, size, device=image.device) for size in folded.shape[2:]]
        place = torch.stack(torch.meshgrid(*axes, indexing="ij")).expand(len(image), -1, -1, -1, -1)
        x = self.stem(torch.cat([folded, place.to(folded.dtype)], dim=1))
        kept = []
        for level, block in enumerate(self.down):
            x = block(x)
            if level < len(self.narrow):
                kept.append(x)
                x = self.widen[level](self.narrow[level](x))
        for level in reversed(range(len(self.up))):
            x = self.up[level](kept[level] + self.thin[level](self.rise[level](x)))
        return torch.cat([F.silu(self.norm(x)), self.near(folded)], dim=1)

    def logits(self, cells: Tensor) -> Tensor:
        """Features of cells (n, c) to logits of their voxels, (n, 8, classes + 1); the last is the right side's."""
        return self.head(cells).unflatten(-1, (FOLD**3, -1))
