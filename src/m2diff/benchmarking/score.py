"""Score one scan by one method: OUT/rows.jsonl, a JSON object per method, scan and dose.

A row's ``id`` hashes all that it depends on (weights, options, scan, measures, a device other than the CPU), so that
stale rows are not used. A measurement is (against, where, metric, value). Against: ``standard`` (the standard-dose
scan), ``noise-free`` (the simulated truth) or ``-`` (neither). Where: ``brain``, a region or a lesion. Metrics are
those of ``evaluate`` (docs/metrics.md); values that are not finite are left out.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any

from m2diff.benchmarking.methods import STANDARD_SCAN, TRUTH, Entry, Method, enhanced_by, hash_of, weights_of
from m2diff.benchmarking.people import Sides, scan_id
from m2diff.errors import BadInput
from m2diff.evaluation.case import Case
from m2diff.evaluation.consistency import consistency, slice_axis
from m2diff.evaluation.metrics import Scores
from m2diff.evaluation.regions import RegionTable
from m2diff.evaluation.study import Evaluation
from m2diff.evaluation.suvr import errors_percent, suvr
from m2diff.io import bids, nifti
from m2diff.volume import Volume

MEASURED_VERSION = 3  # raised when a measurement changes its meaning, so that older rows are recomputed
NO_REFERENCE = "-"
WHOLE_BRAIN = "brain"
_REFERENCES = tuple(Entry(Method(name, "input", name), name) for name in (STANDARD_SCAN, TRUTH))
_Measurement = tuple[str, str, str, float]
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class ShownScan:
    """The scan whose images the page shows, and at which doses."""

    subject: bids.Subject
    doses: tuple[float, ...]


@dataclass(frozen=True)
class Task:
    """One row to make."""

    id: str
    entry: Entry
    scan: str
    drf: float  # 1 for the references: the standard scan and the noise-free image
    image: Path | None = None  # where the image is kept for the pictures; None: not kept
    seed: int = 0


def read_rows(path: Path) -> dict[str, Row]:
    """The rows of a file by their id; a last line that a killed run cut off is removed from the file."""
    content = path.read_bytes() if path.is_file() else b""
    whole = content[: content.rfind(b"\n") + 1]
    if len(whole) < len(content):
        os.truncate(path, len(whole))
    rows = {}
    for line in whole.decode("utf-8", errors="replace").splitlines():
        with suppress(ValueError):
            row = json.loads(line)
            rows[row["id"]] = row
    return rows


def append_row(path: Path, row: Row) -> None:
    """Append one row to a file, flushed to disk."""
    with path.open("a", encoding="utf-8") as lines:
        lines.write(json.dumps(row) + "\n")
        lines.flush()
        os.fsync(lines.fileno())


def row_id(parts: Mapping[str, Any]) -> str:
    """The id of a row that depends on ``parts`` alone."""
    return hash_of(parts)[:16]


def scoring_tasks(
    entries: Sequence[Entry], sides: Sides, shown: ShownScan, images: Path, *, seed: int, device: str
) -> list[Task]:
    """All rows, grouped by scan so that each is read once; images of ``shown`` are kept in the folder ``images``."""
    common = {"measured": MEASURED_VERSION, "seed": seed} | ({} if device == "cpu" else {"device": device})
    found = []
    for subject in sides.test:
        scan = scan_id(subject)
        doses = [drf for drf in sides.doses if drf in subject.low]
        wanted = [(entry, 1.0) for entry in _REFERENCES] + [(entry, drf) for drf in doses for entry in entries]
        for entry, drf in wanted:
            name = row_id(common | {"method": entry.method.name, "by": entry.identity, "scan": scan, "drf": drf})
            kept = subject == shown.subject and drf in shown.doses and entry.method.kind != "input"
            found.append(Task(name, entry, subject.label, drf, images / f"{name}.nii.gz" if kept else None, seed))
    return found


def scored_row(task: Task, root: Path, device: str) -> Row:
    """The row of ``task``, made on one thread; on failure, the reason under ``failed``."""
    import torch

    torch.set_num_threads(1)
    row = {"id": task.id, "method": task.entry.method.name, "scan": task.scan}
    try:
        subject, case = _case(root, task.scan)
        image, how = _enhanced_image(task, case, device)
        if task.image is not None:
            nifti.save(image, task.image)
        measured = [list(each) for each in _measurements(case, image, task)]
    except BadInput as refusal:
        return row | {"failed": str(refusal)}
    return row | {"person": subject.person, "group": subject.group, "drf": task.drf} | how | {"measured": measured}


def _enhanced_image(task: Task, case: Case, device: str) -> tuple[Volume, dict[str, Any]]:
    """The method's image, and how it was made: seconds (without loading weights), weights, first estimate."""
    name, entry = task.entry.method.name, task.entry
    if entry.method.kind == "input":
        return {STANDARD_SCAN: case.standard, TRUTH: case.noise_free}.get(name) or case.low[task.drf], {}
    weights_of(entry)  # read once a process, before the clock starts
    begun = time.perf_counter()
    made = enhanced_by(entry, case.low[task.drf], case.t1, drf=task.drf, device=device, seed=task.seed)
    seconds = time.perf_counter() - begun
    kept = {key: made.settings[key] for key in ("weights", "first_estimate", "steps", "device", "precision")}
    return made.volume, {"seconds": seconds, **kept}


