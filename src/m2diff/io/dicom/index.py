"""Find stacks of parallel slices in a DICOM folder, by series and geometry. Only headers are read."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pydicom
from pydicom.dataset import Dataset

from m2diff.errors import BadInput
from m2diff.io.dicom.frames import completed, frames_of, taken
from m2diff.io.nifti import SMALLEST

Modality = Literal["PT", "MR"]
_Found = TypeVar("_Found")
_Group = tuple[str, str, int, int]  # series (of an MRI, with the kind of image), modality, rows, columns
NAMES: dict[str, str] = {"PT": "PET", "MR": "MRI"}
SAME = 1e-3  # direction cosines and voxel sizes (mm) closer than this are the same

MOST_FILES = 200_000
_HEADER_ONLY = 4 << 20  # bytes: private elements of a header can be long, pixels are left where they are


@dataclass(frozen=True)
class Slice:
    """One slice: its file, the frame in it (0 in single-frame files), place and scale."""

    path: Path
    frame: int
    position: tuple[float, float, float]  # of the first voxel's centre, millimetres, LPS
    slope: float
    intercept: float
    when: tuple[float, ...]  # orders the frames of a dynamic series: seconds, or frame number


@dataclass(frozen=True)
class SliceStack:
    """All slices of one series that share orientation and size, not yet sorted by time or place."""

    uid: str
    number: int | None
    description: str
    modality: str
    rows: int
    columns: int
    spacing: tuple[float, float]  # between rows, between columns, millimetres
    orientation: tuple[float, ...]  # six direction cosines, LPS: along a row, along a column
    slices: tuple[Slice, ...] = field(repr=False)
    header: Dataset = field(repr=False)  # of the earliest file, without its pixels
    name: str = ""  # for ``--series``: its number, with a second one (3:2) where several stacks share it

    @property
    def label(self) -> str:
        """What a user can recognise it by (number, description, kind, size), without patient data."""
        number = "without number" if self.name == "none" else self.name
        description = f" '{self.description}'" if self.description else ""
        kind = self.uid.partition("/")[2].replace("/", " ").strip()
        kind = f" ({kind})" if kind and ":" in self.name else ""
        size = f"{len(self.slices)} slices of {self.columns} x {self.rows}"
        return f"series {number}{description}{kind}: {self.modality}, {size}"


def is_dicom(path: Path | str) -> bool:
    """True for a folder, and for a file with DICOM's mark (or, without it, with a DICOM header at its start)."""
    path = Path(path)
    if path.is_dir():
        return True
    try:
        with path.open("rb") as handle:
            start = handle.read(132)
    except OSError:
        return False
    # Without a preamble, it begins with an element of group 0002 or 0008, in little or big endian.
    bare = start[:2] in (b"\x02\x00", b"\x08\x00", b"\x00\x08") and len(start) >= 8
    return start[128:] == b"DICM" or bare


def find_stacks(folder: Path | str) -> list[SliceStack]:
    """The stacks in ``folder`` and below, or in one file; stray files are passed over."""
    folder = Path(folder)
    groups: dict[_Group, list[tuple[tuple[float, ...], list[tuple[Dataset, Slice]]]]] = defaultdict(list)
    for path in _files(folder):
        header = header_of(path)
        if header is None:
            continue
        for key, geometry, piece in _slices(header, path):
            members = next((same for there, same in groups[key] if np.allclose(there, geometry, atol=SAME)), None)
            if members is None:
                groups[key].append((geometry, members := []))
            members.append((header, piece))
    stacks = [_stack(key, *group) for key, found in groups.items() for group in found]
    stacks.sort(key=lambda stack: (stack.number is None, stack.number or 0, stack.uid, -len(stack.slices)))
    return _told_apart(stacks)


def _told_apart(stacks: list[SliceStack]) -> list[SliceStack]:
    """The same stacks with unique names: several may share one number or one series."""
    shared = Counter((stack.modality, stack.number) for stack in stacks)
    seen: Counter[tuple[str, int | None]] = Counter()
    found = []
    for stack in stacks:
        key = stack.modality, stack.number
        seen[key] += 1
        number = "none" if stack.number is None else f"{stack.number}"
        found.append(replace(stack, name=number if shared[key] == 1 else f"{number}:{seen[key]}"))
    return found


def choose(folder: Path | str, modality: Modality, series: str | None = None) -> SliceStack:
    """The stack of ``modality``; ``series``: number, UID or part of the description. BadInput unless just one fits."""
    what, stacks = NAMES[modality], find_stacks(folder)
    if not stacks:
        raise BadInput(
            f"The {what} folder {folder} holds no DICOM image that says where it lies (ImagePositionPatient, "
            "ImageOrientationPatient, PixelSpacing); give the folder that the scanner exported."
        )
    fitting = [stack for stack in stacks if stack.modality == modality and len(stack.slices) >= SMALLEST]
    if series is not None:
        fitting = _named(fitting, series)
    elif len(fitting) > 1:  # ignore our own results in the study's folder
        fitting = [stack for stack in fitting if not _ours(stack)] or fitting
    if len(fitting) == 1:
        return fitting[0]
    asked = "" if series is None else f" that is called {series!r}"
    if not fitting:
        there = _listed(stacks)
        raise BadInput(f"The folder holds no {what} series of at least {SMALLEST} slices{asked}, but: {there}.")
    option, others = "--series" if modality == "PT" else "--mri-series", [s for s in stacks if s not in fitting]
    also = f" (also there: {_listed(others)})" if others else ""
    raise BadInput(
        f"The folder holds {len(fitting)} {what} series{asked}; pick one with {option}: {_listed(fitting)}{also}."
    )


