"""How a PET scan was reconstructed, as its sidecar tells: OSEM's iterations and subsets, and the Gaussian after it."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_KEYS = re.compile(r"Recon(Method|Filter)")
"""Begins the keys of a sidecar that say it."""
_SHORT = re.compile(r"(?<![^\W_])(\d+)\s*i(?:t|ter|terations?)?[\s,_-]*(\d+)\s*s(?:ub|ubsets?)?(?![^\W_])", re.I)
"""``3i21s`` as Siemens writes it in a method's name, ``OSEM 4it 8sub``."""
_LABEL = re.compile(r"(?:number of |no\.? of |n_?)?(iteration|subset)s?")
_NOT_OSEM = re.compile(r"bsrem|q\.?\s?clear|\bfbp|back.?projection|kinahan|ramla|\bmap\b|penali[sz]", re.I)
"""In the names of methods whose iterations and subsets, where they have any, are no count of OSEM's updates."""
_GAUSS = re.compile(r"gauss(?:ian)?\s*(\d+(?:\.\d+)?)?")
_NO_FILTER = re.compile(r"(?:xyz )?(?:none|no filter|all[\s_-]?pass)")


@dataclass(frozen=True)
class Reconstruction:
    """OSEM's iterations and subsets, and the FWHM in mm of a Gaussian after it (0: none); NaN where unknown."""

    iterations: float = math.nan
    subsets: float = math.nan
    filter_mm: float = math.nan

    def __iter__(self) -> Iterator[float]:
        return iter((self.iterations, self.subsets, self.filter_mm))

    def __str__(self) -> str:
        smooth = f"Gaussian of {self.filter_mm:g} mm" if self.filter_mm else "no filter"
        parts = (f"{self.iterations:g} iterations", f"{self.subsets:g} subsets", smooth)
        return ", ".join(part for part, value in zip(parts, self, strict=True) if not math.isnan(value))

    @property
    def updates(self) -> float:
        """Iterations times subsets; NaN where one of them is unknown."""
        return self.iterations * self.subsets

    def to_json(self) -> dict[str, float | None]:
        """By name, None where unknown."""
        names = ("iterations", "subsets", "filter_mm")
        return {name: None if math.isnan(value) else value for name, value in zip(names, self, strict=True)}

    @classmethod
    def from_json(cls, values: Mapping[str, float | None]) -> Reconstruction:
        """What ``to_json`` wrote; what is not there is unknown."""
        return cls(**{name: math.nan if value is None else float(value) for name, value in values.items()})

    @classmethod
    def agreed(cls, several: Iterable[Reconstruction]) -> Reconstruction:
        """What all of ``several`` say alike; the rest is unknown."""
        columns = zip(*several, strict=True)
        return cls(*(column[0] if len(set(column)) == 1 else math.nan for column in columns))


def reconstruction(sidecar: Mapping[str, Any]) -> Reconstruction:
    """What a PET-BIDS sidecar says of it.

    ``ReconMethodParameterLabels`` and ``-Values`` name iterations and subsets; where they do not, the method's name may
    (``OSEM3D 3i21s``). Of a method that is not OSEM, by its name or by a penalty among its parameters, both stay
    unknown. The filter is the Gaussians of ``ReconFilterType``, with ``ReconFilterSize`` in mm or, as Siemens has it,
    in the type itself (``XYZ Gauss5.00``). Values of another kind count as unknown.
    """
    name, named = str(sidecar.get("ReconMethodName", "")), _parameters(sidecar)
    if _NOT_OSEM.search(name) or {"beta", "penalty", "penalty factor"} & set(named):
        return Reconstruction(filter_mm=_filter(sidecar))
    short = _SHORT.search(name)
    iterations, subsets = (
        _positive(named[what]) if what in named else float(short[group]) if short else math.nan
        for group, what in ((1, "iteration"), (2, "subset"))
    )
    return Reconstruction(iterations, subsets, _filter(sidecar))


def without_reconstruction(sidecar: Mapping[str, Any]) -> dict[str, Any]:
    """A sidecar that says nothing of it, for an image that was not made that way."""
    return {key: value for key, value in sidecar.items() if not _KEYS.match(key)}


def _parameters(sidecar: Mapping[str, Any]) -> dict[str, Any]:
    """The method's parameters by label, the first of each; ``iteration`` and ``subset`` however they are spelt."""
    labels, values = (_list(sidecar.get(f"ReconMethodParameter{kind}")) for kind in ("Labels", "Values"))
    found: dict[str, Any] = {}
    for label, value in zip(labels, values, strict=False):
        key = str(label).strip().lower()
        match = _LABEL.fullmatch(key)
        found.setdefault(match[1] if match else key, value)
    return found


def _filter(sidecar: Mapping[str, Any]) -> float:
    """FWHM of all Gaussians after each other; NaN where one has no width, or nothing is known to be none."""
    kinds, sizes = (_list(sidecar.get(f"ReconFilter{key}")) for key in ("Type", "Size"))
    words = [str(kind).strip().lower() for kind in kinds]
    if words and all(_NO_FILTER.fullmatch(word) for word in words):
        return 0.0
    widths = []
    for number, word in enumerate(words):
        gaussian = _GAUSS.search(word)
        if gaussian:
            stated = _size(sizes[number]) if number < len(sizes) else math.nan
            widths.append(float(gaussian[1]) if math.isnan(stated) and gaussian[1] else stated)
    return math.hypot(*widths) if widths else math.nan


def _list(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [] if value is None else [value]


def _positive(value: Any) -> float:
    """A number above 0, also one written as text; NaN for anything else."""
    number = _number(value)
    return number if number > 0 else math.nan


def _size(value: Any) -> float:
    """A filter's width in mm; 0 is none."""
    number = _number(value)
    return number if number >= 0 else math.nan


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return math.nan
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return math.nan
    return number if math.isfinite(number) else math.nan
