"""What was compared, on whom and how: OUT/benchmark.json, and the last part of the page."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from m2diff.benchmarking.outcome import Outcome
from m2diff.benchmarking.plan import Entry
from m2diff.benchmarking.seen import untold
from m2diff.benchmarking.training import Trained, differences


def about(outcome: Outcome) -> dict[str, Any]:
    """Plain values, ready for JSON; no path of the machine is among them."""
    sides, terms = outcome.sides, outcome.terms
    return {
        "budget": terms.budget.words,
        "settings of every preset": [*terms.budget.overrides(), *terms.overrides],
        "presets differ in": differences({name: run.preset for name, run in outcome.runs.items()}),
        "trained on": {
            "cohort": _last(terms.data),
            "scans": len(sides.train),
            "persons": list(sides.train_persons),
            "dose reduction factors": [f"{dose:g}" for dose in sides.train_doses],
        },
        "scored": {
            "cohort": _last(sides.root),
            "scans": len(sides.test),
            "persons": list(sides.test_persons),
            "dose reduction factors": [f"{dose:g}" for dose in sides.doses],
            "not trained on": [f"{dose:g}" for dose in outcome.untrained],
            "held out of the training cohort": bool(sides.held_out),
        },
        "methods": {entry.method.name: _method(entry, outcome) for entry in outcome.entries},
        "not known in full whom they were trained on": list(untold(outcome.entries)),
        "compared with": outcome.against,
        "scoring": {
            "devices": list(outcome.devices),
            "processes at once": list(outcome.processes),
            "threads a process": 1,
            "MRI": "as simulated; registration is not part of a method's seconds",
        },
        "versions": {name: version(name) for name in ("m2diff", "torch", "numpy", "scipy")},
    }


def first_of(entry: Entry, runs: dict[str, Trained]) -> str | None:
    """Whose answer the method's chain starts from, in words; None for all others."""
    if entry.first is None:
        return None
    own = next((name for name, run in runs.items() if str(run.weights) == entry.first), None)
    path = Path(entry.first)
    if own is not None:
        return f"{own}, trained here"
    return f"{path.resolve().parent.name}, trained alike" if path.is_file() else f"{entry.first} as it ships"


def trained_alike(entries: Sequence[Entry]) -> dict[tuple[Any, ...] | None, list[str]]:
    """Given weights by the terms on which their cards say they were trained; None: not told."""
    found: dict[tuple[Any, ...] | None, list[str]] = {}
    for entry in entries:
        if entry.method.kind == "weights":
            found.setdefault(entry.terms, []).append(entry.method.name)
    return found


def _method(entry: Entry, outcome: Outcome) -> dict[str, Any]:
    """How one method came about."""
    kinds = {"input": "the input", "filter": "a filter, tuned", "weights": "weights as they came"}
    found: dict[str, Any] = {"kind": kinds.get(entry.method.kind, "trained here")}
    run = outcome.runs.get(entry.method.run)
    if run is not None:
        found |= {"steps": run.steps, "training seconds": round(run.seconds), "slabs a step": run.preset.data.batch}
    elif entry.terms is not None:
        steps, slabs, scans, persons = entry.terms
        found |= {"steps": steps, "slabs a step": slabs, "scans": scans, "persons": list(persons)}
    first = first_of(entry, outcome.runs)
    return found | ({"first estimate": first} if first else {})


def _last(path: Path) -> str:
    return path.resolve().name
