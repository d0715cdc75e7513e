"""A perceptron, the same at every voxel, that weighs corrections to a fitted answer; its features have no unit."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2diff.nn.blocks import zeroed
from m2diff.nn.smooth import smooth, structure
from m2diff.shapes import PerItem, Slab

WIDE, NEAR, AROUND, FAR = 20, 1, 3, 6
"""Passes of a mean over 3 x 3 x 3 voxels of 2 mm: FWHM 17 mm (noise); 4, 7 and 9 mm (what the fits miss)."""
CHUNK = 16384
"""Voxels a call of the perceptron: what fits into a core's cache."""


class Judge(nn.Module):
    """judged(v) = answer(v) + sum over c of w_c(v) correction_c(v); the weights w start at zero."""

    def __init__(self, classes: int, fits: int, width: int = 32) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(fits + classes + 23, width), nn.Linear(width, width)
        self.weigh = zeroed(nn.Linear(width, fits + 6))

    def forward(self, answer: Slab, low: Slab, fits: Tensor, guide: Tensor, drf: PerItem | None = None) -> Slab:
        """The judged slab (b, s, h, w); fits (b, n, s, h, w), narrow to wide; guide (b, k, s, h, w), outside first."""
        of_voxel, of_slab = features(answer, low, fits, guide, drf)
        own, slab = self.first.weight.split([of_voxel.shape[1], of_slab.shape[1]], dim=1)
        begin = F.linear(of_slab, slab, self.first.bias)[..., None]
        weights = []
        for x in of_voxel.flatten(2).split(CHUNK, dim=2):
            for weight, bias in ((own, begin), (self.second.weight, self.second.bias[:, None])):
                x = F.silu(torch.baddbmm(bias, weight.expand(len(x), -1, -1), x))
            weights.append(torch.baddbmm(self.weigh.bias[:, None], self.weigh.weight.expand(len(x), -1, -1), x))
        added = torch.cat(weights, dim=2).unflatten(2, low.shape[1:]) * corrections(answer, low, fits)
        return answer + added.sum(dim=1)


@torch.no_grad()
def features(answer: Slab, low: Slab, fits: Tensor, guide: Tensor, drf: PerItem | None) -> tuple[Tensor, Tensor]:
    """Features of each voxel (b, n, s, h, w): log noise; (fit - answer) / noise per fit; (scan - narrowest and widest
    fit) / noise, smoothed near and far; (scan - answer) / noise, smoothed around; level; class shares. Of the slab
    (b, m): log noise; rms of scan - fit, smoothed, and of differences between fits and answer, over noise; the dose.
    """
    inside = 1 - guide[:, 0]
    voxels = inside.flatten(1).sum(dim=1) + 1

    def rms(image: Slab) -> PerItem:
        return ((image.square() * inside).flatten(1).sum(dim=1) / voxels + 1e-7).sqrt()  # a slab may hold no brain

    three = [fits[:, 0], fits[:, fits.shape[1] // 2], fits[:, -1]]
    missed = {passes: [smooth(low - fit, passes) for fit in three] for passes in (NEAR, AROUND, FAR)}
    noise = (smooth((low - three[0]).square(), WIDE) + 1e-5).sqrt()
    around = [3 * missed[NEAR][0], 3 * missed[NEAR][2], 9 * missed[FAR][0], 9 * missed[FAR][2]]
    parts = [*(fits - answer[:, None]).unbind(dim=1), *around, 5 * smooth(low - answer, AROUND)]
    of_voxel = [noise.log() + 1.5, *(part / noise for part in parts), 4 * (three[2] - 0.8), *(2 * guide).unbind(dim=1)]

    whole = rms(low - three[0])
    pairs = [(gain, each) for gain, passes in ((3, NEAR), (6, AROUND), (9, FAR)) for each in missed[passes]]
    pairs += [(3, three[2] - three[0]), (6, three[2] - three[1]), (3, answer - three[2]), (3, answer - three[0])]
    dose = torch.full_like(whole, torch.nan) if drf is None else drf.to(whole).log2().clamp(0, 7) / 3.5 - 1
    told = (dose.nan_to_num(0.0), (~dose.isnan()).to(whole))  # log2 of the DRF as -1 to 1, and whether it is known
    of_slab = [whole.log() + 1.5, *(gain * rms(each) / whole - 1 for gain, each in pairs), *told]
    return torch.stack(of_voxel, dim=1).clamp_(-6, 6), torch.stack(of_slab, dim=1).clamp_(-6, 6)


def corrections(answer: Slab, low: Slab, fits: Tensor) -> Tensor:
    """What may be added, (b, n + 6, s, h, w): each fit, the scan, and the scan smoothed near and far, less the answer;
    the level (OSEM at few counts leaves hot structures too cold); the answer's own fine and coarse structure.
    """
    others = [low - answer, smooth(low - answer, NEAR), smooth(low - answer, FAR), fits[:, -1]]
    return torch.cat([fits - answer[:, None], torch.stack(others, dim=1), structure(answer)], dim=1)
