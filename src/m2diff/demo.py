"""Simulate, enhance, evaluate and report one person of the MNI152 template, which no training cohort was made from."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from m2diff.evaluation.case import Case
from m2diff.evaluation.study import MethodRow
from m2diff.io import bids

DRF = 20.0
LADDER = (4.0, 10.0, 20.0, 50.0, 100.0)
METHODS = {
    "gaussian": "Gaussian filter",
    "mr-guided": "MR-guided filter",
    "regress-base": "regression U-Net",
    "m2diff-base": "M2Diff",
}


def run_demo(out: Path | str, *, seed: int = 2026, progress: bool = True) -> tuple[Path, list[MethodRow]]:
    """Run the main job under ``out``; returns the report's path and the table of methods."""
    from m2diff.enhancement.run import enhance
    from m2diff.reporting.page import ReportInputs, write_page
    from m2diff.simulation.cohort import simulate

    out = Path(out)
    root = simulate(out / "bids", 1, drf=LADDER, group="ad", seed=seed, progress=progress)
    case = Case.load(root, bids.find_subjects(root)[0])
    low = case.low[DRF]
    judged = {"low-dose input": case.judge(low, DRF)}
    enhanced = None
    for name, title in METHODS.items():
        # M2Diff registers the MRI, as for a real scan; the others take the simulator's placement.
        align = name == "m2diff-base"
        enhanced = enhance(low, case.t1, weights=name, drf=DRF, seed=seed, align=align, progress=progress)
        judged[title] = case.judge(enhanced.volume, DRF)
    assert enhanced is not None  # METHODS is not empty; the page shows its last entry
    enhanced.save(out)
    rows = [MethodRow.of(name, result, highlight=name == "M2Diff") for name, result in judged.items()]
    page = replace(
        ReportInputs.of(enhanced, "demo"),
        title="m2diff demo: a simulated person with Alzheimer's-type hypometabolism, a twentieth of the dose",
        reference=case.standard,
        evaluation=judged["M2Diff"],
        low_evaluation=judged["low-dose input"],
        methods=tuple(rows),
        warnings=("This scan is simulated: no person was scanned.", *enhanced.warnings),
    )
    return write_page(out / "report.html", page), rows


def methods_table(rows: list[MethodRow]) -> str:
    """The table of methods as text."""
    lines = [f"{'':<18}{'PSNR dB':>9}{'SSIM':>8}{'NRMSE':>8}   worst regional bias"]
    for row in rows:
        worst = "" if row.worst_bias_percent is None else f"{row.worst_bias_percent:+6.1f} % {row.worst_region}"
        scores = row.scores
        lines.append(f"{row.name:<18}{scores.psnr:>9.2f}{scores.ssim:>8.4f}{scores.nrmse:>8.4f}   {worst}")
    return "\n".join(lines)
