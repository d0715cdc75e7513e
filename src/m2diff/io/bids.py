"""The BIDS layout of a cohort for training and comparison.

    participants.tsv                                       person (anatomy), group, ...
    sub-001/anat/sub-001_T1w.nii.gz
    sub-001/pet/sub-001_trc-18FFDG_rec-standard_pet.nii.gz
    sub-001/pet/sub-001_trc-18FFDG_rec-drf20_pet.nii.gz    one a dose
    derivatives/simulation/sub-001/pet/...                 noise-free and true images, regions, brain mask, lesions

Real scans need a ``rec-standard`` scan and ``rec-drfN`` scans of the same session and run (``docs/recipes``); the MRI
may be missing, and they have no ``derivatives``.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from m2diff.errors import BadInput
from m2diff.io.atomic import replacing
from m2diff.io.bids_scans import PetSession, find_scans
from m2diff.io.sidecar import tracer_in

BIDS_VERSION = "1.10.0"

FDG = "18FFDG"  # ``trc-`` label of FDG scans
TEMPLATE = "MNI152"  # anatomy of persons warped from the bundled template
DERIVED = ("noisefree", "truth", "regions", "brain", "lesions")
_DRF = re.compile(r"drf([0-9]+(?:p[0-9]+)?)")
_TEMPLATE_PERSON = re.compile(TEMPLATE + r"-seed[0-9]+-[0-9]+")
_SUFFIX = {"noisefree": "pet", "truth": "pet", "regions": "dseg", "brain": "mask", "lesions": "dseg"}


@dataclass(frozen=True)
class Subject:
    """One scan session: where its images lie. ``person``: whose; simulated: source anatomy or ``template_person``."""

    label: str
    person: str
    group: str
    t1: Path | None
    standard: Path
    low: dict[float, Path]  # low-dose scans by dose reduction factor
    truth: Path | None = None
    noise_free: Path | None = None
    labels: Path | None = None
    mask: Path | None = None
    lesions: Path | None = None
    record: Path | None = None
    """What the simulation recorded: scanner, uptake, lesions; None for a real scan, whose MRI may lie elsewhere."""


def template_person(seed: int, number: int) -> str:
    """The name of person ``number`` (from 1) of a cohort of ``seed`` that was warped from the bundled template.

    The two decide shape, contrast and noise: the same name in two cohorts counts as the same person.
    """
    return f"{TEMPLATE}-seed{seed}-{number:03d}"


def of_template(person: str) -> bool:
    """Whether ``person`` was warped from the bundled template; its bare name stands for an unknown one of them."""
    return person == TEMPLATE or _TEMPLATE_PERSON.fullmatch(person) is not None


def t1_path(root: Path, label: str) -> Path:
    """Where the T1-weighted MRI of ``label`` lies."""
    return root / f"sub-{label}" / "anat" / f"sub-{label}_T1w.nii.gz"


def pet_path(root: Path, label: str, drf: float, trc: str = FDG) -> Path:
    """Where the PET of ``label`` at dose reduction factor ``drf`` lies (1: the standard scan); ``trc``: its tracer."""
    return root / f"sub-{label}" / "pet" / f"sub-{label}_trc-{trc}_rec-{rec(drf)}_pet.nii.gz"


def rec(drf: float) -> str:
    """The label of ``rec-`` for a dose reduction factor, to six digits; 1 is the standard scan."""
    digits = f"{Decimal(f'{drf:g}'):f}"  # no exponent: BIDS labels hold letters and digits only
    return "standard" if drf == 1 else f"drf{digits}".replace(".", "p")


def drf_of(label: str | None) -> float | None:
    """The dose reduction factor that a label of ``rec-`` states; None where it states none."""
    match = _DRF.fullmatch(label or "")
    return 1.0 if label == "standard" else float(match[1].replace("p", ".")) if match else None


def derived_path(root: Path, label: str, what: str, trc: str = FDG) -> Path:
    """Where one of ``DERIVED`` lies for ``label``."""
    return _derived(root, label) / f"sub-{label}_trc-{trc}_desc-{what}_{_SUFFIX[what]}.nii.gz"


def record_path(root: Path, label: str) -> Path:
    """The record of a finished person (scanner, uptake, lesions); it is written last."""
    return _derived(root, label) / f"sub-{label}_desc-simulation.json"


def _derived(root: Path, label: str) -> Path:
    return root / "derivatives" / "simulation" / f"sub-{label}" / "pet"


def tracer_of(subject: Subject) -> str | None:
    """The tracer that the sidecar of a session's standard scan names; None where there is none or it names none."""
    sidecar = subject.standard.with_name(subject.standard.name.split(".")[0] + ".json")
    try:
        return tracer_in(json.loads(sidecar.read_text()))
    except (OSError, ValueError):
        return None