def _listed(stacks: list[SliceStack]) -> str:
    return "; ".join(stack.label for stack in stacks[:20]) + ("; ..." if len(stacks) > 20 else "")


def _named(stacks: list[SliceStack], series: str) -> list[SliceStack]:
    """Stacks with this number or UID, else those with this description, else those whose description contains it."""
    if series.isdecimal():  # a number never falls back to the descriptions
        return [stack for stack in stacks if stack.number == int(series)]
    wanted = " ".join(series.lower().split())
    exact = [stack for stack in stacks if series in (stack.name, stack.uid, stack.uid.partition("/")[0])]
    same = [stack for stack in stacks if stack.description.lower() == wanted]
    return exact or same or [stack for stack in stacks if wanted in stack.description.lower()]


def _ours(stack: SliceStack) -> bool:
    """Whether a series is a result of this tool."""
    tools = stack.header.get("ContributingEquipmentSequence") or []
    return any(str(tool.get("Manufacturer", "")) == "m2diff" for tool in tools)


def _files(folder: Path) -> Iterator[Path]:
    """Every file below ``folder``, sorted; links to folders are not followed."""
    if not folder.exists():
        raise BadInput(f"{folder} does not exist; check the path.")
    if folder.is_file():
        yield folder
        return
    count = 0
    for root, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root) / name
            count += 1
            if count > MOST_FILES:
                raise BadInput(f"{folder} holds more than {MOST_FILES} files; give the folder of one study.")
            if path.is_file():
                yield path


def header_of(path: Path) -> Dataset | None:
    """A file's header without pixels; None for what is no DICOM image or cannot be read."""
    try:
        if not is_dicom(path):
            return None
        header = pydicom.dcmread(path, stop_before_pixels=True, force=True, defer_size=_HEADER_ONLY)
        return header if "Rows" in header and "SeriesInstanceUID" in header else None
    except Exception:  # pydicom raises whatever damaged bytes provoke
        return None


@contextmanager
def damage_explained(what: str) -> Iterator[None]:
    """Turn what pydicom raises on a damaged header into one BadInput; refusals and a full disk pass through."""
    try:
        yield
    except (BadInput, OSError):
        raise
    except Exception as trouble:
        raise BadInput(
            f"A header of the {what} series is damaged ({type(trouble).__name__}); export the series again."
        ) from trouble


def _slices(header: Dataset, path: Path) -> list[tuple[_Group, tuple[float, ...], Slice]]:
    """(group, orientation and spacing, slice) of every frame; empty where a frame does not say where it lies."""
    found = []
    try:
        uid, modality = str(header.SeriesInstanceUID), str(header.get("Modality", ""))
        if modality == "MR":  # some makers put phase, water and fat, or echoes into one series
            kind = [str(word) for word in header.get("ImageType", None) or []][2:]
            uid += "".join(f"/{word}" for word in (*kind, header.get("EchoTime", "")))
        rows, columns = int(header.Rows), int(header.Columns)
        for number, frame in enumerate(frames_of(header)):
            geometry = (*_numbers(frame.orientation, 6), *_numbers(frame.spacing, 2))
            if not np.isfinite([frame.slope, frame.intercept]).all() or min(geometry[6:]) <= 0:
                return []
            x, y, z = _numbers(frame.position, 3)
            piece = Slice(path, number, (x, y, z), frame.slope, frame.intercept, frame.when)
            found.append(((uid, modality, rows, columns), geometry, piece))
    except Exception:  # pydicom raises whatever damaged bytes provoke
        return []
    return found


def _numbers(values: Any, count: int) -> list[float]:
    numbers = [float(value) for value in values]
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise ValueError(f"expected {count} numbers")
    return numbers


def _stack(key: _Group, geometry: tuple[float, ...], members: list[tuple[Dataset, Slice]]) -> SliceStack:
    uid, modality, rows, columns = key
    # The earliest gives the times: slices of one series may be acquired one after the other.
    first = min((header for header, _ in members), key=lambda header: _readable(lambda: taken(header), 0.0))
    number: int | None = _readable(lambda: int(first.SeriesNumber), None)
    description = _readable(lambda: " ".join(str(first.get("SeriesDescription", "") or "").split())[:64], "")
    return SliceStack(
        uid=uid,
        number=number,
        description="".join(c for c in description if c.isprintable()),
        modality=modality,
        rows=rows,
        columns=columns,
        spacing=(geometry[6], geometry[7]),
        orientation=geometry[:6],
        slices=tuple(piece for _, piece in members),
        header=_readable(lambda: completed(first), first),
    )


def _readable(read: Callable[[], _Found], otherwise: _Found) -> _Found:
    """What ``read`` finds in a header; ``otherwise`` where damage keeps it from being read."""
    try:
        return read()
    except Exception:  # pydicom raises whatever damaged bytes provoke
        return otherwise
