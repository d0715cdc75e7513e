r"""Write a result as a derived DICOM series in the input's study.

Each slice copies its source's header: patient, study, frame of reference, geometry, quantitative elements. New are
pixels, series, instances, DERIVED\SECONDARY, the derivation and the source images. Each slice has its own slope.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from copy import deepcopy
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
from m2diff.io.dicom.frames import macro, mapping, shared_groups
from m2diff.io.dicom.index import Slice, damage_explained
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
_SCALES = ("PixelValueTransformationSequence", "RealWorldValueMappingSequence", "FrameVOILUTSequence")
"""Functional groups that describe them."""


@dataclass(frozen=True)
class Derivation:
    """What the new series says of itself. ``identity`` decides its UIDs: the same work gives the same series."""

    method: str  # in the series' description, cut to 40 characters
    description: str
    identity: str
    version: str
    offset: int = 0  # number among the derived series of one result


def write(volume: Volume, folder: Path, derivation: Derivation) -> list[Path]:
    """Write ``volume`` as a series derived from the DICOM series that it was read from; return the files.

    ``volume`` has that series' grid and unit; a slice keeps its values to 1/65,535 of its largest. Raises BadInput
    where ``volume`` did not come from DICOM.
    """
    series = volume.source.series if volume.source else None
    if not isinstance(series, Series):
        raise BadInput("A DICOM series can only be derived from a DICOM input; give the scanner's folder.")
    folder.mkdir(parents=True, exist_ok=True)
    with damage_explained("input"):
        uid = generate_uid(entropy_srcs=[series.stack.uid, derivation.identity, str(derivation.offset), "series"])
        planes = [np.ascontiguousarray(volume.data[:, :, k].T, dtype=np.float64) for k in range(volume.shape[2])]
        together: dict[Path, list[int]] = {}  # slices by the file that they came from
        for k, piece in enumerate(series.slices):
            together.setdefault(piece.path, []).append(k)
        signed, paths = bool(volume.data.min() < 0), []
        for number, (path, members) in enumerate(together.items(), start=1):
            pieces, images = [series.slices[k] for k in members], [planes[k] for k in members]
            header = _derived(path, uid, derivation)
            if "PerFrameFunctionalGroupsSequence" in header:
                paths.append(_multi_frame(header, pieces, images, folder / f"{number:05d}.dcm"))
            else:
                _set_window(header, float(volume.data.max()))
                stored, slope = _packed(images[0], signed=signed)
                header.RescaleSlope, header.RescaleIntercept = _decimal(slope), "0"
                header.InstanceNumber = header.get("InstanceNumber") or str(number)
                _set_pixels(header, stored, signed=signed)
                paths.append(_saved(header, folder / f"{number:05d}.dcm"))
        return paths


def _multi_frame(header: Any, slices: Sequence[Slice], planes: Sequence[np.ndarray], path: Path) -> Path:
    """Write the slices of one enhanced file as one file, in the volume's order.

    All frames share one slope, because dcm2niix (1.0.20260724) applies the first frame's slope to all of them.
    """
    signed = any(float(plane.min()) < 0 for plane in planes)
    stored, slope = _packed(np.stack(planes), signed=signed)
    shared, old = shared_groups(header), header.PerFrameFunctionalGroupsSequence
    kind = macro(old[0], shared, "PixelValueTransformationSequence").get("RescaleType", "US")
    unit = mapping(old[0], shared)
    groups = []
    for piece in slices:
        group = old[piece.frame]
        _drop(group, _SCALES)
        scale = Dataset()
        scale.RescaleIntercept, scale.RescaleSlope, scale.RescaleType = "0", _decimal(slope), kind
        group.PixelValueTransformationSequence = Items([scale])
        if unit is not None:
            group.RealWorldValueMappingSequence = Items([_mapped(unit, slope, signed=signed)])
        groups.append(group)
    _drop(shared, _SCALES)
    for place in (shared, *groups):
        for name in ("PETFrameTypeSequence", "MRImageFrameTypeSequence"):
            for item in place.get(name) or []:
                kept = [str(word) for word in item.get("FrameType") or []][1:]
                item.FrameType = ["DERIVED", *(kept or ["PRIMARY", "OTHER", "NONE"])]
    header.PerFrameFunctionalGroupsSequence = Items(groups)
    header.NumberOfFrames = len(groups)
    _set_pixels(header, stored, signed=signed)
    return _saved(header, path)


def _mapped(unit: Dataset, slope: float, *, signed: bool) -> Dataset:
    """The source's mapping of stored numbers to a unit, with this frame's slope."""
    found = deepcopy(unit)
    _drop(found, ("RealWorldValueFirstValueMapped", "RealWorldValueLastValueMapped", "RealWorldValueLUTData"))
    kind, low, high = ("SS", -32767, 32767) if signed else ("US", 0, 65535)
    found.add_new(0x00409216, kind, low)
    found.add_new(0x00409211, kind, high)
    found.RealWorldValueSlope, found.RealWorldValueIntercept = float(_decimal(slope)), 0.0
    return found


def _saved(header: Any, path: Path) -> Path:
    """Write one file, without source elements that pydicom cannot store."""
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
        pydicom.dcmwrite(BytesIO(), alone, implicit_vr=False, little_endian=True)
    except Exception:  # see above
        return False
    return True


def _packed(plane: np.ndarray, *, signed: bool) -> tuple[np.ndarray, float]:
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
    origin.PurposeOfReferenceCodeSequence = _code("121322", "Source image for image processing operation")
    _drop(header, (*_STALE, "PixelData", "FloatPixelData", "DoubleFloatPixelData"))
    kinds = header.get("ImageType") or []
    kinds = [str(kind) for kind in ([kinds] if isinstance(kinds, str) else kinds)][2:]
    kinds = kinds or ["OTHER"]  # dcm2niix misreads a list of just the two
    if "PerFrameFunctionalGroupsSequence" in header and len(kinds) < 2:
        kinds.append("NONE")  # an enhanced file has four values
    header.ImageType = ["DERIVED", "SECONDARY", *kinds]
    header.SourceImageSequence = Items([origin])
    header.DerivationDescription = derivation.description[:1024]
    header.SeriesDescription = f"{derivation.method[:44]} {NOT_FOR_DIAGNOSIS}"
    header.SeriesInstanceUID = uid
    header.SeriesNumber = str((int(header.get("SeriesNumber") or 0) % 100_000) * 100 + 90 + derivation.offset)
    sources = [str(header.SOPInstanceUID), derivation.identity, str(derivation.offset), "instance"]
    header.SOPInstanceUID = generate_uid(entropy_srcs=sources)
    header.InstanceCreationDate = header.ContentDate = now.strftime("%Y%m%d")
    header.InstanceCreationTime = header.ContentTime = now.strftime("%H%M%S")
    tool = Dataset()
    tool.PurposeOfReferenceCodeSequence = _code("109102", "Processing Equipment")
    tool.Manufacturer, tool.ManufacturerModelName, tool.SoftwareVersions = "m2diff", "m2diff", derivation.version
    header.ContributingEquipmentSequence = Items([*(header.get("ContributingEquipmentSequence") or []), tool])
    header.file_meta = pydicom.dataset.FileMetaDataset()
    header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    header.file_meta.MediaStorageSOPClassUID = header.SOPClassUID
    header.file_meta.MediaStorageSOPInstanceUID = header.SOPInstanceUID
    return header


def _code(value: str, meaning: str) -> Items:
    """A sequence of one code of DICOM's own."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return Items([code])


def _drop(header: Dataset, names: Iterable[str]) -> None:
    """Delete the elements of these names that are there."""
    for name in names:
        if name in header:
            del header[name]


def _set_window(header: Any, peak: float) -> None:
    """Set one window for the series; none for a width below 1, which DICOM forbids."""
    _drop(header, ("WindowCenter", "WindowWidth"))
    if peak >= 1:
        header.WindowCenter, header.WindowWidth = _decimal(peak / 2), _decimal(peak)


def _set_pixels(header: Any, stored: np.ndarray, *, signed: bool) -> None:
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 16, 15
    header.PixelRepresentation, header.SamplesPerPixel = int(signed), 1
    header.PhotometricInterpretation = header.get("PhotometricInterpretation", "MONOCHROME2")
    header.PixelData = np.ascontiguousarray(stored, dtype="<i2" if signed else "<u2").tobytes()
    header["PixelData"].VR = "OW"
