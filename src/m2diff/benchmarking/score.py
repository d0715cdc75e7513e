"""One scan through one method, and everything measured of the answer.

A measurement is (against, where, metric, value): against ``standard`` (the standard-dose scan) or ``noise-free`` (the
truth that only a simulation knows), or ``-`` for what needs neither; where: ``brain``, a region or a lesion. The
metrics are those of ``evaluate`` (docs/metrics.md); what has no finite value is left out.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

from m2diff.benchmarking.methods import STANDARD, TRUTH, Method
from m2diff.benchmarking.rows import Row
from m2diff.enhancement import cards
from m2diff.enhancement.run import enhance
from m2diff.errors import BadInput
from m2diff.evaluation.case import Case
from m2diff.evaluation.consistency import consistency, slice_axis
from m2diff.evaluation.metrics import Scores
from m2diff.evaluation.regions import RegionTable
from m2diff.evaluation.study import Evaluation
from m2diff.evaluation.suvr import errors_percent, suvr
from m2diff.io import bids, nifti
from m2diff.volume import Volume

MEASURED = 3
"""Raised when the meaning of a measurement changes: rows of before are then made anew."""
NONE = "-"
BRAIN = "brain"
Measurement = tuple[str, str, str, float]


@dataclass(frozen=True)
class Task:
    """One row to make. ``weights`` and ``first``: names or paths; None where the method has none."""

    id: str
    method: Method
    scan: str
    drf: float
    """1 for the references: the standard scan and the noise-free image."""
    weights: str | None = None
    first: str | None = None
    image: Path | None = None
    """Where the answer is kept for the pictures; None does not keep it."""
    seed: int = 0


def score(task: Task, root: Path, device: str) -> Row:
    """The row of ``task``, made on one thread; or, under ``failed``, why there is none."""
    import torch

    torch.set_num_threads(1)
    try:
        return _row(task, root, device)
    except BadInput as refusal:
        return {"id": task.id, "method": task.method.name, "scan": task.scan, "failed": str(refusal)}


def _row(task: Task, root: Path, device: str) -> Row:
    subject, case = _case(root, task.scan)
    image, about = answered(task, case, device)
    if task.image is not None:
        nifti.save(image, task.image)
    return {
        "id": task.id,
        "method": task.method.name,
        "scan": task.scan,
        "person": subject.person,
        "group": subject.group,
        "drf": task.drf,
        **about,
        "measured": [list(each) for each in measurements(case, image, task)],
    }


def answered(task: Task, case: Case, device: str) -> tuple[Volume, dict[str, Any]]:
    """The method's image, and how it was made: seconds (after the weights are loaded), weights, first estimate."""
    if task.method.kind == "input":
        return {STANDARD: case.standard, TRUTH: case.noise_free}.get(task.method.name) or case.low[task.drf], {}
    source = task.method.source if task.method.kind == "filter" else loaded(str(task.weights))
    first = None if task.first is None else loaded(task.first)
    mri = case.t1 if task.method.mri else None
    begun = time.perf_counter()
    made = enhance(
        case.low[task.drf],
        mri,
        weights=source,
        first_estimate=first,
        drf=task.drf,
        seed=task.seed,
        align=False,  # the simulator's own placement is exact, and registration is no part of a method
        device=device,
        **task.method.options,
    )
    seconds = time.perf_counter() - begun
    kept = {key: made.settings[key] for key in ("weights", "first_estimate", "steps", "device", "precision")}
    return made.volume, {"seconds": seconds, **kept}


def measurements(case: Case, image: Volume, task: Task) -> Iterator[Measurement]:
    """All finite measurements of ``image``."""
    judged = case.judge(image, task.drf)
    mask, axis = case.mask.data > 0, slice_axis(image.affine)
    along = consistency(image.data, case.noise_free.data, mask, axis=axis)
    found = [
        *([] if task.method.name == STANDARD else _against(STANDARD, judged.scores, judged.regions)),
        *([] if task.method.name == TRUTH else _against(TRUTH, judged.scores_truth, judged.regions_truth)),
        *_truth(judged),
        (TRUTH, BRAIN, "roughness", along.roughness),
        (TRUTH, BRAIN, "flicker", along.flicker),
        *_own(judged),
    ]
    return ((against, where, metric, float(value)) for against, where, metric, value in found if isfinite(value))


def _against(name: str, scores: Scores | None, table: RegionTable | None) -> Iterator[Measurement]:
    """Scores and regional biases against one of the two references."""
    if scores is not None:
        for metric in ("psnr", "ssim", "nrmse", "nmae", "bias_percent"):
            yield name, BRAIN, metric, getattr(scores, metric)
    if table is not None:
        yield name, BRAIN, "regional_error_percent", table.mean_absolute_bias_percent
        yield name, BRAIN, "white_matter_cov_ratio", _ratio(table)
        for row in table.rows:
            if row.counted:
                yield name, row.name, "bias_percent", row.bias_percent


def _truth(judged: Evaluation) -> Iterator[Measurement]:
    """What only the noise-free image can tell: dose equivalence, SUVR, lesions."""
    if judged.dose_equivalence is not None:
        yield TRUTH, BRAIN, "dose_gain", judged.dose_equivalence.gain
    if judged.regions_truth is not None:
        ours, theirs = suvr(judged.regions_truth), suvr(judged.regions_truth, reference=True)
        yield TRUTH, BRAIN, "meta_roi_bias_percent", 100 * (ours.meta_roi - theirs.meta_roi) / theirs.meta_roi
        for region, error in errors_percent(ours, theirs).items():
            yield TRUTH, region, "suvr_bias_percent", error
    for lesion in judged.lesions:
        where = f"{lesion.kind} {lesion.label}"
        yield TRUTH, where, "recovery", lesion.reference_recovery
        yield TRUTH, where, "leakage", lesion.leakage


def _own(judged: Evaluation) -> Iterator[Measurement]:
    """What is read off the image alone."""
    if judged.regions is None:
        return
    ours = suvr(judged.regions)
    yield NONE, BRAIN, "meta_roi_suvr", ours.meta_roi
    yield NONE, BRAIN, "meta_roi_spared_ratio", ours.spared_ratio
    yield NONE, BRAIN, "white_matter_cov_percent", judged.regions.white_matter_cov_percent
    for region, value in ours.regions.items():
        yield NONE, region, "suvr", value


def _ratio(table: RegionTable) -> float:
    """Texture: the white matter's CoV over the reference's; 1 is as grainy, below is smoother."""
    reference = table.reference_white_matter_cov_percent
    return table.white_matter_cov_percent / reference if reference else float("nan")


@lru_cache(maxsize=1)
def _case(root: Path, scan: str) -> tuple[bids.Subject, Case]:
    """The scans of one session; tasks come session by session."""
    subject = next(subject for subject in bids.find_subjects(root) if subject.label == scan)
    return subject, Case.load(root, subject)


def loaded(name: str) -> cards.Weights:
    """Weights by name or path, read once a process unless their file is another since."""
    path = Path(name)
    return _loaded(name, path.stat().st_mtime_ns if path.is_file() else 0)


@lru_cache(maxsize=12)
def _loaded(name: str, stamp: int) -> cards.Weights:
    return cards.load_weights(name)
