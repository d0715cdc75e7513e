"""All that came of a comparison, as tables and page read it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from m2diff.benchmarking.cost import Cost
from m2diff.benchmarking.methods import Method
from m2diff.benchmarking.people import Sides
from m2diff.benchmarking.plan import Entry
from m2diff.benchmarking.rows import Row
from m2diff.benchmarking.training import Terms, Trained
from m2diff.io import bids


@dataclass(frozen=True, eq=False)
class Shown:
    """The scan of the pictures, the doses, and where each method's answer lies, by (method, dose)."""

    subject: bids.Subject
    doses: tuple[float, ...]
    images: dict[tuple[str, float], Path]


@dataclass(frozen=True, eq=False)
class Outcome:
    """What was compared, and what was measured."""

    out: Path
    entries: tuple[Entry, ...]
    sides: Sides
    terms: Terms
    runs: dict[str, Trained]
    rows: tuple[Row, ...]
    costs: dict[str, Cost]
    against: str
    shown: Shown
    device: str

    @property
    def methods(self) -> tuple[Method, ...]:
        """The methods, the input first."""
        return tuple(entry.method for entry in self.entries)

    @property
    def names(self) -> tuple[str, ...]:
        """What tables call them."""
        return tuple(method.name for method in self.methods)

    @property
    def processes(self) -> tuple[int, ...]:
        """How many processes scored at once, of all rows."""
        return tuple(sorted({int(row["processes"]) for row in self.rows if "processes" in row}))

    @property
    def devices(self) -> tuple[str, ...]:
        """Where the answers were made, of all rows."""
        return tuple(sorted({str(row["device"]) for row in self.rows if "device" in row})) or (self.device,)

    @property
    def untrained(self) -> tuple[float, ...]:
        """Scored doses that the training cohort has not, where anything learned from it."""
        return tuple(drf for drf in self.sides.doses if self.learned and not self.sides.trained_on(drf))

    @property
    def learned(self) -> tuple[str, ...]:
        """What learned from the training cohort: presets, and runs at a path whose card names its persons only."""
        return tuple(entry.method.name for entry in self.entries if self._learned(entry))

    def _learned(self, entry: Entry) -> bool:
        persons = set(entry.training.persons or ())
        at_a_path = entry.method.kind == "weights" and Path(entry.method.source).is_file()
        here = bool(persons) and persons <= set(self.sides.train_persons)
        return entry.method.kind == "preset" or (at_a_path and here)

    @property
    def trained_on(self) -> dict[tuple[str, float], str]:
        """Whether the training cohort held a dose: yes or no by (method, drf), of what learned from it."""
        doses = {drf: "yes" if self.sides.trained_on(drf) else "no" for drf in self.sides.doses}
        return {(name, drf): told for name in self.learned for drf, told in doses.items()}
