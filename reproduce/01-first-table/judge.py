"""What a judge of the fits would add to the shipped M2Diff, trained after the fact on what the frozen network says.

    python reproduce/01-first-table/judge.py TRAIN_COHORT TEST_COHORT WORK OUT.md [SCANS]

The network's fits in windows of three sizes, its answer and its classes are kept for the first SCANS of TRAIN_COHORT
(trained on; person 1036 left out) and of TEST_COHORT, and a small perceptron, the same at every voxel, learns what to
add to the answer:

    answer + sum over c of w_c(evidence) (candidate_c - answer)

Candidates: the fits, the low-dose scan, and the answer with its local residual put back (means over 3 and 7 voxels).
Evidence: how noisy the scan is here, by how much of that noise the candidates and residuals differ, and the classes.
WORK keeps what the network said, so that the same command goes on.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from m2diff.data import views
from m2diff.enhance import cards
from m2diff.enhance.volume import MARGIN, Options, _Slabs
from m2diff.evaluate.case import Case
from m2diff.evaluate.metrics import peak_of
from m2diff.io import bids
from m2diff.nn.fit import FitHead, local_fits
from m2diff.prepare import grid, mask, pair

NEVER_SEEN = "1036"
FITS = 3
DOSES = {"train": (4.0, 20.0, 50.0, 100.0), "test": (20.0, 100.0)}
STEPS, BATCH, VOXELS = 6000, 16_384, (50_000, 12_000)
"""Of the perceptron's training: steps, voxels a step, voxels a scan inside and outside the brain."""


@dataclass(frozen=True, eq=False)
class Said:
    """A scan's box (d, h, w), normalised: fits, answer and classes (channels first), input, both references, brain."""

    said: Tensor
    low: Tensor
    truth: Tensor
    standard: Tensor
    brain: Tensor

    @property
    def answer(self) -> Tensor:
        """What the network answers."""
        return self.said[FITS]


def asked(case: Case, drf: float, kept: Path) -> Said:
    """What the shipped network says of a scan, from ``kept`` where it was asked before."""
    if not kept.is_file():
        prepared = pair.prepare(case.low[drf], case.t1, dose=drf, align=False)
        box = mask.box(prepared.support, MARGIN)
        images = [grid.to_working(each).data for each in (case.noise_free, case.standard, case.mask)]
        truth, standard, brain = (views.to_stack(each[box]) for each in images)
        low = views.to_stack(prepared.low[box])
        torch.save((_said(prepared, box), low, truth / prepared.scale, standard / prepared.scale, brain > 0.5), kept)
    return Said(*torch.load(kept))


def _said(prepared: pair.Prepared, box: tuple[slice, slice, slice]) -> Tensor:
    """Fits, answer and classes of the box, each the mean of both heads."""
    heads: list[Tensor] = []
    whole = FitHead.forward

    def overheard(head: FitHead, features: Tensor, low: Tensor) -> tuple[Tensor, Tensor]:
        clean, logits = whole(head, features, low)
        guide = logits.softmax(dim=1)
        with torch.autocast("cpu", enabled=False):
            heads.append(torch.cat([local_fits(low.float(), guide, head.windows), clean[:, None], guide], dim=1))
        return clean, logits

    FitHead.forward = overheard
    try:
        slabs = _Slabs.of(cards.load("m2diff-base").model, prepared, box, Options(steps=1))
        slabs.run(0, prepared.low)
    finally:
        FitHead.forward = whole
    both = torch.cat([(a + b) / 2 for a, b in zip(heads[::2], heads[1::2], strict=True)])  # (slabs, n, s, h, w)
    depth, h, w = slabs.size
    return torch.stack([views.stitch(each[..., :h, :w], slabs.starts, depth) for each in both.unbind(dim=1)])


def evidence(scan: Said) -> tuple[Tensor, Tensor]:
    """What is known of each voxel (n, d, h, w), and what may be added to the answer there (c, d, h, w)."""
    low, answer, fits, classes = scan.low, scan.answer, scan.said[:FITS], scan.said[FITS + 1 :]
    noise = (_mean(_mean((low - fits[0]).square(), 9), 9) + 1e-5).sqrt()
    added = torch.stack([*(fits - answer), low - answer, _mean(low - answer, 3), _mean(low - answer, 7)])
    missed = [size * _mean(low - fit, side) for side, size in ((3, 3), (7, 9)) for fit in (fits[0], fits[-1])]
    told = [noise.log() + 1.5, *(added[:FITS] / noise), *(each / noise for each in missed)]
    told += [5 * _mean(low - answer, 5) / noise, fits[-1] - 0.8, *classes]
    return torch.stack(told), added


