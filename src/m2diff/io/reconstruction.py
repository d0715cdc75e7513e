"""How a PET scan was reconstructed, in the words of its sidecar."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

_KEYS = re.compile(r"Recon(Method|Filter)")  # start of the sidecar keys about it


def reconstruction(sidecar: Mapping[str, Any]) -> str:
    """The method, its parameters and the filters that a PET-BIDS sidecar states, on one line; empty where none are."""
    labels, values, filters, sizes = (
        _list(sidecar.get(f"Recon{key}"))
        for key in ("MethodParameterLabels", "MethodParameterValues", "FilterType", "FilterSize")
    )
    said = [
        str(sidecar.get("ReconMethodName") or ""),
        *(f"{label} {value}" for label, value in zip(labels, values, strict=False)),
        *(f"filter {kind} {size or ''}" for kind, size in zip_longest(filters, sizes[: len(filters)])),
    ]
    line = ", ".join(" ".join(words.split()) for words in said if words)
    return "".join(c for c in line if c.isprintable())[:128]


def without_reconstruction(sidecar: Mapping[str, Any]) -> dict[str, Any]:
    """A sidecar without these keys, for an image that was not reconstructed that way."""
    return {key: value for key, value in sidecar.items() if not _KEYS.match(key)}


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [] if value is None else [value]
