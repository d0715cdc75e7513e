"""Remove patient data from sidecars: every key that names a person, a day or a place."""

from __future__ import annotations

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
