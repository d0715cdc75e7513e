"""Where the error lies: the fit with the true tissues, and each part of what M2Diff answers, on test persons.

    python reproduce/01-first-table/parts.py TEST_COHORT OUT.md [PERSONS]

Bound: the low-dose scan fitted within the true tissues at the scanner's resolution, by slabs of 4 and 8 slices and by
the whole stack, in windows of some 24, 32 and 48 mm (1, 2 and 4 passes), and the noise-free image so fitted: what the
model of a tissue misses. PSNR against the standard scan. Parts: the network's own fits, their mixture, and the answer,
each the mean of both heads, at the default single step. PSNR against the noise-free image.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from m2diff.data import views
from m2diff.data.tissues import tissue_shares
from m2diff.enhancement import cards
from m2diff.enhancement.volume import Options, run
from m2diff.evaluation.case import Case
from m2diff.evaluation.metrics import score
from m2diff.io import bids
from m2diff.nn.fit import FitHead, local_fits
from m2diff.preparation import pair

DOSES, PASSES = (20.0, 100.0), (1, 2, 4)


def fitted(image: np.ndarray, classes: torch.Tensor, passes: int, slices: int) -> np.ndarray:
    """``image`` (i, j, k), fitted by the true classes (n, d, h, w) in slabs of so many slices."""
    stack = views.to_stack(image / image.mean())
    begins = views.starts(len(stack), slices, max(slices // 2, 1))
    guide = torch.stack([views.cut(each, slices, begins) for each in classes], dim=1)
    fit = local_fits(views.cut(stack, slices, begins), guide, (passes,))[:, 0]
    return views.from_stack(views.stitch(fit, begins, len(stack))) * image.mean()


def bound(case: Case, classes: torch.Tensor, drf: float) -> list[str]:
    """A row of the first table for each number of passes."""
    depth = classes.shape[1]

    def psnr(image: np.ndarray) -> str:
        return f"{score(image, case.standard.data, case.mask.data > 0.5).psnr:.2f}"

    low, clean = case.low[drf].data, case.noise_free.data
    rows = []
    for passes in PASSES:
        slabs = [psnr(fitted(low, classes, passes, slices)) for slices in (4, 8, depth)]
        rows.append(" | ".join([f"{passes}", *slabs, psnr(fitted(clean, classes, passes, depth))]))
    return rows


def parts(case: Case, drf: float) -> list[str]:
    """The network's answer and what it is made of."""
    model = cards.load("m2diff-base").model
    prepared = pair.prepare(case.low[drf], case.t1, drf=drf, align=False)
    whole = FitHead.forward
    weights: list[torch.Tensor] = []

    def mixed(head: FitHead, features: torch.Tensor, low: torch.Tensor) -> tuple[torch.Tensor, ...]:
        logits, mixture = (h(features).float().unflatten(1, (-1, head.slices)) for h in (head.guide, head.blend))
        with torch.autocast(low.device.type, enabled=False):
            fits = local_fits(low.float(), logits.softmax(dim=1), head.windows)
        blend = mixture.softmax(dim=1)
        weights.append(blend.mean(dim=(0, 2, 3, 4)))
        return fits, blend, torch.cat([low.float()[:, None], fits], dim=1), logits

    def answer(which: int | None) -> np.ndarray:
        def forward(
            head: FitHead, features: torch.Tensor, low: torch.Tensor, told: torch.Tensor | None = None
        ) -> tuple[torch.Tensor, torch.Tensor]:
            fits, blend, candidates, logits = mixed(head, features, low)
            return ((blend * candidates).sum(dim=1) if which is None else fits[:, which]), logits

        FitHead.forward = forward
        try:
            return run(model, prepared, seed=0, options=Options(steps=1))
        finally:
            FitHead.forward = whole

    def psnr(estimate: np.ndarray) -> str:
        image = prepared.restore(estimate, "part").data
        return f"{score(image, case.noise_free.data, case.mask.data > 0.5).psnr:.2f}"

    fits = [psnr(answer(number)) for number in range(len(PASSES))]
    mixture = psnr(answer(None))
    share = torch.stack(weights).mean(dim=0)
    shares = " / ".join(f"{float(each):.3f}" for each in share)
    return [" | ".join([*fits, mixture, psnr(run(model, prepared, seed=0, options=Options(steps=1))), shares])]


def main(root: Path, out: Path, persons: int) -> None:
    """Write both tables."""
    heads = [
        [
            "## Bound",
            "",
            "| scan | DRF | passes | 4 slices | 8 slices | whole stack | noise-free image |",
            "|---" * 7 + "|",
        ],
        ["", "## Parts", "", "| scan | DRF | fit 1 | fit 2 | fit 4 | mixture | answer | share of low, fits |"],
    ]
    heads[1].append("|---" * 8 + "|")
    for subject in bids.find_subjects(root)[:persons]:
        case = Case.load(root, subject)
        shares = torch.from_numpy(tissue_shares(subject.labels, subject.record)).float()
        classes = shares / shares.sum(dim=0, keepdim=True)
        for drf in DOSES:
            for lines, rows in zip(heads, (bound(case, classes, drf), parts(case, drf)), strict=True):
                lines += [f"| {subject.label} | {drf:g} | {row} |" for row in rows]
    out.write_text("\n".join([*heads[0], *heads[1]]) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 3)
