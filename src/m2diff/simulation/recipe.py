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
"""Keys of a recipe that older cohorts do not name, with the value that those cohorts have."""


@dataclass(frozen=True)
class Recipe:
    """Whom a cohort is made of, on which scanner, at which doses. Paths: folders of real anatomies, of head label maps.

    ``randomise``: a quarter of the persons gets random uptake, every person a random scanner; otherwise one protocol,
    that of ``scanner``, and the pattern of ``tracer``. ``head`` is every person's, whether randomised or not; ``mixed``
    draws one for each (four in ten none; the others grown, or half of them mapped where ``heads`` are given). Weights
    are trained on a cohort with both.
    """

    doses: DosePlan
    group: Literal["healthy", "ad", "both"] = "both"
    seed: int = 0
    anatomies: Path | None = None
    persons: tuple[str, ...] = ()
    """Anatomies to use, by name; all where empty."""
    without: tuple[str, ...] = ()
    """Anatomies to leave out, by name (held out for testing)."""
    heads: Path | None = None
    head: Literal["none", "grown", "map", "mixed"] = "grown"
    randomise: bool = False
    tracer: TracerName = "fdg"
    scanner: ScannerName = "pet-mr"

    def __post_init__(self) -> None:
        """Refuse names that nobody knows, what would never be used, and what is not there but needed."""
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
        """The recipe for the record: folders by name only, so that it holds on another machine.

        What was added later is left out where it changes nothing, so that older cohorts can still be finished.
        """
        named = {key: value.name if isinstance(value, Path) else value for key, value in asdict(self).items()}
        told = {key: value for key, value in named.items() if key not in ADDED_LATER or value != ADDED_LATER[key]}
        return json.loads(json.dumps(told))
