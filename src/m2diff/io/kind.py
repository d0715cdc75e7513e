"""What name and sidecar say that an image is: its modality, an MRI's weighting, a phantom, an animal, a result."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from m2diff.io.nifti import stem
from m2diff.io.sidecar import TRACER_KEYS, modality_in
from m2diff.volume import Volume

_PHANTOM = re.compile(r"(?i)(?<![a-z])(?:phantom|nema|jaszczak|cylinder|quality ?control)(?![a-z])|^qc(?![a-z])")
"""Words of a header that name a phantom. Hoffman is a surname too."""
_DESCRIBED = ("SeriesDescription", "ProtocolName", "PulseSequenceType", "PulseSequenceDetails", "SequenceName")
NAMED = ("PatientName", "PatientID", "StudyDescription", "BodyPartExamined", *_DESCRIBED)
_T1 = re.compile(r"(?i)(?<![a-z0-9])(?:t1|uni|mp-?2?-?rage|f?spgr|bravo|ir-?fspgr|tfl)")
_OTHER = re.compile(r"(?i)(?<![a-z0-9])(t2|flair|dark[ _-]?fluid|tirm|pdw?(?![a-z])|dwi|bold|swi|asl|adc)")
_SUFFIXES = {"t2w": "T2", "t2starw": "T2*", "flair": "FLAIR", "pdw": "PD", "bold": "BOLD", "dwi": "DWI", "asl": "ASL"}
_ANATOMY = {*_SUFFIXES, "t1w", "mprage", "unit1", "mp2rage"}
LATE_ECHO_S = 0.06  # T1-weighted images have echo times far below, T2 and FLAIR beyond
_PEOPLE = {"human", "homo sapiens", "homosapiens", "9606", "n/a", ""}


def modality(image: Volume) -> str:
    """``PET``, ``MRI`` or ``CT`` where sidecar, unit or BIDS suffix say it; empty where they do not."""
    if image.source is None:
        return ""
    sidecar, words = image.source.sidecar, _words(image)
    if stated := modality_in(sidecar):
        return stated
    if image.unit in ("Bq/mL", "kBq/mL", "SUV") or any(sidecar.get(key) for key in TRACER_KEYS):
        return "PET"
    if words[-1] in _ANATOMY and "pet" not in words:
        return "MRI"
    return "PET" if words[-1] == "pet" and not _ANATOMY & {*words} and "t1" not in words else ""


def other_weighting(image: Volume) -> str:
    """What an MRI is, with the source of that, where sidecar or name say that it is no T1; empty otherwise.

    Of several descriptions the first that names a weighting counts, then the echo time, then the BIDS suffix.
    """
    if image.source is None:
        return ""
    sidecar = image.source.sidecar
    for key in _DESCRIBED:
        text = str(sidecar.get(key) or "")
        if _T1.search(text):
            return ""
        if found := _OTHER.search(text):
            return f"{found[1].upper()} by its {key}"
    echo = sidecar.get("EchoTime")
    if isinstance(echo, int | float) and not isinstance(echo, bool):
        seconds = echo / 1000.0 if echo > 1.0 else echo  # some converters leave it in milliseconds
        if LATE_ECHO_S <= seconds < 1.0:
            return f"T2 or FLAIR by its echo time of {1000 * seconds:.0f} ms"
    words = _words(image)
    if words[-1] in _SUFFIXES and not any(_T1.match(word) for word in words):
        return f"{_SUFFIXES[words[-1]]} by its name"
    return ""


def is_phantom(sidecar: Mapping[str, Any]) -> bool:
    """Whether a header calls its subject a phantom."""
    told = str(sidecar.get("QualityControlSubject") or "").upper() == "YES"
    return told or any(_PHANTOM.search(str(sidecar.get(key) or "").replace("_", " ")) for key in NAMED)


def animal(species: Any) -> str:
    """The species where it is not ours; empty for people, and where none is stated."""
    text = " ".join(str(species or "").split())
    return "" if text.lower() in _PEOPLE else text


def animal_in(sidecar: Mapping[str, Any]) -> str:
    """The species that a sidecar states, as ``animal``."""
    return animal(sidecar.get("PatientSpeciesDescription") or sidecar.get("Species"))


def is_enhanced(image: Volume) -> bool:
    """Whether an image is a result of this tool already, by its sidecar, its name or its DICOM header."""
    if image.source is None:
        return False
    makers = image.source.sidecar.get("GeneratedBy")
    ours = any(isinstance(one, Mapping) and one.get("Name") == "m2diff" for one in makers or ())
    return ours or "desc-enhanced" in image.source.path.name


def problems(image: Volume, what: str) -> list[str]:
    """What stands against using an image as ``what`` (PET or MRI), each in a clause; for a list of problems."""
    sidecar = image.source.sidecar if image.source else {}
    found = []
    if what == "MRI" and (weighting := other_weighting(image)):
        found.append(f"it is not T1-weighted ({weighting})")
    if what == "PET" and is_enhanced(image):
        found.append("it is a result of m2diff already")
    if is_phantom(sidecar):
        found.append("the header calls it a phantom")
    if species := animal_in(sidecar):
        found.append(f"it shows an animal ({species})")
    return found


def _words(image: Volume) -> list[str]:
    """The words of a file's name, in lower case; the last is a BIDS suffix."""
    name = stem(image.source.path) if image.source else ""
    return re.split(r"[^a-z0-9]+", name.lower()) or [""]
