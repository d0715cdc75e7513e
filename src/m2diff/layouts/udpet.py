"""The ultra-low-dose PET challenge (UDPET): one folder a person, in it one image a dose.

    PERSON/DRF_20.nii.gz   D20.nii.gz   1-20 dose.nii.gz      a twentieth of the dose, Bq/mL
    PERSON/NORMAL.nii.gz   Full_dose.nii.gz                   the standard scan
    PERSON/2.886 x 600 WB DRF_20/*.dcm                        the same as DICOM folders, as both scanners export them

Scans show the whole body, without an MRI. ``_TOP_MM`` below the top of the head are kept, the same in every dose.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from m2diff.errors import BadInput
from m2diff.io.load import ENDINGS, load_image
from m2diff.layouts.visit import Visit
from m2diff.volume import Volume

_TOP_MM, _MARGIN_MM = 260.0, 20.0
"""A head and some neck; and a margin above it."""
_LOW = re.compile(r"(?:^|[\s_.-])(?:DRF|D)[\s_-]?(\d+)(?=$|[\s_.-])|(?:^|[\s_])1[-_/](\d+)[\s_]*dose", re.IGNORECASE)
_FULL = re.compile(r"(?:^|[\s_.-])(?:normal|full[\s_-]?dose)(?=$|[\s_.-])", re.IGNORECASE)


def dose_of(name: str) -> float | None:
    """The DRF that the name of a file or folder states, 1 for a standard scan; None for neither."""
    found = _LOW.search(name)
    if found:
        return float(found[1] or found[2])
    return 1.0 if _FULL.search(name) else None


def recognises(root: Path) -> bool:
    """Whether some folder of ``root`` holds images named by their dose."""
    return any(1.0 in found and len(found) > 1 for found in map(_doses, _people(root)))


def visits(root: Path, factors: Sequence[float] = ()) -> Iterator[Visit]:
    """Every person with a standard scan; ``factors`` chooses among the doses."""
    for person in _people(root):
        found = _doses(person)
        if 1.0 not in found:
            continue
        kept = {drf: path for drf, path in sorted(found.items()) if drf == 1.0 or not factors or drf in factors}
        doses = {drf: partial(head_of, path, found[1.0]) for drf, path in kept.items()}
        # Folders are named after people and days. A hash hides the name and, unlike a number, never changes.
        name = person.relative_to(root).as_posix()
        label = hashlib.sha256(name.encode()).hexdigest()[:8]
        about = {"Units": "Bq/mL", "TracerName": "FDG", "TracerRadionuclide": "F18"}
        yield Visit(f"udpet {name}", {"sub": label, "trc": "18FFDG"}, doses, sidecar=about)


def head_of(path: Path, standard: Path) -> Volume:
    """The slices of the scan at ``path`` that hold the head in the person's standard scan."""
    whole = _standard(standard)
    volume = whole if path == standard else load_image(path)
    if not volume.same_grid(whole):
        raise BadInput(f"{path.name} and {standard.name} must share one grid, but do not; check that folder.")
    axis = int(np.argmax(np.abs(volume.affine[2, :3])))
    slices = _slices(whole, axis)
    data = np.moveaxis(np.moveaxis(volume.data, axis, 0)[slices], 0, axis)
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, axis] * slices.start
    return Volume(data, affine, volume.unit, (*volume.history, "head only"), volume.source)


@lru_cache(maxsize=1)
def _standard(path: Path) -> Volume:
    """The standard scan, kept for the person's other doses."""
    return load_image(path)


def _slices(whole: Volume, axis: int) -> slice:
    """The head's slices along ``axis``: from just above the uppermost activity down."""
    edge, size = whole.voxel_size[axis], whole.shape[axis]
    if size * edge <= _TOP_MM + _MARGIN_MM:
        return slice(0, size)
    activity = np.maximum(whole.data, 0).sum(axis=tuple(a for a in range(3) if a != axis))
    hot = np.flatnonzero(activity > 0.05 * np.percentile(activity, 95))
    length, margin = round(_TOP_MM / edge), round(_MARGIN_MM / edge)
    if whole.affine[2, axis] > 0:  # the head is at the end
        top = min(int(hot[-1]) + margin + 1, size)
        return slice(max(top - length, 0), top)
    top = max(int(hot[0]) - margin, 0)
    return slice(top, min(top + length, size))


def _people(root: Path) -> list[Path]:
    """Folders at any depth below ``root`` that hold images named by their dose."""
    folders = [root, *sorted(path for path in root.rglob("*") if path.is_dir())]
    return [folder for folder in folders if _doses(folder)]


def _doses(person: Path) -> dict[float, Path]:
    """Images of a person by their dose, NIfTI before DICOM."""
    found: dict[float, Path] = {}
    for path in sorted(person.iterdir(), key=lambda path: (path.is_dir(), path.name)):
        if path.is_file() and not path.name.lower().endswith(ENDINGS):
            continue
        name = path.name if path.is_dir() else re.sub(r"\.(nii|nii\.gz|img|hdr)$", "", path.name, flags=re.IGNORECASE)
        drf = dose_of(name)
        if drf is not None and (path.is_file() or any(entry.is_file() for entry in path.iterdir())):
            found.setdefault(drf, path)
    return found
