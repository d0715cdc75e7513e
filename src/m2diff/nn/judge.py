"""A second opinion on a fitted answer: which of the fits, or the scan itself, to lean on, voxel by voxel.

How wide a window should be goes with the noise and with the scan: where uptake is even within its tissues, as FDG's is,
the widest serves best, and elsewhere it is wrong by many times that. Both can be read off the scan, by what the fits
miss: around a voxel, and (a single voxel's surroundings are too noisy to tell) over the whole slab. A small perceptron,
the same at every voxel and dose, turns these numbers into weights:

    judged(v) = answer(v) + sum over c of w_c(v) (candidate_c(v) - answer(v)) + w(v) level(v)

It starts at zero weights, as the answer. Without units: twice the noise and twice the differences weigh the same. The
last term is a share of the local level, for what the scan itself has wrong: OSEM at few counts leaves hot structures
too cold, by several percent.

By how much goes with the counts and with how the scan was reconstructed. A judge that is told both (``told``) may also
add contrast back: shares of what the answer itself loses when it is smoothed, at two widths.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from m2diff.nn.blocks import zeroed
from m2diff.nn.smooth import along_axes, neighbours
from m2diff.shapes import Slab

WIDE, NEAR, AROUND, FAR = 20, 1, 3, 6
"""Passes of a mean over 3 x 3 x 3 voxels of 2 mm. In FWHM 17 mm, for noise; 4, 7 and 9 mm, for what fits miss."""

NARROW, BROAD = 10, 60
"""Likewise: 12 and 30 mm (along a slab less, whose slices end), for contrast that is added back."""

LARGEST = 6.0
"""Of a number of the evidence, either way: beyond it says no more."""

FLOOR = 1e-7
"""Added to mean squares over a slab, of a scan whose brain is near 1: a slab may lie outside the brain."""


class Judge(nn.Module):
    """Adds to an answer what the evidence at each voxel, and of the slab, speaks for.

    ``told``: how many numbers it is told of the scan besides; 0: none, and it adds no contrast.
    """

    def __init__(self, classes: int, fits: int, width: int = 32, *, told: int = 0) -> None:
        super().__init__()
        self.told = told
        local, whole = 1 + fits + 4 + 1 + 1 + classes, 1 + 3 * 3 + 4 + told
        self.inner = nn.Sequential(nn.Linear(local + whole, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        self.weigh = zeroed(nn.Linear(width, fits + 4 + (2 if told else 0)))

    def forward(self, answer: Slab, low: Slab, fits: Tensor, guide: Tensor, told: Tensor | None = None) -> Slab:
        """The judged slab, float32, of the answer and the low-dose slab (b, s, h, w), its fits (b, n, s, h, w), narrow
        to wide, and the shares of the classes (b, k, s, h, w), the first of them ``outside``, all float32; and of what
        it is told of each scan, (b, ``self.told``).
        """
        known, added = self.seen(answer, low, fits, guide, told)
        weights: Tensor = self.weigh(self.inner(known))
        return answer + (weights.movedim(-1, 1).float() * added).sum(dim=1)

    def seen(
        self, answer: Slab, low: Slab, fits: Tensor, guide: Tensor, told: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Of what ``forward`` is given: all that it knows of each voxel (b, s, h, w, n), what it may add there
        (b, c, s, h, w).
        """
        with torch.autocast(low.device.type, enabled=False):
            known, added = evidence(answer, low, fits, guide)
            if self.told:
                assert told is not None
                everywhere = told.to(known.dtype)[:, None, None, None].expand(*known.shape[:-1], -1)
                known = torch.cat([known, everywhere], dim=-1)
                added = torch.cat([added, contrast(answer)], dim=1)
        return known, added


def evidence(answer: Slab, low: Slab, fits: Tensor, guide: Tensor) -> tuple[Tensor, Tensor]:
    """What is known of each voxel (b, s, h, w, n), and what may be added to the answer there (b, c, s, h, w).

    The first is a fact to the judge, with no gradient: the noise of the scan, by how much of it the fits differ from
    the answer and miss the scan around, the level, the classes, and the same of the whole slab. The second: fits, scan,
    and the scan smoothed twice, each less the (likewise smoothed) answer; last the level, the widest fit.
    """
    missed, kept = low - answer, fits - answer[:, None]
    smooth = [missed, _smooth(missed, NEAR), _smooth(missed, FAR), fits[:, -1]]
    added = torch.cat([kept, torch.stack(smooth, dim=1)], dim=1)
    with torch.no_grad():
        three = fits[:, [0, fits.shape[1] // 2, -1]]  # the narrowest, one between, the widest
        by = {passes: [_smooth(low - fit, passes) for fit in three.unbind(dim=1)] for passes in (NEAR, AROUND, FAR)}
        noise = (_smooth((low - fits[:, 0]).square(), WIDE) + 1e-5).sqrt()
        around = [3 * by[NEAR][0], 3 * by[NEAR][-1], 9 * by[FAR][0], 9 * by[FAR][-1]]
        parts = [*kept.unbind(dim=1), *around, 5 * _smooth(missed, AROUND)]
        told = [
            noise.log() + 1.5,
            *(part / noise for part in parts),
            4 * (fits[:, -1] - 0.8),
            *(2 * guide).unbind(dim=1),
            *(each[:, None, None, None].expand_as(low) for each in _of_slab(answer, low, three, by, guide)),
        ]
        return torch.stack(told, dim=-1).clamp(-LARGEST, LARGEST), added


def contrast(image: Slab) -> Tensor:
    """What a slab (b, s, h, w) loses when it is smoothed, narrowly and broadly, (b, 2, s, h, w)."""
    return torch.stack([image - _smooth(image, NARROW), image - _smooth(image, BROAD)], dim=1)


def _of_slab(answer: Slab, low: Slab, three: Tensor, by: dict[int, list[Slab]], guide: Tensor) -> list[Tensor]:
    """What is known of each slab as a whole, (b,) each: the noise in the brain, by how much of it ``three`` of the fits
    (b, 3, s, h, w) miss the smoothed scan there (``by`` passes; white noise alone would leave less), and how far fits
    and answer lie apart.
    """
    inside = 1 - guide[:, 0]
    voxels = inside.flatten(1).sum(dim=1) + 1

    def rms(image: Slab) -> Tensor:
        return ((image.square() * inside).flatten(1).sum(dim=1) / voxels + FLOOR).sqrt()

    first, wide, widest = three.unbind(dim=1)
    noise = rms(low - first)
    gains = {NEAR: 3, AROUND: 6, FAR: 9}
    missed = [gains[passes] * rms(each) / noise - 1 for passes, several in by.items() for each in several]
    apart = [(3, widest - first), (6, widest - wide), (3, answer - widest), (3, answer - first)]
    return [noise.log() + 1.5, *missed, *(gain * rms(each) / noise - 1 for gain, each in apart)]


def _smooth(image: Slab, passes: int) -> Slab:
    """The slab (b, s, h, w) after so many means over its neighbours."""
    return along_axes(image[:, None], [neighbours(n, passes, image.device) for n in image.shape[1:]])[:, 0]
