"""A head that fits the low-dose scan within soft tissue classes which the network finds (docs/model.md).

    low(v) = sum over k of a_k g_k(v) + noise,   for all v in a window around u;   fit(u) = sum over k of a_k(u) g_k(u)

g: class shares, summing to one. a: uptake of each class in the window, by least squares on a coarser grid. It is a
guided filter (He, Sun and Tang, IEEE TPAMI 35(6), 2013; He and Sun, arXiv 1505.00996) with a learned guide.
"""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2diff.nn.blocks import Folding, PixelHead
from m2diff.nn.judge import Judge
from m2diff.nn.smooth import along_axes, neighbours
from m2diff.shapes import Features, PerItem, Slab

CELL = 4
"""Side in voxels of the cells over which a fit's sums are taken, in plane; two slices along the slab."""

RIDGE = 3e-4
"""Added to the diagonal of the mean normal equations (class shares): pulls rarer classes to the window's mean."""


class FitHead(nn.Module):
    """Mixes the low-dose slab and its fits, adds a correction, and weighs all again where ``judged`` (``nn.judge``)."""

    def __init__(
        self,
        channels: int,
        folding: Folding,
        classes: int,
        windows: tuple[int, ...],
        *,
        judged: bool = False,
    ) -> None:
        super().__init__()
        self.slices, self.windows = folding.slices, windows
        self.guide = PixelHead(channels, folding, classes, zero=False)
        self.blend = PixelHead(channels, folding, 1 + len(windows))
        self.correction = PixelHead(channels, folding)
        self.judge = Judge(classes, len(windows)) if judged else None

    def forward(self, features: Features, low: Slab, drf: PerItem | None = None) -> tuple[Slab, Tensor]:
        """(b, c, ...) and the low slab (b, s, h, w) to the clean slab and logits (b, classes, s, h, w), float32."""
        logits, mixture = (head(features).float().unflatten(1, (-1, self.slices)) for head in (self.guide, self.blend))
        guide, blend = logits.softmax(dim=1), mixture.softmax(dim=1)
        correction, low = self.correction(features).float(), low.float()
        with torch.autocast(low.device.type, enabled=False):
            fits = local_fits(low, guide, self.windows)
            answer = (blend * torch.cat([low[:, None], fits], dim=1)).sum(dim=1) + correction
            return (answer if self.judge is None else self.judge(answer, low, fits, guide, drf)), logits


def local_fits(image: Slab, guide: Tensor, windows: tuple[int, ...]) -> Tensor:
    """Fits of ``image`` (b, s, h, w) by ``guide`` (b, classes, s, h, w): (b, windows, s, h, w), float32.

    A window's size is its number of 3 x 3 x 3 means over the cells. ``CELL`` must divide ``h`` and ``w``.
    """
    sizes = image.shape[1:]
    cell = (2 if sizes[0] % 2 == 0 else 1, CELL, CELL)
    sums = _cell_means(torch.cat([guide, image[:, None]], dim=1), cell)
    fits = []
    for passes in windows:
        device = sums.device
        levels = _solve(along_axes(sums, [neighbours(n, passes, device) for n in sums.shape[-3:]]))
        between = [_between(n, size, device) for n, size in zip(levels.shape[-3:], sizes, strict=True)]
        fine = along_axes(levels, between)
        fits.append((fine * guide).sum(dim=1))
    return torch.stack(fits, dim=1)


@lru_cache
@torch.inference_mode(False)  # the kept matrix must serve training, too
def _between(cells: int, voxels: int, device: torch.device) -> Tensor:
    """(voxels, cells): from cells to the voxels in them along one axis, linear between the cells' centres."""
    weights = F.interpolate(torch.eye(cells)[None], size=voxels, mode="linear", align_corners=False)[0]
    return weights.T.contiguous().to(device)


def _cell_means(channels: Tensor, cell: tuple[int, int, int]) -> Tensor:
    """Mean products of every two channels over each cell: (b, n, s, h, w) to (b, n * n, s', h', w')."""
    b, n, s, h, w = channels.shape
    d, p, q = cell
    cells = channels.reshape(b, n, s // d, d, h // p, p, w // q, q).permute(0, 2, 4, 6, 1, 3, 5, 7).flatten(5)
    products = cells @ cells.transpose(-1, -2) / cells.shape[-1]  # (b, s', h', w', n, n)
    return products.flatten(4).movedim(-1, 1)


def _solve(products: Tensor) -> Tensor:
    """Class levels (b, k, s', h', w') by least squares, from mean products (b, (k + 1)^2, s', h', w')."""
    side = math.isqrt(products.shape[1])
    table = products.unflatten(1, (side, side)).movedim((1, 2), (-2, -1))
    normal, right = table[..., :-1, :-1], table[..., :-1, -1:]
    mean = right.sum(dim=-2, keepdim=True)  # of the image: the classes sum to one
    share = normal.sum(dim=-1, keepdim=True)
    ridge = RIDGE * torch.eye(side - 1, device=products.device)
    # The ridge keeps the pivots away from zero: no check, which would make a GPU wait.
    levels, _ = torch.linalg.solve_ex(normal + ridge, right - mean * share)
    return (mean + levels).squeeze(-1).movedim(-1, 1)
