"""Visits as a BIDS data set, which `m2diff train`, `m2diff bids` and every other BIDS tool read.

    OUT/dataset_description.json, participants.tsv
    OUT/sub-01/[ses-1/]pet/sub-01_..._trc-18FFDG_rec-standard_pet.nii.gz and .json, rec-drfN beside it
    OUT/sub-01/[ses-1/]anat/sub-01_[ses-1_]T1w.nii.gz

What is there is not made again. Names, numbers and dates of patients stay out unless they are kept on purpose.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from m2diff.errors import BadInput
from m2diff.io import atomic, nifti
from m2diff.io.bids import BIDS_VERSION, rec, write_json, write_tsv
from m2diff.io.reconstruction import without_reconstruction
from m2diff.io.sidecar import without_phi
from m2diff.layouts.visit import Visit
from m2diff.volume import Volume

_KEY = "m2diffSource"
"""Key of a PET's sidecar: a hash of the scan's source, so that no other scan is taken for it."""


def write_bids(
    visits: Iterable[Visit],
    out: Path,
    *,
    source: str,
    factors: Sequence[float] = (),
    keep_phi: bool = False,
    progress: bool = False,
) -> tuple[int, list[tuple[str, str]]]:
    """Write every visit below ``out``; returns how many there were, and the name and reason of each that failed.

    ``factors``: doses to simulate for a visit with a standard scan alone. ``source``: the layout's name.
    """
    from tqdm import tqdm

    first = next(visits := iter(visits), None)
    if first is None:
        return 0, []
    _describe(out, source)
    people: dict[str, Mapping[str, str]] = {}
    failures, count = [], 0
    for visit in tqdm(chain([first], visits), desc="convert", unit="scan", disable=not progress):
        count += 1
        try:
            _write(visit, out, factors, keep_phi)
            people.setdefault(visit.entities["sub"], visit.about)
        except BadInput as refusal:
            failures.append((_name(visit), " ".join(str(refusal).split())))
    _participants(out, people)
    return count, failures


def _write(visit: Visit, out: Path, factors: Sequence[float], keep_phi: bool) -> None:
    """The missing images of one visit, the MRI last, so that a bad one costs nothing else."""
    for key, label in visit.entities.items():
        check_label(key, label)
    made_from = hashlib.sha256(visit.key.encode()).hexdigest()[:16]
    folder = out / f"sub-{visit.entities['sub']}"
    if "ses" in visit.entities:
        folder /= f"ses-{visit.entities['ses']}"
    anatomy = folder / "anat" / f"{_name(visit, only=('sub', 'ses'))}_T1w.nii.gz"

    def place(drf: float) -> Path:
        return folder / "pet" / f"{_name(visit, rec=rec(drf))}_pet.nii.gz"

    for drf, read in visit.doses.items():
        if place(drf).is_file():
            if nifti.read_sidecar(place(drf)).get(_KEY) != made_from:
                raise BadInput(f"{place(drf).name} is there already and comes from another scan; use another label.")
            continue
        scan = read()
        nifti.save(scan, place(drf), sidecar={**_about(visit, scan, drf, keep_phi), _KEY: made_from})
    missing = [drf for drf in factors if not place(drf).is_file()] if set(visit.doses) == {1.0} else []
    if missing:
        from m2diff.simulation.lower_dose import lower_dose

        for drf, low in lower_dose(place(1.0), factors).items():  # all at once, so that the doses are nested
            about = without_reconstruction(_about(visit, low, drf, keep_phi)) | {"Simulated": True, _KEY: made_from}
            nifti.save(low, place(drf), sidecar=about)
    if visit.mri is not None and not anatomy.is_file():
        mri = visit.mri()
        nifti.save(mri, anatomy, sidecar={"Modality": "MR", **_kept(mri, keep_phi)})


def check_label(key: str, label: str) -> None:
    """Refuse what BIDS does not allow as a label; file names are made of it."""
    if not re.fullmatch(r"[A-Za-z0-9]+", str(label)):
        raise BadInput(f"A label of {key}- has plain letters and digits only, got {label!r}; correct it.")


def _about(visit: Visit, scan: Volume, drf: float, keep_phi: bool) -> dict[str, Any]:
    """The sidecar of a PET image."""
    about = {"Modality": "PT", **visit.sidecar, **_kept(scan, keep_phi)}
    if scan.unit != "unknown":
        about["Units"] = scan.unit
    return {**about, "DoseReductionFactor": drf}


def _kept(volume: Volume, keep_phi: bool) -> dict[str, Any]:
    said = {} if volume.source is None else volume.source.sidecar
    return dict(said if keep_phi else without_phi(said))


def _name(visit: Visit, *, only: Sequence[str] = (), **more: str) -> str:
    """The entities in BIDS's order."""
    order = ("sub", "ses", "task", "trc", "rec", "run")
    entities = {**visit.entities, **more}
    return "_".join(f"{key}-{entities[key]}" for key in order if key in entities and (not only or key in only))


def _describe(out: Path, source: str) -> None:
    """The data set's description; refuses a folder that holds something else."""
    path = out / "dataset_description.json"
    if path.is_file():
        try:
            earlier = json.loads(path.read_text()).get("SourceLayout")
        except (ValueError, AttributeError) as trouble:
            raise BadInput(f"{path} is not readable JSON; correct it or choose an empty folder.") from trouble
        if earlier != source:
            raise BadInput(f"{out} already holds another data set; choose an empty folder for this one.")
        return
    if out.is_dir() and any(out.iterdir()):
        raise BadInput(f"{out} is not empty and no earlier result of this command; choose an empty folder.")
    made = {
        "Name": f"converted from {source} by m2diff",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "raw",
        "SourceLayout": source,
        "GeneratedBy": [{"Name": "m2diff"}],
    }
    write_json(path, made)
    with atomic.replacing(out / "README") as readme:
        readme.write_text(
            f"PET scans and MRIs, brought from {source} into BIDS by `m2diff convert`. rec-standard is the "
            "standard-dose scan, rec-drfN one of an N-th of its dose.\n"
        )


def _participants(out: Path, people: Mapping[str, Mapping[str, str]]) -> None:
    table = out / "participants.tsv"
    if table.is_file():  # keeps the people of earlier calls
        with table.open(newline="") as lines:
            earlier = list(csv.DictReader(lines, delimiter="\t"))
        rows_before = {row.pop("participant_id", "").removeprefix("sub-"): row for row in earlier}
        people = {
            label: {**rows_before.get(label, {}), **people.get(label, {})} for label in rows_before | dict(people)
        }
    columns = sorted({key for about in people.values() for key in about})
    rows = [[f"sub-{label}", *(about.get(key, "n/a") for key in columns)] for label, about in sorted(people.items())]
    write_tsv(table, [["participant_id", *columns], *rows])
    if columns:
        known = {key: {"Description": text} for key, text in _COLUMNS.items() if key in columns}
        write_json(out / "participants.json", known)


_COLUMNS = {
    "anatomy": "person, where several participants are one; splits go by it",
    "group": "diagnostic group, as the source states it",
    "split": "part of the source that it stood in",
}
