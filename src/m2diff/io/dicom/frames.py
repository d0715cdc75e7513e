"""The frames of one DICOM file: where each lies, how its numbers are scaled, when it was taken.

A classic file has one frame. An enhanced file describes many by functional groups, per frame or shared. Enhanced PET
states its unit as a real-world mapping of the stored numbers (PS3.3 C.7.6.16.2.11). Files converted from classic ones
keep attributes without another place as "unassigned".
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydicom.dataset import Dataset

_MEASURED = {
    "bq/ml": "BQML", "{counts}": "CNTS", "{suvbw}g/ml": "GML", "g/ml{suvbw}": "GML", "/cm": "1CM",
    "{propcounts}/s": "PROPCPS", "{counts}/s": "CPS",
}  # fmt: skip
"""UCUM code of a real-world mapping -> the word of Units, the more useful first."""


@dataclass(frozen=True)
class Frame:
    """Place, scale and time of one frame as the header has them, unchecked."""

    position: Any
    orientation: Any
    spacing: Any
    slope: float
    intercept: float
    when: tuple[float, ...]  # orders the frames at one place


def frames_of(header: Dataset) -> Iterator[Frame]:
    """Every frame of a file. May raise anything where the header does not say where a frame lies."""
    per_frame = header.get("PerFrameFunctionalGroupsSequence")
    if not per_frame:
        if int(header.get("NumberOfFrames", 1) or 1) > 1:
            raise ValueError("several frames that do not say where they lie")
        yield _classic(header)
        return
    shared = shared_groups(header)
    for group in per_frame:
        slope, intercept = _scale(header, group, shared)
        content = macro(group, shared, "FrameContentSequence")
        moment = content.get("FrameReferenceDateTime") or content.get("FrameAcquisitionDateTime")
        yield Frame(
            macro(group, shared, "PlanePositionSequence").ImagePositionPatient,
            macro(group, shared, "PlaneOrientationSequence").ImageOrientationPatient,
            macro(group, shared, "PixelMeasuresSequence").PixelSpacing,
            slope,
            intercept,
            (float(content.get("TemporalPositionIndex") or 0), _digits(moment)),
        )


def shared_groups(header: Dataset) -> Dataset:
    """What all frames of an enhanced file share; empty where there is nothing."""
    return (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]


def macro(group: Dataset, shared: Dataset, name: str) -> Dataset:
    """One functional group of a frame: its own, or the one that all share; empty where there is neither."""
    for place in (group, shared):
        items = place.get(name)
        if items:
            return items[0]
    return Dataset()


def completed(header: Dataset) -> Dataset:
    """An enhanced file's header with the series' attributes copied to its top level."""
    groups = header.get("PerFrameFunctionalGroupsSequence")
    if not groups:
        return header
    whole = Dataset()
    whole.update(header)
    for place, name in (
        (shared_groups(header), "UnassignedSharedConvertedAttributesSequence"),
        (groups[0], "UnassignedPerFrameConvertedAttributesSequence"),
    ):
        for element in macro(place, Dataset(), name):
            if element.tag not in whole:
                whole[element.tag] = element
    found = mapping(groups[0], shared_groups(header))
    if "Units" not in whole and found is not None:
        whole.Units = units_of(found)
    if "DecayCorrection" not in whole and "DecayCorrected" in whole:
        dated = whole.DecayCorrected == "YES" and whole.get("DecayCorrectionDateTime")
        whole.DecayCorrection = "START" if dated else "NONE" if whole.DecayCorrected == "NO" else ""
    return whole


def mapping(group: Dataset, shared: Dataset) -> Dataset | None:
    """The linear real-world mapping of a frame that states the most useful unit; None where none states one."""
    items = [
        item
        for place in (group, shared)
        for item in place.get("RealWorldValueMappingSequence") or []
        if units_of(item) and item.get("RealWorldValueSlope") is not None
    ]
    order = list(_MEASURED.values())
    return min(items, key=lambda item: order.index(units_of(item)), default=None)


def units_of(item: Dataset) -> str:
    """The unit of a real-world mapping as a word of Units; empty where it is another."""
    codes = item.get("MeasurementUnitsCodeSequence")
    return _MEASURED.get(str(codes[0].get("CodeValue", "")).lower(), "") if codes else ""


def taken(header: Dataset) -> float:
    """Date and time of a classic file's acquisition as one number to sort by: a scan may pass midnight."""
    clock = str(header.get("AcquisitionTime") or "")
    if clock:
        return _digits(f"{str(header.get('AcquisitionDate') or '')[:8]}{clock}")
    return _digits(header.get("AcquisitionDateTime"))


def _classic(header: Dataset) -> Frame:
    slope, intercept = header.get("RescaleSlope"), header.get("RescaleIntercept")
    return Frame(
        header.ImagePositionPatient,
        header.ImageOrientationPatient,
        header.PixelSpacing,
        1.0 if slope is None else float(slope),
        float(intercept or 0),
        (_digits(header.get("FrameReferenceTime")), _index(header), taken(header), _digits(header.get("TriggerTime"))),
    )


def _scale(header: Dataset, group: Dataset, shared: Dataset) -> tuple[float, float]:
    """Slope and intercept of a frame, from its real-world mapping where Units is missing."""
    found = None if header.get("Units") or header.get("Modality") != "PT" else mapping(group, shared)
    if found is not None:
        return float(found.RealWorldValueSlope), float(found.get("RealWorldValueIntercept") or 0)
    transform = macro(group, shared, "PixelValueTransformationSequence")
    return float(transform.get("RescaleSlope", 1)), float(transform.get("RescaleIntercept", 0))


def _index(header: Dataset) -> float:
    """A PET slice's frame in time where the header numbers it."""
    frames, slices = header.get("NumberOfTimeSlices"), header.get("NumberOfSlices")
    index = header.get("ImageIndex")
    if frames and slices and index and int(frames) > 1:
        return float((int(index) - 1) // int(slices))
    return float(header.get("TemporalPositionIdentifier") or 0)


def _digits(value: Any) -> float:
    """A number, or a date and time as one, to sort by; 0 where there is none."""
    try:
        found = float(value)  # 1.8e+06 is one
    except (TypeError, ValueError, OverflowError):
        text = "" if value is None else str(value).split("+")[0].split("-")[0]
        digits = "".join(c for c in text if c in "0123456789.")
        found = float(digits) if digits.count(".") <= 1 and digits.strip(".") else 0.0
    return found if math.isfinite(found) else 0.0