def _measurements(case: Case, image: Volume, task: Task) -> Iterator[_Measurement]:
    """All finite measurements of ``image``."""
    judged = case.judge(image, task.drf)
    mask, axis = case.mask.data > 0, slice_axis(image.affine)
    along = consistency(image.data, case.noise_free.data, mask, axis=axis)
    name = task.entry.method.name
    found = [
        *([] if name == STANDARD_SCAN else _against(STANDARD_SCAN, judged.scores, judged.regions)),
        *([] if name == TRUTH else _against(TRUTH, judged.scores_truth, judged.regions_truth)),
        *_truth(judged),
        (TRUTH, WHOLE_BRAIN, "roughness", along.roughness),
        (TRUTH, WHOLE_BRAIN, "flicker", along.flicker),
        *_own(judged),
    ]
    return ((against, where, metric, float(value)) for against, where, metric, value in found if isfinite(value))


def _against(name: str, scores: Scores | None, table: RegionTable | None) -> Iterator[_Measurement]:
    """Scores and regional biases against one of the two references."""
    if scores is not None:
        for metric in ("psnr", "ssim", "nrmse", "nmae", "bias_percent"):
            yield name, WHOLE_BRAIN, metric, getattr(scores, metric)
    if table is not None:
        yield name, WHOLE_BRAIN, "regional_error_percent", table.mean_absolute_bias_percent
        yield name, WHOLE_BRAIN, "white_matter_cov_ratio", _ratio(table)
        for row in table.rows:
            if row.counted:
                yield name, row.name, "bias_percent", row.bias_percent


def _truth(judged: Evaluation) -> Iterator[_Measurement]:
    """Measures that need the noise-free image: dose equivalence, SUVR, lesions."""
    if judged.dose_equivalence is not None:
        yield TRUTH, WHOLE_BRAIN, "dose_gain", judged.dose_equivalence.gain
    if judged.regions_truth is not None:
        ours, theirs = suvr(judged.regions_truth), suvr(judged.regions_truth, reference=True)
        yield TRUTH, WHOLE_BRAIN, "meta_roi_bias_percent", 100 * (ours.meta_roi - theirs.meta_roi) / theirs.meta_roi
        for region, error in errors_percent(ours, theirs).items():
            yield TRUTH, region, "suvr_bias_percent", error
    for lesion in judged.lesions:
        where = f"{lesion.kind} {lesion.label}"
        yield TRUTH, where, "recovery", lesion.reference_recovery
        yield TRUTH, where, "leakage", lesion.leakage


def _own(judged: Evaluation) -> Iterator[_Measurement]:
    """Measures that need no reference."""
    if judged.regions is None:
        return
    ours = suvr(judged.regions)
    yield NO_REFERENCE, WHOLE_BRAIN, "meta_roi_suvr", ours.meta_roi
    yield NO_REFERENCE, WHOLE_BRAIN, "meta_roi_spared_ratio", ours.spared_ratio
    yield NO_REFERENCE, WHOLE_BRAIN, "white_matter_cov_percent", judged.regions.white_matter_cov_percent
    for region, value in ours.regions.items():
        yield NO_REFERENCE, region, "suvr", value


def _ratio(table: RegionTable) -> float:
    """White-matter CoV over the reference's; below 1 is smoother."""
    reference = table.reference_white_matter_cov_percent
    return table.white_matter_cov_percent / reference if reference else float("nan")


@lru_cache(maxsize=1)
def _case(root: Path, scan: str) -> tuple[bids.Subject, Case]:
    """The session and its images."""
    subject = next(subject for subject in bids.find_subjects(root) if subject.label == scan)
    return subject, Case.load(root, subject)
