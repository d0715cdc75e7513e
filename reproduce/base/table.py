"""The table: every method on five development people, DRF 20 and 100, healthy and with an Alzheimer's pattern.

    python reproduce/base/table.py TEST_COHORT OUT [SHARD/SHARDS]

Each (person, dose, method) is scored once and kept in OUT/results.jsonl, so that the same command finishes an
interrupted run; OUT/table.md is made from it.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np

from m2diff.enhancement.run import enhance
from m2diff.evaluation.case import Case
from m2diff.evaluation.compare import Interval, interval
from m2diff.evaluation.study import Evaluation
from m2diff.io import bids

DOSES = (20.0, 100.0)
METHODS: dict[str, dict] = {
    "low-dose input": {},
    "Gaussian filter": {"weights": "gaussian"},
    "NLM": {"weights": "nlm"},
    "Bowsher": {"weights": "bowsher"},
    "MR-guided filter": {"weights": "mr-guided"},
    "regression U-Net": {"weights": "regress-base"},
    "M2Diff": {"weights": "m2diff-base"},
    "M2Diff, PET alone": {"weights": "m2diff-base", "mri": None},
    "regression U-Net, PET alone": {"weights": "regress-base", "mri": None},
}


def scored(result: Evaluation) -> dict:
    """The numbers that the table needs."""
    truth, equivalence = result.scores_truth, result.dose_equivalence
    return {
        "psnr": result.scores.psnr,
        "ssim": result.scores.ssim,
        "nrmse": result.scores.nrmse,
        "bias": result.scores.bias_percent,
        "psnr_truth": truth.psnr,
        "ssim_truth": truth.ssim,
        "dose_gain": equivalence.gain,
        "regions": {row.name: row.bias_percent for row in result.regions.rows if row.counted},
        "lesions": {f"{lesion.kind} {lesion.label}": lesion.reference_recovery for lesion in result.lesions},
    }


def run(root: Path, out: Path, shard: int = 0, shards: int = 1, *, names: Sequence[str] = tuple(METHODS)) -> None:
    """Score what is missing of the methods ``names``, for every ``shards``-th scan."""
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "results.jsonl"
    done = {tuple(json.loads(line)["key"]) for line in kept.read_text().splitlines()} if kept.exists() else set()
    missing = [
        (subject, drf, name)
        for subject in bids.find_subjects(root)[shard::shards]
        for drf in DOSES
        for name in names
        if (subject.label, drf, name) not in done
    ]
    for subject, drf, name in missing:
        case = load(root, subject.label)
        image = case.low[drf]
        if METHODS[name]:
            arguments = {"mri": case.t1, "drf": drf, "align": False, "progress": False, **METHODS[name]}
            image = enhance(image, checks=False, **arguments).volume
        key = (subject.label, drf, name)
        row = {"key": key, "person": subject.person, "group": subject.group, **scored(case.judge(image, drf))}
        with kept.open("a") as lines:
            lines.write(json.dumps(row) + "\n")
        sys.stderr.write(f"{key} {row['psnr']:.2f} dB\n")


@lru_cache(maxsize=1)
def load(root: Path, subject_label: str) -> Case:
    """The images of one person."""
    return Case.load(root, next(s for s in bids.find_subjects(root) if s.label == subject_label))


def summarise(out: Path) -> str:
    """The table in Markdown, from OUT/results.jsonl; who was not scored on every scan stands in no mean over scans."""
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    text = []
    for drf in DOSES:
        for group in ("all", "healthy", "ad"):
            chosen = [r for r in rows if r["key"][1] == drf and group in ("all", r["group"])]
            if chosen:
                text += [f"\n## DRF {drf:g}, {group}\n", *_table(chosen)]
    text += [
        "\n## Lesions that the MRI does not show: share of the noise-free image's contrast that is kept\n",
        *lesions(rows),
    ]
    text += ["\n## Per person: PSNR against the standard-dose scan, dB\n", *_per_person(rows)]
    return "\n".join(text) + "\n"


def over_persons(rows: list[dict], key: str) -> Interval:
    """Mean and 95 % interval; the unit is the person, whose scans are averaged first."""
    people: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        people[row["person"]].append(row[key])
    return interval([float(np.mean(each)) for each in people.values()], generator=np.random.default_rng(0))


def _table(rows: list[dict]) -> list[str]:
    lines = [
        "| method | scans | PSNR dB (95 % interval) | SSIM | NRMSE | PSNR noise-free | dose gain | regional error "
        "| worst mean bias |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    everybody = len({tuple(r["key"][:2]) for r in rows})
    for name in METHODS:
        mine = [r for r in rows if r["key"][2] == name]
        if len(mine) < everybody:  # as yet: its mean would be over other scans than the others'
            continue
        psnr = over_persons(mine, "psnr")
        regions = defaultdict(list)
        for r in mine:
            for region, bias in r["regions"].items():
                regions[region].append(bias)
        worst = max(((np.mean(v), k) for k, v in regions.items()), key=lambda pair: abs(pair[0]))
        several = psnr.persons > 1  # of one person there is no interval, and a region's mean is its noise
        within = f" ({psnr.low:.2f} to {psnr.high:.2f})" if several else ""
        bias = f"{worst[0]:+.2f} % {worst[1]}" if several else ""
        error = np.mean([np.mean(np.abs(list(r["regions"].values()))) for r in mine])  # of a scan's regional means
        mean = {key: np.mean([r[key] for r in mine]) for key in ("ssim", "nrmse", "psnr_truth", "dose_gain")}
        lines.append(
            f"| {name} | {len(mine)} | {psnr.mean:.2f}{within} | {mean['ssim']:.4f} | {mean['nrmse']:.4f} "
            f"| {mean['psnr_truth']:.2f} | {mean['dose_gain']:.1f} | {error:.2f} % | {bias} |"
        )
    return lines


def lesions(rows: list[dict]) -> list[str]:
    """What is left of lesions that the MRI does not show, mean and standard error, by method, dose and kind."""
    kinds = [(drf, kind) for drf in DOSES for kind in ("pet_hot", "pet_cold")]
    lines = ["| method | " + " | ".join(f"DRF {drf:g}, {kind.removeprefix('pet_')}" for drf, kind in kinds) + " |"]
    lines.append("|---|" + "---|" * len(kinds))
    for name in METHODS:
        cells = []
        for drf, kind in kinds:
            mine = [r["lesions"] for r in rows if r["key"][1:] == [drf, name]]
            kept = [
                share for each in mine for what, share in each.items() if what.startswith(kind) and np.isfinite(share)
            ]
            error = f" +- {np.std(kept, ddof=1) / np.sqrt(len(kept)):.2f}" if len(kept) > 1 else ""
            cells.append(f"{np.mean(kept):.2f}{error} ({len(kept)})" if kept else "")
        if any(cells):
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def _per_person(rows: list[dict]) -> list[str]:
    cases = sorted({(r["person"], r["group"], r["key"][1]) for r in rows})
    lines = ["| method | " + " | ".join(f"{p} {g} {d:g}" for p, g, d in cases) + " |", "|---|" + "---|" * len(cases)]
    for name in METHODS:
        found = {(r["person"], r["group"], r["key"][1]): r["psnr"] for r in rows if r["key"][2] == name}
        if found:
            lines.append(f"| {name} | " + " | ".join(f"{found[c]:.2f}" if c in found else "" for c in cases) + " |")
    return lines


if __name__ == "__main__":
    cohort, target = Path(sys.argv[1]), Path(sys.argv[2])
    run(cohort, target, *(map(int, sys.argv[3].split("/")) if len(sys.argv) > 3 else ()))
    (target / "table.md").write_text(summarise(target))
    sys.stdout.write(summarise(target))
