"""The BIDS layout of a simulated cohort: who is there, and under which name each image lies.

    participants.tsv                                       person (anatomy), group, ...
    sub-001/anat/sub-001_T1w.nii.gz
    sub-001/pet/sub-001_trc-18FFDG_rec-standard_pet.nii.gz
    sub-001/pet/sub-001_trc-18FFDG_rec-drf20_pet.nii.gz    one a dose
    derivatives/simulation/sub-001/pet/...                 noise-free and true images, regions, brain mask, lesions

Writing and reading share this one file, so that they cannot drift apart.
"""

from __future__ import annotations

import csv
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2diff.errors import BadInput

TRACER = "18FFDG"
DERIVED = ("noisefree", "truth", "regions", "brain", "lesions")
_SUFFIX = {"noisefree": "pet", "truth": "pet", "regions": "dseg", "brain": "mask", "lesions": "dseg"}


@dataclass(frozen=True)
class Subject:
    """One simulated scan session: where its images lie. ``person`` is the anatomy it was made from."""

    label: str
    person: str
    group: str
    t1: Path
    standard: Path
    low: dict[float, Path]
    """Low-dose scans by dose reduction factor."""
    truth: Path | None = None
    noise_free: Path | None = None
    labels: Path | None = None
    mask: Path | None = None
    lesions: Path | None = None
    record: Path | None = None
    """What the simulation recorded: scanner, uptake, lesions."""


def t1_path(root: Path, label: str) -> Path:
    """Where the T1-weighted MRI of ``label`` lies."""
    return root / f"sub-{label}" / "anat" / f"sub-{label}_T1w.nii.gz"


def pet_path(root: Path, label: str, drf: float) -> Path:
    """Where the PET of ``label`` at dose reduction factor ``drf`` lies (1: the standard scan)."""
    rec = "standard" if drf == 1 else f"drf{drf:g}".replace(".", "p")  # BIDS labels hold letters and digits only
    return root / f"sub-{label}" / "pet" / f"sub-{label}_trc-{TRACER}_rec-{rec}_pet.nii.gz"


def derived_path(root: Path, label: str, what: str) -> Path:
    """Where one of ``DERIVED`` lies for ``label``."""
    name = f"sub-{label}_trc-{TRACER}_desc-{what}_{_SUFFIX[what]}.nii.gz"
    return root / "derivatives" / "simulation" / f"sub-{label}" / "pet" / name


def record_path(root: Path, label: str) -> Path:
    """The record of a finished person (scanner, uptake, lesions); it is written last."""
    return derived_path(root, label, "truth").with_name(f"sub-{label}_desc-simulation.json")


def find_subjects(root: Path | str) -> list[Subject]:
    """The finished persons of a cohort, in the order of their labels; refuses a folder that holds none."""
    root = Path(root)
    table = root / "participants.tsv"
    if not table.is_file():
        raise BadInput(f"{root} is no cohort: it has no participants.tsv; make one with `m2diff simulate {root}`.")
    with table.open(newline="") as lines:
        rows = list(csv.DictReader(lines, delimiter="\t"))
    subjects = [_subject(root, row) for row in rows if record_path(root, _label(row)).is_file()]
    if not subjects:
        raise BadInput(f"{root} lists no finished person; run the same `m2diff simulate` again to finish it.")
    return subjects


def _label(row: dict[str, str]) -> str:
    return row["participant_id"].removeprefix("sub-")


def _subject(root: Path, row: dict[str, str]) -> Subject:
    label = _label(row)
    low = {}
    for path in sorted((root / f"sub-{label}" / "pet").glob("*_rec-drf*_pet.nii.gz")):
        match = re.search(r"_rec-drf([0-9p]+)_pet", path.name)
        if match:
            low[float(match[1].replace("p", "."))] = path
    derived = {what: path if (path := derived_path(root, label, what)).is_file() else None for what in DERIVED}
    return Subject(
        label=label,
        person=row.get("anatomy", label),
        group=row.get("group", "unknown"),
        t1=t1_path(root, label),
        standard=pet_path(root, label, 1),
        low=dict(sorted(low.items())),
        truth=derived["truth"],
        noise_free=derived["noisefree"],
        labels=derived["regions"],
        mask=derived["brain"],
        lesions=derived["lesions"],
        record=record_path(root, label),
    )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """A JSON file, whole or not at all."""
    from m2diff.io.atomic import replacing

    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
