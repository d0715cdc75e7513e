"""What a sidecar says, and what of it may be kept: the tracer, the dose, and no patient data."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

_PRIVATE = re.compile(
    r"(?i)^(?:patient(?!position)|(other)?patientid|accession|referring|operator|performing|requesting|physician|institution"
    r"|station|deviceserial|studyid|studyinstance|studydescription|seriesinstance|issuer|responsible|medicalrecord"
    r"|ethnic|occupation|militaryrank|religious|telephone|address|order|placer|filler|admission|admitting|interpretation"
    r"|subject_?(?:name|id)|(?:mrn|ssn|dob|nhs_?number)$)"
    r"|date|birth|comments?$|history|physician|order_?number|uid$|operators?_?name"
)


def without_phi(sidecar: Mapping[str, Any]) -> dict[str, Any]:
    """``sidecar`` without the keys that hold names, numbers or dates of a patient, at any depth."""
    return {key: _inside(value) for key, value in sidecar.items() if not _PRIVATE.search(key)}


def _inside(value: Any) -> Any:
    if isinstance(value, Mapping):
        return without_phi(value)
    return [_inside(entry) for entry in value] if isinstance(value, list) else value


TRACER_KEYS = ("TracerName", "Radiopharmaceutical", "RadiopharmaceuticalName")
"""Where a PET sidecar may name its tracer."""


def tracer_in(sidecar: Mapping[str, Any]) -> str | None:
    """The tracer that a PET sidecar names; None where it names none."""
    return next((str(sidecar[key]) for key in TRACER_KEYS if sidecar.get(key)), None)


def drf_in(sidecar: Mapping[str, Any]) -> float | None:
    """The dose reduction factor that a PET sidecar states; None where it states none of at least 1."""
    value = sidecar.get("DoseReductionFactor")
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) and value >= 1 else None


def modality_in(sidecar: Mapping[str, Any]) -> str:
    """``PET``, ``MRI`` or ``CT`` where the sidecar states it; empty otherwise."""
    return {"PT": "PET", "MR": "MRI", "CT": "CT"}.get(str(sidecar.get("Modality") or "").upper(), "")
