"""Read one DICOM stack as a Volume (float32, RAS+): slices sorted by place, each with its own slope."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pydicom
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from m2diff.errors import BadInput
from m2diff.io.dicom import index
from m2diff.io.dicom.frames import completed
from m2diff.io.dicom.index import NAMES, Modality, Slice, SliceStack
from m2diff.io.dicom.sidecar import sidecar
from m2diff.io.nifti import SMALLEST
from m2diff.shapes import Affine
from m2diff.volume import Source, Volume

STEP_TOLERANCE, ROUNDED_MM = 0.02, 0.101
"""Share of a step, and mm, by which a slice may miss its place: some headers round to one digit after the point."""

ONE_PLACE_MM = 0.05

UNITS = {"BQML": "Bq/mL", "CNTS": "counts", "GML": "SUV", "1CM": "1/cm", "PROPCPS": "proportional to counts/s"}


@dataclass(frozen=True)
class Series:
    """What the writer of a derived series needs of its source; ``slices`` in the volume's order along k."""

    stack: SliceStack
    slices: tuple[Slice, ...]


def load_series(
    folder: Path | str,
    modality: Modality = "PT",
    *,
    series: str | None = None,
    frame: int | None = None,
    keep_phi: bool = False,
) -> Volume:
    """Read the PET or MRI series of a DICOM folder (or of one enhanced file).

    ``series``: number, UID or part of the description, where several fit. ``frame``: frame (from 1) of a dynamic
    series. ``keep_phi``: the sidecar keeps patient data. Raises BadInput where none or several series fit, slices are
    missing, doubled or unevenly spaced, or pixels are missing, damaged, in colour or not finite.
    """
    what = NAMES[modality]
    with index.damage_explained(what):
        stack = index.choose(folder, modality, series)
        slices = ordered(at_one_time(stack, what, frame=frame), stack, what)
        data, digest = _pixels(slices, stack, what)
        if not np.isfinite(data).all():
            raise BadInput(
                f"The {what} series must hold finite numbers, but has NaN or infinite ones; export it again."
            )
        if float(data.min()) == float(data.max()):
            raise BadInput(f"The {what} series is {data.flat[0]:g} in every voxel and shows nothing; check the series.")
        word = str(stack.header.get("Units", "")) if modality == "PT" else ""
        # Frames differ in duration: use the header of the frame.
        header = None if frame is None else index.header_of(slices[0].path)
        header = stack.header if header is None else completed(header)
        about = sidecar(header, keep_phi=keep_phi)
        if modality == "PT":
            from m2diff.io.suv import timing  # it reads this package's sidecar.py

            about |= timing(header)
        source = Source(Path(what.lower()), digest, np.dtype(np.float32), about, Series(stack, slices))
        return Volume(data, affine(slices, stack), UNITS.get(word, word) or "unknown", ("loaded DICOM",), source)


def frames(stack: SliceStack) -> int:
    """Frames of a series: 1 for a static one."""
    return max(map(len, _places(stack)), default=1)


def _places(stack: SliceStack) -> list[list[Slice]]:
    """The slices of each place; headers of other frames may round the place differently."""
    normal = np.cross(stack.orientation[:3], stack.orientation[3:])
    found: list[list[Slice]] = []
    for piece in sorted(stack.slices, key=lambda piece: float(np.dot(piece.position, normal))):
        if found and math.dist(piece.position, found[-1][0].position) < ONE_PLACE_MM:
            found[-1].append(piece)
        else:
            found.append([piece])
    return found


def at_one_time(stack: SliceStack, what: str, *, frame: int | None) -> list[Slice]:
    """The slices of one frame; BadInput where several share a place and ``frame`` picks none."""
    places = _places(stack)
    counts = {len(pieces) for pieces in places}
    most = max(counts)
    if most == 1:
        if frame not in (None, 1):
            raise BadInput(f"The {what} series has one frame, got --frame {frame}; leave the option out.")
        return list(stack.slices)
    if any(len({piece.when for piece in pieces}) < len(pieces) for pieces in places):
        doubled = sum(len(pieces) > 1 for pieces in places)
        raise BadInput(
            f"The {what} series has {len(stack.slices)} slices at {len(places)} places: {doubled} hold more than "
            "one; export it again, or give a folder that holds it once."
        )
    if counts != {most}:
        short = sum(len(pieces) < most for pieces in places)
        raise BadInput(
            f"The {what} series has up to {most} frames of {len(places)} slices, but {short} places hold fewer: slices "
            "are missing or doubled; export the whole series again."
        )
    if frame is None:
        raise BadInput(f"The {what} series is dynamic: {most} frames of {len(places)} slices; pick one with --frame.")
    if not 1 <= frame <= most:
        raise BadInput(f"The {what} series has frames 1 to {most}, got --frame {frame}; choose one of them.")
    return [sorted(pieces, key=lambda piece: piece.when)[frame - 1] for pieces in places]


