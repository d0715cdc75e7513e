"""The group level: a table of all scans of a derivative data set, and its page."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from m2diff.errors import BadInput
from m2diff.io import atomic, nifti
from m2diff.io.bids import write_json, write_tsv
from m2diff.reporting.group_page import ScanRow, group_html
from m2diff.reporting.thumbnail import thumbnail, thumbnail_path
from m2diff.volume import Volume

SUFFIX = "_desc-enhanced_pet.json"
COLUMNS = {
    "participant_id": "the participant",
    "session_id": "the session, n/a where there is none",
    "scan": "the PET's entities",
    "weights": "what enhanced it",
    "dose_reduction_factor": "as stated, n/a where unknown",
    "mri": "whether an MRI was read",
    "alignment": "how well the MRI's folds lie where the PET's do; n/a where nothing was registered",
    "alignment_handed": "how many times better the MRI fits than its mirror image",
    "alignment_overlap": "how much of the outlines of both heads coincides, 0 to 1",
    "alignment_explained": "share of the PET's variation that the MRI's grey values account for",
    "mean_input": "mean of the low-dose scan in the head",
    "mean_enhanced": "mean of the result in the head",
    "change_percent": "the second less the first, in per cent of the first",
    "unit": "of both",
    "marked": "why this scan should be looked at, n/a where there is no reason",
    "warnings": "what the tool remarked",
}
_USUAL_PERCENT = 5.0  # a change of the mean below is never marked


def group(out: Path, root: Path | None = None, *, progress: bool = False) -> tuple[Path, list[str]]:
    """Write the table of all scans in ``out``, and its page; returns its path and the unreadable sidecars.

    ``root``: the raw data set, for the pictures of scans that were done before the participant level left them.
    """
    from tqdm import tqdm

    sidecars = sorted(out.glob(f"sub-*/**/*{SUFFIX}")) if out.is_dir() else []
    rows, unreadable = [], []
    for path in tqdm(sidecars, desc="group", unit="scan", disable=not progress):
        try:
            told = json.loads(path.read_text())
            row = scan_row(told, path)
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            unreadable.append(path.name)
            continue
        report = out / "reports" / f"{row.name}_report.html"
        link = report.name if report.is_file() else None
        rows.append(replace(row, report=link, thumbnail=_picture(out, path, told, root)))
    if not rows:
        raise BadInput(f"{out} holds no enhanced scan yet; run the participant level first.")
    limit = _limit(rows)
    rows = [replace(row, marks=tuple(_marks(row, limit))) for row in rows]
    with atomic.folder(out) as folder:
        write_tsv(folder / "group_enhanced.tsv", [list(COLUMNS), *map(_cells, rows)])
        write_json(folder / "group_enhanced.json", {name: {"Description": text} for name, text in COLUMNS.items()})
        (folder / "reports").mkdir()
        (folder / "reports" / "group.html").write_text(group_html(rows, limit), encoding="utf-8")
    return out / "group_enhanced.tsv", unreadable


def scan_row(sidecar: dict[str, Any], path: Path) -> ScanRow:
    """What a result's sidecar tells of it."""
    made = sidecar["m2diff"]
    name = path.name.removesuffix(SUFFIX)
    entities = dict(part.split("-", 1) for part in name.split("_") if "-" in part)
    return ScanRow(
        name=name,
        participant=f"sub-{entities['sub']}",
        session=f"ses-{entities['ses']}" if "ses" in entities else None,
        weights=made["weights"]["name"],
        drf=made["dose_reduction_factor"],
        mri=bool(made["mri"]),
        alignment=made.get("alignment") or {},
        mean_input=float(made["means"]["input"]),
        mean_enhanced=float(made["means"]["enhanced"]),
        unit=made["unit"],
        warnings=tuple(made.get("warnings", [])),
    )


def _picture(out: Path, sidecar: Path, told: dict[str, Any], root: Path | None) -> bytes:
    """A scan's small picture; made now and kept where an earlier run left none, empty where that fails."""
    path = thumbnail_path(out, sidecar.name.removesuffix(SUFFIX))
    if path.is_file():
        return path.read_bytes()
    try:
        enhanced = nifti.load(sidecar.with_name(sidecar.name.replace(".json", ".nii.gz")))
        found = thumbnail(enhanced, _low(told, root))
    except (BadInput, OSError, ValueError):
        return b""
    with atomic.replacing(path) as temporary:
        temporary.write_bytes(found)
    return found


def _low(told: dict[str, Any], root: Path | None) -> Volume | None:
    """The low-dose scan of a result, where it is still to be had."""
    source = next(iter(told.get("Sources", [])), "")
    if root is None or not source.startswith("bids:raw:"):
        return None
    try:
        return nifti.load(root / source.removeprefix("bids:raw:"))
    except BadInput:
        return None


def _limit(rows: Sequence[ScanRow]) -> float:
    """The change of the mean (per cent) beyond which a scan is marked: three times the usual one."""
    changes = [abs(row.change_percent) for row in rows if math.isfinite(row.change_percent)]
    return max(_USUAL_PERCENT, 3 * float(np.median(changes))) if changes else _USUAL_PERCENT


def _marks(row: ScanRow, limit: float) -> list[str]:
    """Why a scan should be looked at."""
    found = []
    if abs(row.change_percent) > limit:
        found.append(f"The mean in the head changed by {row.change_percent:+.1f} %; up to {limit:.1f} % is usual here.")
    for reading in row.readings:
        if reading.doubtful:
            found.append(f"The alignment's {reading.word} is {reading.value}. {reading.how}")
    return found


def _cells(row: ScanRow) -> list[Any]:
    """One line of the table, as ``COLUMNS``."""
    told = {f"alignment_{name}": row.alignment.get(name) for name in ("handed", "overlap", "explained")}
    cells = {
        "participant_id": row.participant,
        "session_id": row.session,
        "scan": row.name,
        "weights": row.weights,
        "dose_reduction_factor": row.drf,
        "mri": "yes" if row.mri else "no",
        "alignment": row.alignment.get("folds"),
        **told,
        "mean_input": f"{row.mean_input:.6g}",
        "mean_enhanced": f"{row.mean_enhanced:.6g}",
        "change_percent": f"{row.change_percent:.3f}" if math.isfinite(row.change_percent) else None,
        "unit": row.unit,
        "marked": " ".join(row.marks) or None,
        "warnings": " ".join(row.warnings) or None,
    }
    return ["n/a" if value is None or value != value else value for value in map(cells.__getitem__, COLUMNS)]
