"""BIDS sidecar keys from a DICOM header: scanner and tracer, not the patient."""

from __future__ import annotations

import re
from typing import Any

from pydicom.dataset import Dataset

from m2diff.io.kind import NAMED, is_phantom

TEXT = {
    "Modality": "Modality",
    "Manufacturer": "Manufacturer",
    "ManufacturerModelName": "ManufacturersModelName",
    "SoftwareVersions": "SoftwareVersions",
    "ScanningSequence": "ScanningSequence",
    "MRAcquisitionType": "MRAcquisitionType",
    "ReconstructionMethod": "ReconMethodName",
    "AttenuationCorrectionMethod": "AttenuationCorrection",
    "ScatterCorrectionMethod": "ScatterCorrectionMethod",
    "RandomsCorrectionMethod": "RandomsCorrectionMethod",
    "ConvolutionKernel": "ReconFilterType",
    "Units": "Units",
    "DecayCorrection": "DecayCorrection",
}
"""DICOM keyword -> BIDS key, for words."""

_ELEMENTS = {
    "FLUORINE": "F", "CARBON": "C", "GALLIUM": "Ga", "OXYGEN": "O", "NITROGEN": "N", "COPPER": "Cu",
    "RUBIDIUM": "Rb", "ZIRCONIUM": "Zr", "IODINE": "I",
}  # fmt: skip
"""Elements of PET by the names that headers use; their symbols are known too."""

_UNITS = {"BQML": "Bq/mL", "GML": "g/mL", "CNTS": "counts"}

PATIENT = ("PatientName", "PatientID", "PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate")
"""Elements that name the patient or the day."""


def sidecar(header: Dataset, *, keep_phi: bool = False) -> dict[str, Any]:
    """The BIDS keys that a header can fill; with ``keep_phi`` the patient's name, number and dates too."""
    found: dict[str, Any] = {key: str(header[key].value) for key in PATIENT if keep_phi and header.get(key)}
    found |= {key: words for keyword, key in TEXT.items() if (words := _text(header.get(keyword)))}
    found |= _subject(header)
    return found | (_pet(header) if header.get("Modality") == "PT" else _mri(header))


def _subject(header: Dataset) -> dict[str, Any]:
    """What is not a person in a first scan: a phantom, an animal, a result of this tool. No name is kept."""
    found: dict[str, Any] = {}
    named = {keyword: _text(header.get(keyword)) for keyword in ("QualityControlSubject", *NAMED)}
    if is_phantom(named):
        found["QualityControlSubject"] = "YES"
    if species := _text(header.get("PatientSpeciesDescription")):
        found["Species"] = species
    tools = header.get("ContributingEquipmentSequence") or []
    if any(str(tool.get("Manufacturer", "")) == "m2diff" for tool in tools):
        found["GeneratedBy"] = [{"Name": "m2diff"}]
    return found


def _mri(header: Dataset) -> dict[str, Any]:
    """What tells a T1 from another weighting: the scanner's words, and times in seconds."""
    words = {
        key: _text(header.get(key)) for key in ("SeriesDescription", "SequenceName")
    }  # a protocol may name a person
    times = {key: as_number(header.get(key)) for key in ("EchoTime", "RepetitionTime", "InversionTime")}
    seconds = {key: time / 1000 for key, time in times.items() if time}
    return {key: text for key, text in words.items() if text} | seconds


def isotope(header: Dataset) -> Dataset:
    """The first item of the radiopharmaceutical's sequence; empty where there is none."""
    items = header.get("RadiopharmaceuticalInformationSequence")
    return items[0] if items else Dataset()


def tracer_name(header: Dataset) -> str:
    """The tracer's name, empty where the header has none."""
    info = isotope(header)
    return _text(info.get("Radiopharmaceutical")) or meaning(info, "RadiopharmaceuticalCodeSequence")


def meaning(item: Dataset, name: str) -> str:
    """What the first code of a sequence means, on one line; empty where there is none."""
    codes = item.get(name)
    return _text(codes[0].get("CodeMeaning")) if codes else ""


def nuclide(name: str) -> str:
    """A nuclide as BIDS writes it (F18), from the ways in which headers do: ^18^Fluorine, F-18, 18F; empty for none."""
    mass = "".join(re.findall(r"\d", name))
    word = "".join(re.findall(r"[A-Za-z]", name)).upper()
    symbols = {symbol.upper(): symbol for symbol in _ELEMENTS.values()}
    element = _ELEMENTS.get(word, symbols.get(word, ""))
    return f"{element}{mass}" if element and 0 < len(mass) <= 3 else ""


LEAST_BQ = 1e5  # a lower dose has another unit: it is left out here, and ``suv`` reports it


def _pet(header: Dataset) -> dict[str, Any]:
    info = isotope(header)
    found: dict[str, Any] = {}
    units = str(header.get("Units", ""))
    if units:
        found["Units"] = _UNITS.get(units, units)
    named = {
        "TracerName": tracer_name(header),
        "TracerRadionuclide": nuclide(meaning(info, "RadionuclideCodeSequence")),
    }
    found |= {key: name for key, name in named.items() if name}
    dose = as_number(info.get("RadionuclideTotalDose"))
    if dose and dose >= LEAST_BQ:
        found |= {"InjectedRadioactivity": dose / 1e6, "InjectedRadioactivityUnits": "MBq"}
    duration = as_number(header.get("ActualFrameDuration"))
    if duration:
        found["FrameDuration"] = [duration / 1000]
    found["ImageDecayCorrected"] = str(header.get("DecayCorrection", "NONE")) != "NONE"
    return found


def _text(value: Any) -> str:
    """A header's word or list of words on one line."""
    if value is None:
        return ""
    words = value if isinstance(value, list | tuple) or type(value).__name__ == "MultiValue" else [value]
    joined = ", ".join(str(word) for word in words)
    return "".join(c for c in " ".join(joined.split()) if c.isprintable())[:128]


def as_number(value: Any) -> float | None:
    """A header's number, None where it is missing, not finite or no number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if number == number and abs(number) < 1e18 else None