def ordered(slices: list[Slice], stack: SliceStack, what: str) -> tuple[Slice, ...]:
    """``slices`` from feet to head (or along their normal), checked for gaps."""
    normal = _normal(stack)
    along = np.array([np.dot(piece.position, normal) for piece in slices])
    order = np.argsort(along, kind="stable")
    steps = np.diff(along[order])
    step = float(np.median(steps))
    if len(slices) < SMALLEST or step <= 0:
        raise BadInput(f"The {what} series must have at least {SMALLEST} slices at different places; got fewer.")
    tolerance = max(STEP_TOLERANCE * step, ROUNDED_MM)
    uneven = np.flatnonzero(np.abs(steps - step) > tolerance)
    if len(uneven):
        at = int(uneven[0])
        missing = f"; {round(steps[at] / step) - 1} slices seem to be missing" if steps[at] > 1.5 * step else ""
        raise BadInput(
            f"The slices of the {what} series must be evenly spaced, but of {len(slices)} slices {step:.3f} mm apart, "
            f"{at + 1} and {at + 2} are {steps[at]:.3f} mm apart{missing}; export the whole series again."
        )
    places = np.array([slices[i].position for i in order])
    line = places[0] + np.linspace(0, 1, len(places))[:, None] * (places[-1] - places[0])
    beside = np.linalg.norm(places - line, axis=1)
    if beside.max() > 2 * tolerance:
        raise BadInput(
            f"The slices of the {what} series must lie in one line, but slice {int(beside.argmax()) + 1} of "
            f"{len(slices)} is {beside.max():.1f} mm off it; export the series again as one stack."
        )
    declared = stack.header.get("NumberOfSlices")
    if declared and len(slices) < int(declared) != len(stack.slices):  # some makers count the slices of all frames
        raise BadInput(
            f"The {what} series says that it has {int(declared)} slices, but {len(slices)} are here; export it again."
        )
    return tuple(slices[i] for i in order)


def _normal(stack: SliceStack) -> npt.NDArray[np.float64]:
    """Along the stack, unit length, to the head where the stack is axial."""
    row, column = np.array(stack.orientation[:3]), np.array(stack.orientation[3:])
    normal = np.cross(row, column)
    length = float(np.linalg.norm(normal))
    if abs(length - 1) > 0.01:
        raise BadInput("The series' rows and columns must be at right angles, but its orientation says otherwise.")
    return normal / length


def affine(slices: tuple[Slice, ...], stack: SliceStack) -> Affine:
    """Voxel (column, row, slice) to world millimetres, RAS+."""
    first, last = np.array(slices[0].position), np.array(slices[-1].position)
    lps = np.eye(4)
    lps[:3, 0] = np.array(stack.orientation[:3]) * stack.spacing[1]
    lps[:3, 1] = np.array(stack.orientation[3:]) * stack.spacing[0]
    lps[:3, 2] = (last - first) / (len(slices) - 1)
    lps[:3, 3] = first
    return np.diag([-1.0, -1.0, 1.0, 1.0]) @ lps


def _pixels(slices: tuple[Slice, ...], stack: SliceStack, what: str) -> tuple[npt.NDArray[np.float32], str]:
    """(i, j, k) in float32, and a hash of all stored pixels with their places and scales."""
    data = np.empty((stack.columns, stack.rows, len(slices)), dtype=np.float32)
    digest = hashlib.sha256()
    opened: Path | None = None
    frames: npt.NDArray[np.generic] = np.empty(0)
    for k, piece in enumerate(slices):
        if piece.path != opened:
            opened, frames = piece.path, stored(piece.path, what, k + 1)
        plane = frames if frames.ndim == 2 else frames[piece.frame]
        if piece.slope == 0 and plane.any():
            raise BadInput(
                f"RescaleSlope of slice {k + 1} of the {what} series is 0, which leaves nothing of it; repair it."
            )
        if plane.shape != (stack.rows, stack.columns):
            raise BadInput(f"Slice {k + 1} of the {what} series must be one grey image of its size; export it again.")
        digest.update(plane.tobytes())
        digest.update(np.array([*piece.position, piece.slope, piece.intercept]).tobytes())
        data[:, :, k] = (plane.astype(np.float64) * piece.slope + piece.intercept).T
    return data, digest.hexdigest()


def stored(path: Path, what: str, number: int) -> npt.NDArray[np.generic]:
    """The stored numbers of a file, (rows, columns) or (frames, rows, columns)."""
    try:
        header = pydicom.dcmread(path, force=True)
        if int(header.get("SamplesPerPixel", 1)) != 1:
            raise BadInput(f"Slice {number} of the {what} series is a colour image; give the original series.")
        if "TransferSyntaxUID" not in header.file_meta:  # a file without preamble
            implicit = header.original_encoding[0]
            header.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
        return np.asarray(header.pixel_array)
    except BadInput:
        raise
    except Exception as trouble:  # decoders raise anything
        raise BadInput(
            f"The pixels of slice {number} of the {what} series are cut off, damaged or packed in a way that cannot be "
            f"read ({type(trouble).__name__}); export it again, uncompressed."
        ) from trouble
