"""The group level: a table of all scans of a derivative data set, and its page."""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from m2diff.errors import BadInput
from m2diff.io import atomic
from m2diff.io.bids import write_json, write_tsv

COLUMNS = {
    "participant_id": "the participant",
    "session_id": "the session, n/a where there is none",
    "scan": "the PET's entities",
    "weights": "what enhanced it",
    "dose_reduction_factor": "as stated, n/a where unknown",
    "mri": "whether an MRI was read",
    "alignment": "how well the MRI's folds lie where the PET's do; n/a where nothing was registered",
    "mean_input": "mean of the low-dose scan in the head",
    "mean_enhanced": "mean of the result in the head",
    "change_percent": "the second less the first, in per cent of the first",
    "unit": "of both",
    "warnings": "what the tool remarked",
}


def group(out: Path) -> tuple[Path, list[str]]:
    """Write the table of all scans in ``out``, and its page; returns its path and the unreadable sidecars."""
    sidecars = sorted(out.glob("sub-*/**/*_desc-enhanced_pet.json")) if out.is_dir() else []
    rows, unreadable = [], []
    for path in sidecars:
        try:
            rows.append(_row(json.loads(path.read_text()), path))
        except (ValueError, KeyError, TypeError, OSError):
            unreadable.append(path.name)
    if not rows:
        raise BadInput(f"{out} holds no enhanced scan yet; run the participant level first.")
    with atomic.folder(out) as folder:
        write_tsv(folder / "group_enhanced.tsv", [list(COLUMNS), *(list(row.values()) for row in rows)])
        write_json(folder / "group_enhanced.json", {name: {"Description": text} for name, text in COLUMNS.items()})
        (folder / "reports").mkdir()
        (folder / "reports" / "group.html").write_text(_page(rows), encoding="utf-8")
    return out / "group_enhanced.tsv", unreadable


def _row(sidecar: dict[str, Any], path: Path) -> dict[str, Any]:
    made = sidecar["m2diff"]
    name = path.name.removesuffix("_desc-enhanced_pet.json")
    entities = dict(part.split("-", 1) for part in name.split("_") if "-" in part)
    before, after = made["means"]["input"], made["means"]["enhanced"]
    folds = (made.get("alignment") or {}).get("folds")
    row = {
        "participant_id": f"sub-{entities['sub']}",
        "session_id": f"ses-{entities['ses']}" if "ses" in entities else None,
        "scan": name,
        "weights": made["weights"]["name"],
        "dose_reduction_factor": made["dose_reduction_factor"],
        "mri": "yes" if made["mri"] else "no",
        "alignment": None if folds is None or not math.isfinite(folds) else folds,
        "mean_input": f"{before:.6g}",
        "mean_enhanced": f"{after:.6g}",
        "change_percent": f"{100 * (after / before - 1):.3f}" if before else None,
        "unit": made["unit"],
        "warnings": " ".join(made.get("warnings", [])) or None,
    }
    return {key: "n/a" if value is None else value for key, value in row.items()}


def _page(rows: Sequence[dict[str, Any]]) -> str:
    """The table as a page, each scan linked to its report; large changes are marked."""
    changes = [abs(float(row["change_percent"])) for row in rows if row["change_percent"] != "n/a"]
    limit = max(5.0, 3 * float(np.median(changes))) if changes else 5.0
    head = "".join(f"<th title='{html.escape(meaning)}'>{name}</th>" for name, meaning in COLUMNS.items())
    body = []
    for row in rows:
        change = row["change_percent"]
        loud = " class=loud" if change != "n/a" and abs(float(change)) > limit else ""
        cells = {key: html.escape(str(value)) for key, value in row.items()}
        cells["scan"] = f"<a href='{cells['scan']}_report.html'>{cells['scan']}</a>"
        body.append(f"<tr{loud}>" + "".join(f"<td>{cell}</td>" for cell in cells.values()) + "</tr>")
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>m2diff: all scans</title>"
        "<style>body{font:15px system-ui,sans-serif;margin:2rem}table{border-collapse:collapse}"
        "td,th{border-bottom:1px solid #ccc;padding:.3rem .6rem;text-align:left}.loud{background:#fff0e0}</style>"
        f"<h1>{len(rows)} scans</h1><p>Marked: the mean over the head changed by more than {limit:.1f} %. "
        "For research, not for diagnosis.</p>"
        f"<table><tr>{head}</tr>{''.join(body)}</table></html>\n"
    )
