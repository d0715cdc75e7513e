"""All results of a comparison, for tables and page; its methods, people and terms as OUT/benchmark.json."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from m2diff.benchmarking.cost import Cost
from m2diff.benchmarking.methods import Entry
from m2diff.benchmarking.people import Sides, not_told_in_full
from m2diff.benchmarking.score import Row, ShownScan
from m2diff.benchmarking.summary import COMPARED, Compared, Measurements, compared
from m2diff.benchmarking.training import Terms, TrainedRun, preset_differences
from m2diff.families import stored

_USUAL_DRF = 20.0


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was compared, and its results."""

    out: Path
    entries: tuple[Entry, ...]
    sides: Sides
    terms: Terms
    runs: dict[str, TrainedRun]
    rows: tuple[Row, ...]
    costs: dict[str, Cost]
    against: str  # the method that all others are compared with
    shown: ShownScan
    images: dict[tuple[str, float], Path]  # each method's image of the shown scan, by (method, dose)

    @cached_property
    def measured(self) -> Measurements:
        """All measurements."""
        return Measurements(self.rows)

    @cached_property
    def compared(self) -> tuple[Compared, ...]:
        """Every comparison with the reference method."""
        return tuple(
            each
            for drf in self.sides.doses
            for measure in COMPARED
            for each in compared(self.measured, self.names, drf, measure, self.against)
        )

    @property
    def names(self) -> tuple[str, ...]:
        """The methods' names, the input first."""
        return tuple(entry.method.name for entry in self.entries)

    @property
    def processes(self) -> tuple[int, ...]:
        """Numbers of processes that scored at once, over all rows."""
        return tuple(sorted({int(row["processes"]) for row in self.rows if "processes" in row}))

    @property
    def devices(self) -> tuple[str, ...]:
        """Devices used, over all rows."""
        return tuple(sorted({str(row["device"]) for row in self.rows if "device" in row})) or (self.terms.device,)

    @property
    def untrained(self) -> tuple[float, ...]:
        """Scored doses that the training cohort lacks, if any method learned from it."""
        return tuple(drf for drf in self.sides.doses if self._learned and not self.sides.trained_on(drf))

    @property
    def trained_on(self) -> dict[tuple[str, float], str]:
        """Whether the training cohort held a dose: yes or no by (method, drf), for methods that learned from it."""
        doses = {drf: "yes" if self.sides.trained_on(drf) else "no" for drf in self.sides.doses}
        return {(name, drf): told for name in self._learned for drf, told in doses.items()}

    @property
    def _learned(self) -> tuple[str, ...]:
        """Methods that learned from the training cohort: presets, and weights whose card names nobody else."""
        persons = frozenset(self.sides.train_persons)

        def here(entry: Entry) -> bool:
            seen = stored.seen_persons(entry.card)
            at_a_path = entry.method.kind == "weights" and Path(entry.method.source).is_file()
            return entry.method.kind == "preset" or (at_a_path and bool(seen) and seen <= persons)

        return tuple(entry.method.name for entry in self.entries if here(entry))


def usual_drf(doses: Sequence[float]) -> float:
    """The dose shown first: the one nearest to a twentieth."""
    return min(doses, key=lambda drf: abs(drf - _USUAL_DRF))


def benchmark_record(outcome: Outcome) -> dict[str, Any]:
    """What was compared, on whom and how, ready for JSON; without paths of the machine."""
    sides, terms = outcome.sides, outcome.terms
    return {
        "budget": terms.budget.words,
        "settings of every preset": [*terms.budget.overrides(), *terms.overrides],
        "presets differ in": preset_differences({name: run.preset for name, run in outcome.runs.items()}),
        "trained on": {
            "cohort": terms.data.resolve().name,
            "scans": len(sides.train),
            "persons": list(sides.train_persons),
            "dose reduction factors": [f"{dose:g}" for dose in sides.train_doses],
        },
        "scored": {
            "cohort": sides.root.resolve().name,
            "scans": len(sides.test),
            "persons": list(sides.test_persons),
            "dose reduction factors": [f"{dose:g}" for dose in sides.doses],
            "not trained on": [f"{dose:g}" for dose in outcome.untrained],
            "held out of the training cohort": bool(sides.held_out),
        },
        "methods": {entry.method.name: _method_record(entry, outcome) for entry in outcome.entries},
        "not known in full whom they were trained on": list(not_told_in_full(outcome.entries)),
        "compared with": outcome.against,
        "scoring": {
            "devices": list(outcome.devices),
            "processes at once": list(outcome.processes),
            "threads a process": 1,
            "MRI": "as simulated; registration is not part of a method's seconds",
        },
        "versions": {name: version(name) for name in ("m2diff", "torch", "numpy", "scipy")},
    }


def first_estimate_words(entry: Entry, outcome: Outcome) -> str | None:
    """Where the method's first estimate comes from, in words; None if it has none."""
    if entry.first is None:
        return None
    own = next((name for name, run in outcome.runs.items() if str(run.weights) == entry.first), None)
    if own is not None:
        return f"{own}, trained here"
    path = Path(entry.first)
    return f"{path.resolve().parent.name}, trained alike" if path.is_file() else f"{entry.first} as it ships"


def _method_record(entry: Entry, outcome: Outcome) -> dict[str, Any]:
    """How one method was made."""
    kinds = {"input": "the input", "filter": "a filter, tuned", "weights": "weights as they came"}
    found: dict[str, Any] = {"kind": kinds.get(entry.method.kind, "trained here")}
    run = outcome.runs.get(entry.method.run)
    if run is not None:
        found |= {"steps": run.steps, "training seconds": round(run.seconds), "slabs a step": run.preset.data.batch}
    elif entry.terms is not None:
        steps, persons = entry.terms
        found |= {"steps": steps, "persons": sorted(persons)}
    first = first_estimate_words(entry, outcome)
    return found | ({"first estimate": first} if first else {})
