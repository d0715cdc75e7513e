"""How a PET scan was reconstructed, as far as its sidecar tells: OSEM's iterations and subsets, the filter after it."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_SHORT = re.compile(r"(\d+)\s*i(?:t|ter|terations?)?[\s,_-]*(\d+)\s*s(?:ub|ubsets?)?\b", re.IGNORECASE)
"""``3i21s`` as Siemens writes it in a method's name, ``OSEM 4it 8sub``."""


@dataclass(frozen=True)
class Reconstruction:
    """OSEM's iterations and subsets, and the FWHM in mm of a Gaussian after it (0: none); NaN where unknown."""

    iterations: float = math.nan
    subsets: float = math.nan
    filter_mm: float = math.nan

    def __iter__(self) -> Any:
        return iter((self.iterations, self.subsets, self.filter_mm))

    @property
    def known(self) -> bool:
        """Whether anything is."""
        return not all(math.isnan(value) for value in self)

    def to_json(self) -> dict[str, float | None]:
        """By name, None where unknown."""
        names = ("iterations", "subsets", "filter_mm")
        return {name: None if math.isnan(value) else value for name, value in zip(names, self, strict=True)}

    @classmethod
    def from_json(cls, values: Mapping[str, float | None]) -> Reconstruction:
        """What ``to_json`` wrote."""
        return cls(**{name: math.nan if value is None else float(value) for name, value in values.items()})


def reconstruction(sidecar: Mapping[str, Any]) -> Reconstruction:
    """What a PET-BIDS sidecar says of it.

    ``ReconMethodParameterLabels`` and ``-Values`` name iterations and subsets; where they do not, the method's name may
    (``OSEM3D 3i21s``). ``ReconFilterSize`` is in mm; of several filters, of the one that ``ReconFilterType`` calls
    Gaussian. Odd values count as unknown.
    """
    named = _parameters(sidecar)
    short = _SHORT.search(str(sidecar.get("ReconMethodName", "")))
    iterations, subsets = (
        _positive(named.get(name)) if name in named else float(short[group]) if short else math.nan
        for group, name in ((1, "iterations"), (2, "subsets"))
    )
    return Reconstruction(iterations, subsets, _filter(sidecar))


def _parameters(sidecar: Mapping[str, Any]) -> dict[str, Any]:
    """The method's parameters by label; iterations and subsets under these names, however they are spelt there."""
    labels, values = (_list(sidecar.get(f"ReconMethodParameter{kind}")) for kind in ("Labels", "Values"))
    found = {}
    for label, value in zip(labels, values, strict=False):
        key = str(label).lower()
        key = next((name for name in ("iterations", "subsets") if name.rstrip("s") in key), key)
        found[key] = value
    return found


def _filter(sidecar: Mapping[str, Any]) -> float:
    kinds, sizes = (_list(sidecar.get(f"ReconFilter{key}")) for key in ("Type", "Size"))
    words = [str(kind).lower() for kind in kinds]
    if words and all(word in ("none", "all-pass", "allpass") for word in words):
        return 0.0
    gaussian = [_size(size) for word, size in zip(words, sizes, strict=False) if "gauss" in word]
    return gaussian[0] if gaussian else math.nan


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [] if value is None else [value]


def _positive(value: Any) -> float:
    """A number above 0; NaN for anything else."""
    sound = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
    return float(value) if sound else math.nan


def _size(value: Any) -> float:
    """A filter's width in mm; 0 is none."""
    return 0.0 if value == 0 and not isinstance(value, bool) else _positive(value)
