r"""A result as a derived DICOM series beside the input's study.

Each slice is a copy of its source's header with other pixels: same patient, study, frame of reference and geometry;
the quantitative elements (units, decay, radiopharmaceutical, makers' private factors) stay as they were. New are the
series, the instances, DERIVED\SECONDARY, what was done, and from which images. A slope a slice uses all 16 bits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from m2diff.errors import BadInput
from m2diff.io.dicom.index import Slice, explained
from m2diff.io.dicom.read import Series
from m2diff.volume import Volume

NOT_FOR_DIAGNOSIS = "NOT FOR DIAGNOSIS"
_STALE = (
    "SmallestImagePixelValue", "LargestImagePixelValue", "SmallestPixelValueInSeries", "LargestPixelValueInSeries",
    "PixelPaddingValue", "PixelPaddingRangeLimit", "WindowCenterWidthExplanation", "VOILUTSequence",
    "IconImageSequence", "DigitalSignaturesSequence", "MACParametersSequence", "OriginalAttributesSequence",
    "RealWorldValueMappingSequence", "ReferencedImageEvidenceSequence", "LossyImageCompressionRatio",
    "LossyImageCompressionMethod",
)  # fmt: skip
"""Elements that describe the source's own pixels."""


@dataclass(frozen=True)
class Derivation:
    """What the new series says of itself. ``identity`` decides its UIDs: the same work gives the same series."""

    method: str
    """Of the description: at most 40 characters are kept."""
    description: str
    identity: str
    version: str
    offset: int = 0
    """Among the derived series of one work."""


def write(volume: Volume, folder: Path, derivation: Derivation) -> list[Path]:
    """Write ``volume`` as a series derived from the DICOM series it was read from; returns the files.

    ``volume`` must lie on that series' grid and in its unit. Values are kept to one part in 65,535 of the largest in
    their slice. Raises BadInput where ``volume`` did not come from DICOM.
    """
    series = volume.source.series if volume.source else None
    if not isinstance(series, Series):
        raise BadInput("A DICOM series can only be derived from a DICOM input; give the scanner's folder.")
    folder.mkdir(parents=True, exist_ok=True)
    with explained("input"):
        return _write(volume, series, folder, derivation)


def _write(volume: Volume, series: Series, folder: Path, derivation: Derivation) -> list[Path]:
    stack = series.stack
    uid = generate_uid(entropy_srcs=[stack.uid, derivation.identity, str(derivation.offset), "series"])
    planes = [np.ascontiguousarray(volume.data[:, :, k].T, dtype=np.float64) for k in range(volume.shape[2])]
    if len({piece.path for piece in series.slices}) == 1:
        paths = [_multi_frame(series.slices, planes, folder, uid, derivation)]
    else:
        paths = [
            _single(piece, plane, folder, number, uid, derivation, signed=bool(volume.data.min() < 0))
            for number, (piece, plane) in enumerate(zip(series.slices, planes, strict=True), start=1)
        ]
    return paths


def _single(
    piece: Slice, plane: np.ndarray, folder: Path, number: int, uid: str, derivation: Derivation, *, signed: bool
) -> Path:
    """One file of one slice; its name is its number."""
    header = _derived(piece.path, uid, derivation)
    stored, slope = packed(plane, signed=signed)
    header.RescaleSlope, header.RescaleIntercept = _decimal(slope), "0"
    header.InstanceNumber = header.get("InstanceNumber") or str(number)
    _set_pixels(header, stored, signed=signed)
    peak = float(plane.max())
    header.WindowCenter, header.WindowWidth = _decimal(peak / 2 or 0.5), _decimal(max(peak, 1e-6))
    return _saved(header, folder / f"{number:05d}.dcm")


def _multi_frame(
    slices: Sequence[Slice], planes: Sequence[np.ndarray], folder: Path, uid: str, derivation: Derivation
) -> Path:
    """One enhanced file that holds all slices, in the volume's order."""
    header = _derived(slices[0].path, uid, derivation)
    signed = any(float(plane.min()) < 0 for plane in planes)
    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    old = header.PerFrameFunctionalGroupsSequence
    transform = shared.get("PixelValueTransformationSequence") or old[0].get("PixelValueTransformationSequence")
    kind = transform[0].get("RescaleType", "US") if transform else "US"
    for name in ("PixelValueTransformationSequence", "RealWorldValueMappingSequence", "FrameVOILUTSequence"):
        if name in shared:
            del shared[name]
    groups, frames = [], []
    for piece, plane in zip(slices, planes, strict=True):
        group = old[piece.frame]
        stored, slope = packed(plane, signed=signed)
        scale = Dataset()
        scale.RescaleIntercept, scale.RescaleSlope, scale.RescaleType = "0", _decimal(slope), kind
        group.PixelValueTransformationSequence = Items([scale])
        for name in ("RealWorldValueMappingSequence", "FrameVOILUTSequence"):
            if name in group:
                del group[name]
        groups.append(group)
        frames.append(stored)
    header.PerFrameFunctionalGroupsSequence = Items(groups)
    header.NumberOfFrames = len(groups)
    _set_pixels(header, np.stack(frames), signed=signed)
    return _saved(header, folder / "00001.dcm")