def _mean(image: Tensor, side: int) -> Tensor:
    return F.avg_pool3d(image[None, None], side, 1, side // 2, count_include_pad=False)[0, 0]


class Judge(nn.Module):
    """From evidence to weights; zero at first, so that the answer stands."""

    def __init__(self, told: Tensor, count: int) -> None:
        super().__init__()
        self.mean, self.spread = told.mean(dim=0), told.std(dim=0) + 1e-3
        self.net = nn.Sequential(nn.Linear(told.shape[1], 32), nn.SiLU(), nn.Linear(32, 32), nn.SiLU())
        self.last = nn.Linear(32, count)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, told: Tensor) -> Tensor:
        """(voxels, n) to (voxels, c)."""
        weights: Tensor = self.last(self.net(((told - self.mean) / self.spread).clamp(-6, 6)))
        return weights


def trained(scans: list[Said]) -> Judge:
    """A judge taught the noise-free image, every scan's error over its input's."""
    torch.manual_seed(0)
    drawn = np.random.default_rng(0)
    parts = []
    for scan in scans:
        places = [
            drawn.choice(np.flatnonzero(where.numpy()), count, replace=False)
            for where, count in zip((scan.brain.flatten(), ~scan.brain.flatten()), VOXELS, strict=True)
        ]
        at = torch.from_numpy(np.concatenate(places))
        told, added = (each.flatten(1)[:, at].T for each in evidence(scan))
        weight = (scan.low - scan.truth)[scan.brain].square().mean().rsqrt()
        parts.append((told, added, (scan.truth - scan.answer).flatten()[at], weight.expand(len(at))))
    told, added, missing, weight = (torch.cat(each) for each in zip(*parts, strict=True))
    judge = Judge(told, added.shape[1])
    optimizer = torch.optim.AdamW(judge.parameters(), weight_decay=1e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, 5e-3, STEPS)
    for _ in range(STEPS):
        at = torch.randint(len(told), (BATCH,))
        error = (judge(told[at]) * added[at]).sum(dim=1) - missing[at]
        loss = (weight[at] * error.square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    return judge


@torch.no_grad()
def judged(judge: Judge, scan: Said) -> Tensor:
    """The answer after the judge."""
    told, added = (each.flatten(1).T for each in evidence(scan))
    return scan.answer + (judge(told) * added).sum(dim=1).reshape(scan.answer.shape)


def _psnr(image: Tensor, reference: Tensor, brain: Tensor) -> float:
    peak = peak_of(reference.numpy(), brain.numpy())
    return 10 * float(np.log10(peak**2 / float((image - reference)[brain].square().mean())))


def main(train: Path, test: Path, work: Path, out: Path, scans: int) -> None:
    """Ask the network, teach the judge, write the table."""
    work.mkdir(parents=True, exist_ok=True)
    taught, rows = [], []
    for side, root in (("train", train), ("test", test)):
        for subject in bids.find_subjects(root)[: scans if side == "train" else 3]:
            if side == "train" and subject.person == NEVER_SEEN:
                continue
            case = Case.load(root, subject)
            for drf in DOSES[side]:
                scan = asked(case, drf, work / f"{side}-{subject.label}-{drf:g}.pt")
                (taught if side == "train" else rows).append((subject.label, drf, scan))
    judge = trained([scan for _, _, scan in taught])
    lines = ["| test scan | DRF | answer | judged | answer, noise-free | judged, noise-free |", "|---" * 6 + "|"]
    for label, drf, scan in rows:
        values = [
            _psnr(image, reference, scan.brain)
            for reference in (scan.standard, scan.truth)
            for image in (scan.answer, judged(judge, scan))
        ]
        lines.append(f"| {label} | {drf:g} | " + " | ".join(f"{value:.2f}" for value in values) + " |")
    out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*map(Path, sys.argv[1:5]), int(sys.argv[5]) if len(sys.argv) > 5 else 18)
