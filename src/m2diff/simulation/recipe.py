"""Everything that decides a cohort but its size."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from m2diff.errors import BadInput
from m2diff.simulation.doses import DosePlan
from m2diff.simulation.scanner import MODELS, ScannerName
from m2diff.simulation.tracer import TRACERS, TracerName

ADDED_LATER: dict[str, Any] = {"tracer": "fdg", "scanner": "pet-mr"}
"""Newer keys, not recorded at these defaults: a cohort begun without them can still be finished."""


@dataclass(frozen=True)
class Recipe:
    """Who is in a cohort, on which scanner, at which doses. ``anatomies`` and ``heads`` are folders.

    ``randomise``: a random scanner for everybody and random uptake for a quarter; otherwise ``scanner`` and ``tracer``.
    ``head="mixed"``: none for four in ten, the others grown, or half of them mapped where ``heads`` are given.
    """

    doses: DosePlan
    group: Literal["healthy", "ad", "both"] = "both"
    seed: int = 0
    anatomies: Path | None = None
    persons: tuple[str, ...] = ()  # anatomies to use, by name; all where empty
    without: tuple[str, ...] = ()  # anatomies to leave out, by name (held out for testing)
    heads: Path | None = None
    head: Literal["none", "grown", "map", "mixed"] = "grown"
    randomise: bool = False
    tracer: TracerName = "fdg"
    scanner: ScannerName = "pet-mr"

    def __post_init__(self) -> None:
        for option, given, known in (("tracer", self.tracer, TRACERS), ("scanner", self.scanner, MODELS)):
            if given not in known:
                raise BadInput(f"--{option} expects one of {', '.join(known)}, got {given!r}.")
        if self.randomise and self.scanner != "pet-mr":
            raise BadInput(
                f"--randomise draws another scanner for every person and expects none by name, got --scanner "
                f"{self.scanner}; leave one of the two out."
            )
        if self.seed < 0:
            raise BadInput(f"--seed expects a whole number from 0 on, got {self.seed}.")
        if self.head == "map" and self.heads is None:
            raise BadInput("--head map expects a folder of whole-head label maps, and none came; give it with --heads.")
        if self.heads is not None and self.head not in ("map", "mixed"):
            raise BadInput(
                f"--heads is read with --head map or mixed only, got --head {self.head}; leave one of the two out."
            )

    def describe(self) -> dict[str, Any]:
        """The recipe for the record: folders by name only, ``ADDED_LATER`` left out at its defaults."""
        named = {key: value.name if isinstance(value, Path) else value for key, value in asdict(self).items()}
        told = {key: value for key, value in named.items() if key not in ADDED_LATER or value != ADDED_LATER[key]}
        return json.loads(json.dumps(told))