def _saved(header: Any, path: Path) -> Path:
    """Write one file; elements of the source that no file can hold (a maker's nonsense) are left out."""
    try:
        header.save_as(path, enforce_file_format=True)
    except OSError:
        raise
    except Exception:  # pydicom raises whatever an element's value provokes
        for tag in [element for element in list(header.keys()) if not _storable(header, element)]:
            del header[tag]
        header.save_as(path, enforce_file_format=True)
    return path


def _storable(header: Any, tag: Any) -> bool:
    """Whether one element can be written at all."""
    alone = Dataset()
    try:
        alone[tag] = header[tag]
        with BytesIO() as memory:
            pydicom.dcmwrite(memory, alone, implicit_vr=False, little_endian=True)
    except Exception:  # see above
        return False
    return True


def packed(plane: np.ndarray, *, signed: bool) -> tuple[np.ndarray, float]:
    """16-bit numbers and the slope with plane = stored * slope, as exact as 16 bits and 16 characters allow."""
    limit = 32767 if signed else 65535
    slope = float(_decimal(float(np.abs(plane).max()) / limit * (1 + 1e-9) or 1.0))
    if float(np.abs(plane).max()) / slope > limit + 0.49:  # the decimal was rounded down
        slope = float(_decimal(slope * (1 + 1e-8)))
    stored = np.rint(plane / slope).clip(-limit if signed else 0, limit)
    return stored.astype(np.int16 if signed else np.uint16), slope


def _decimal(value: float) -> str:
    """A decimal string of at most 16 characters, the nearest there is."""
    for digits in range(15, 0, -1):
        text = f"{value:.{digits}g}"
        if len(text) <= 16:
            return text
    return "0"


def _derived(source: Path, uid: str, derivation: Derivation) -> Dataset:
    """A source's header as the header of a derived image, without pixels."""
    try:
        header: Any = pydicom.dcmread(source, force=True)
    except (OSError, EOFError, ValueError) as trouble:
        raise BadInput("A file of the input series cannot be read any more; leave the folder as it is.") from trouble
    now = datetime.now()
    origin = Dataset()
    origin.ReferencedSOPClassUID, origin.ReferencedSOPInstanceUID = header.SOPClassUID, header.SOPInstanceUID
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator = "121322", "DCM"
    purpose.CodeMeaning = "Source image for image processing operation"
    origin.PurposeOfReferenceCodeSequence = Items([purpose])
    for name in (*_STALE, "PixelData", "FloatPixelData", "DoubleFloatPixelData"):
        if name in header:
            del header[name]
    kinds = header.get("ImageType") or []
    kinds = [str(kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)][2:]
    header.ImageType = ["DERIVED", "SECONDARY", *(kinds or ["OTHER"])]  # dcm2niix misreads a list of just the two
    header.SourceImageSequence = Items([origin])
    header.DerivationDescription = derivation.description[:1024]
    header.SeriesDescription = f"{derivation.method[:44]} {NOT_FOR_DIAGNOSIS}"
    header.SeriesInstanceUID = uid
    header.SeriesNumber = str((int(header.get("SeriesNumber") or 0) % 100_000) * 100 + 90 + derivation.offset)
    instance = generate_uid(
        entropy_srcs=[str(header.SOPInstanceUID), derivation.identity, str(derivation.offset), "instance"]
    )
    header.SOPInstanceUID = instance
    header.InstanceCreationDate, header.InstanceCreationTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    header.ContentDate, header.ContentTime = now.strftime("%Y%m%d"), now.strftime("%H%M%S")
    tool = Dataset()
    tool.PurposeOfReferenceCodeSequence = Items([_processing()])
    tool.Manufacturer, tool.ManufacturerModelName, tool.SoftwareVersions = "m2diff", "m2diff", derivation.version
    header.ContributingEquipmentSequence = Items([*(header.get("ContributingEquipmentSequence") or []), tool])
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = instance
    return header


def _processing() -> Dataset:
    purpose = Dataset()
    purpose.CodeValue, purpose.CodingSchemeDesignator, purpose.CodeMeaning = "109102", "DCM", "Processing Equipment"
    return purpose


def _set_pixels(header: Any, stored: np.ndarray, *, signed: bool) -> None:
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    header.PixelRepresentation, header.SamplesPerPixel = int(signed), 1
    header.PhotometricInterpretation = header.get("PhotometricInterpretation", "MONOCHROME2")
    header.PixelData = np.ascontiguousarray(stored, dtype="<i2" if signed else "<u2").tobytes()
    header["PixelData"].VR = "OW"
