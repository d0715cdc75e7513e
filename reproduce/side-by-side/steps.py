"""How many steps? One network's chains of 1 to 1,000 steps: accuracy against texture and time.

    python reproduce/side-by-side/steps.py TEST_COHORT WEIGHTS OUT [DEVICE [SHARD/SHARDS]]

All scans of the cohort at DRF 20 and 100; 250 steps on the first two alone, 1,000 on the first, at DRF 20. Texture: the
CoV of white matter over that of the noise-free image. OUT/steps.jsonl is added to, so the same command goes on, and
OUT/steps.md is made from it.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

from m2diff.enhancement import cards
from m2diff.enhancement.run import enhance
from m2diff.evaluation.case import Case
from m2diff.io import bids

DOSES = (20.0, 100.0)
SHORT = (1, 5, 10, 25)


def planned(labels: list[str]) -> list[tuple[str, float, int]]:
    """Scan, dose and steps of every row."""
    short = [(label, drf, steps) for label in labels for drf in DOSES for steps in SHORT]
    long = [(label, drf, 250) for label in labels[:2] for drf in DOSES]
    return [*short, *long, (labels[0], DOSES[0], 1000)]


def run(root: Path, weights: str, out: Path, device: str = "cpu", shard: int = 0, shards: int = 1) -> None:
    """Score what is missing, every ``shards``-th row."""
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "steps.jsonl"
    done = {tuple(json.loads(line)["key"]) for line in kept.read_text().splitlines()} if kept.exists() else set()
    subjects = {subject.label: subject for subject in bids.find_subjects(root)}
    loaded = cards.load_weights(weights)
    for key in [row for row in planned(list(subjects))[shard::shards] if row not in done]:
        label, drf, steps = key
        case = Case.load(root, subjects[label])
        began = time.perf_counter()
        made = enhance(case.low[drf], case.t1, weights=loaded, steps=steps, drf=drf, align=False, device=device)
        seconds = time.perf_counter() - began
        result = case.judge(made.volume, drf)
        truth, regions = result.scores_truth, result.regions_truth
        texture = [regions.white_matter_cov_percent, regions.reference_white_matter_cov_percent]
        row = {"key": key, "psnr": result.scores.psnr, "psnr_truth": truth.psnr, "ssim": result.scores.ssim}
        with kept.open("a") as lines:
            lines.write(json.dumps({**row, "texture": texture, "seconds": seconds, "device": device}) + "\n")
        sys.stderr.write(f"{key} {result.scores.psnr:.2f} dB\n")


def table(out: Path) -> str:
    """Means over the scans of each number of steps, each set of scans by itself: like beside like."""
    rows = [json.loads(line) for line in (out / "steps.jsonl").read_text().splitlines()]
    lines = [
        "| DRF | scans | steps | PSNR dB | PSNR, noise-free | SSIM | texture / noise-free's | seconds |",
        "|---" * 8 + "|",
    ]
    for drf in DOSES:
        mine = [row for row in rows if row["key"][1] == drf]
        for longest in (25, 250, 1000):
            scans = sorted({row["key"][0] for row in mine if row["key"][2] == longest})
            for steps in sorted({row["key"][2] for row in mine if row["key"][2] <= longest}):
                chosen = [row for row in mine if row["key"][2] == steps and row["key"][0] in scans]
                if scans and len(chosen) == len(scans):
                    lines.append(_line(drf, len(scans), steps, chosen))
    return "\n".join(lines) + "\n"


def _line(drf: float, scans: int, steps: int, rows: list[dict]) -> str:
    psnr, truth, ssim, seconds = (np.mean([r[key] for r in rows]) for key in ("psnr", "psnr_truth", "ssim", "seconds"))
    texture = np.mean([row["texture"][0] / row["texture"][1] for row in rows])
    numbers = f"{psnr:.2f} | {truth:.2f} | {ssim:.3f} | {texture:.2f} | {seconds:.1f}"
    return f"| {drf:g} | {scans} | {steps:,} | {numbers} |"


if __name__ == "__main__":
    cohort, weights, target, *more = sys.argv[1:]
    part = map(int, more[1].split("/")) if len(more) > 1 else ()
    run(Path(cohort), weights, Path(target), *more[:1], *part)
    (Path(target) / "steps.md").write_text(table(Path(target)))
    sys.stdout.write(table(Path(target)))