def find_subjects(root: Path | str) -> list[Subject]:
    """The finished sessions of a cohort, in the order of their labels; refuses a folder that holds none."""
    root = Path(root)
    rows, seed = _participants(root), _template_seed(root)
    subjects = [_simulated(root, *each, seed) for each in rows.items() if record_path(root, each[0]).is_file()]
    if subjects:
        return subjects
    if (root / "derivatives" / "simulation").is_dir():
        raise BadInput(f"{root} lists no finished person; run the same `m2diff simulate` again to finish it.")
    return _real(root, rows)


def _participants(root: Path) -> dict[str, dict[str, str]]:
    """The rows of participants.tsv by label; none where there is no such table."""
    table = root / "participants.tsv"
    if not table.is_file():
        return {}
    with table.open(newline="") as lines:
        rows = [row for row in csv.DictReader(lines, delimiter="\t") if row.get("participant_id")]
    return {row["participant_id"].removeprefix("sub-"): row for row in rows}


def _template_seed(root: Path) -> int | None:
    """The seed of a cohort that was made from the bundled template; None of any other, or where it is not recorded."""
    try:
        recipe = json.loads((root / "dataset_description.json").read_text())["M2diffRecipe"]
        return int(recipe["seed"]) if recipe["anatomies"] is None else None
    except (OSError, ValueError, TypeError, LookupError):
        return None


def _real(root: Path, people: dict[str, dict[str, str]]) -> list[Subject]:
    """Sessions of real scans by their names: those with a standard scan and at least one of a lower dose."""
    doses: dict[str, dict[float, PetSession]] = {}
    for scan in find_scans(root) if any(root.glob("sub-*")) else []:
        drf = drf_of(scan.entities.get("rec"))
        if drf is not None:
            session = "_".join(f"{key}-{value}" for key, value in scan.entities.items() if key != "rec")
            doses.setdefault(session.removeprefix("sub-"), {})[drf] = scan
    subjects = [
        Subject(
            label=label,
            person=people.get(scans[1.0].subject, {}).get("anatomy") or scans[1.0].subject,
            group=people.get(scans[1.0].subject, {}).get("group") or "unknown",
            t1=scans[1.0].mri,
            standard=scans[1.0].pet,
            low={drf: scan.pet for drf, scan in sorted(scans.items()) if drf != 1.0},
        )
        for label, scans in sorted(doses.items())
        if 1.0 in scans and len(scans) > 1
    ]
    if not subjects:
        raise BadInput(
            f"{root} is no cohort: it holds no session with a rec-standard and a rec-drfN PET scan; make one with "
            f"`m2diff simulate` or `m2diff convert`."
        )
    return subjects


def _simulated(root: Path, label: str, row: dict[str, str], seed: int | None) -> Subject:
    person = row.get("anatomy", label)
    if person == TEMPLATE and seed is not None and label.isdecimal():
        person = template_person(seed, int(label))
    low, trc = {}, FDG
    for path in sorted((root / f"sub-{label}" / "pet").glob("*_rec-drf*_pet.nii.gz")):
        drf = drf_of(path.name.partition("_rec-")[2].partition("_")[0])
        if drf is not None:
            low[drf] = path
            trc = path.name.partition("_trc-")[2].partition("_")[0]
    derived = {what: path if (path := derived_path(root, label, what, trc)).is_file() else None for what in DERIVED}
    return Subject(
        label=label,
        person=person,
        group=row.get("group", "unknown"),
        t1=t1_path(root, label),
        standard=pet_path(root, label, 1, trc),
        low=dict(sorted(low.items())),
        truth=derived["truth"],
        noise_free=derived["noisefree"],
        labels=derived["regions"],
        mask=derived["brain"],
        lesions=derived["lesions"],
        record=record_path(root, label),
    )


def write_tsv(path: Path, lines: Iterable[Sequence[str]]) -> None:
    """A table of tab-separated values, whole or not at all."""
    from m2diff.io.atomic import replacing

    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(lines)
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")


def write_json(path: Path, content: dict[str, Any]) -> None:
    """A JSON file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")
