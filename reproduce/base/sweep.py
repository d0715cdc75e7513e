"""Score the runs of sweep.sh: python sweep.py RUNS COHORT > sweep.md. RUNS holds folders NAME-SEED; resumes.

PSNR to the standard scan and to the noise-free image, dB, and the mean absolute regional error, %, against the standard
scan: means over the scans of COHORT. Each setting is compared with ``whole`` seed by seed.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from m2diff.enhancement import cards
from m2diff.enhancement.run import enhance
from m2diff.evaluation.case import Case
from m2diff.io import bids

DOSES = (20.0, 100.0)
MEASURES = ("psnr", "psnr_truth", "regions")


def scored(run: Path, cohort: Path) -> dict[str, list[float]]:
    """By dose: the three measures, means over the scans; kept beside the run."""
    kept = run / "scores.json"
    if kept.is_file():
        return json.loads(kept.read_text())
    weights, found = cards.load_weights(run), {f"{drf:g}": [] for drf in DOSES}
    for subject in bids.find_subjects(cohort):
        case = Case.load(cohort, subject)
        for drf in DOSES:
            image = enhance(case.low[drf], case.t1, weights=weights, drf=drf, align=False, checks=False).volume
            result = case.judge(image, drf)
            errors = [abs(row.bias_percent) for row in result.regions.rows if row.counted]
            found[f"{drf:g}"].append([result.scores.psnr, result.scores_truth.psnr, float(np.mean(errors))])
    means = {drf: np.mean(each, axis=0).tolist() for drf, each in found.items()}
    kept.write_text(json.dumps(means))
    return means


def main(runs: Path, cohort: Path) -> str:
    """The table."""
    found: dict[str, dict[str, np.ndarray]] = {}
    for run in sorted(runs.iterdir()):
        if (run / "weights.safetensors").is_file():
            name, _, seed = run.name.rpartition("-")
            found.setdefault(name, {})[seed] = np.array([scored(run, cohort)[f"{drf:g}"] for drf in DOSES])
    head = [f"DRF {drf:g}, {what}" for drf in DOSES for what in ("PSNR dB", "PSNR noise-free dB", "regional error %")]
    lines = [f"| setting | seeds | {' | '.join(head)} |", "|---|---|" + "---|" * len(head)]
    whole = found.pop("whole")
    mean = np.mean(list(whole.values()), axis=0).ravel()
    spread = np.std(list(whole.values()), axis=0, ddof=1).ravel()
    cells = " | ".join(f"{value:.2f} (sd {sd:.2f})" for value, sd in zip(mean, spread, strict=True))
    lines.append(f"| whole | {len(whole)} | {cells} |")
    for name, by_seed in found.items():
        gains = np.array([(by_seed[seed] - whole[seed]).ravel() for seed in by_seed if seed in whole])
        error = np.std(gains, axis=0, ddof=1) / np.sqrt(len(gains)) if len(gains) > 1 else np.full(len(head), np.nan)
        cells = " | ".join(f"{gain:+.2f} +- {se:.2f}" for gain, se in zip(gains.mean(axis=0), error, strict=True))
        lines.append(f"| {name} | {len(gains)} | {cells} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(main(Path(sys.argv[1]), Path(sys.argv[2])))
