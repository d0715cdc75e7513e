"""From rows to tables: one tidy table of everything, and the numbers over persons that the page is made of.

    OUT/table.tsv   method, person, scan, group, drf, trained_on, against, where, metric, value: a line a measurement

The unit is the person: scans of one person are averaged before anything is said of several.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from m2diff.benchmarking.rows import Row
from m2diff.io.atomic import replacing

HEADER = ("method", "person", "scan", "group", "drf", "trained_on", "against", "where", "metric", "value")


@dataclass(frozen=True)
class Cell:
    """One measurement of one scan, as a line of the tidy table."""

    method: str
    person: str
    scan: str
    group: str
    drf: float
    against: str
    where: str
    metric: str
    value: float


class Measured:
    """All measurements, findable by method, dose and metric."""

    def __init__(self, rows: Iterable[Row]) -> None:
        self.cells = [_cell(row, each) for row in rows for each in _measured(row)]
        self._by: dict[tuple[str, float, str, str], list[Cell]] = defaultdict(list)
        for cell in self.cells:
            self._by[cell.method, cell.drf, cell.against, cell.metric].append(cell)

    def cells_of(self, method: str, drf: float, against: str, metric: str) -> list[Cell]:
        """Every measurement of a kind, of all scans and places."""
        return self._by.get((method, drf, against, metric), [])

    def by_person(
        self,
        method: str,
        drf: float,
        against: str,
        metric: str,
        *,
        where: str | None = None,
        kinds: Sequence[str] = (),
        group: str | None = None,
        of: Callable[[float], float] = float,
    ) -> dict[str, float]:
        """One number a person, the mean over their scans: at one place, or over the lesions of these kinds.

        ``of``: what is averaged, of each measurement.
        """
        values: dict[str, list[float]] = defaultdict(list)
        for cell in self.cells_of(method, drf, against, metric):
            there = cell.where == where if where is not None else cell.where.split(" ")[0] in kinds
            if there and group in (None, cell.group):
                values[cell.person].append(of(cell.value))
        return {person: sum(each) / len(each) for person, each in sorted(values.items())}


def tidy(measured: Measured, trained_on: Mapping[tuple[str, float], str]) -> Iterator[list[str]]:
    """The lines of table.tsv, header first; ``trained_on``: yes or no by (method, drf), where there is an answer."""
    yield list(HEADER)
    for cell in measured.cells:
        trained = trained_on.get((cell.method, cell.drf), "n/a")
        yield [
            cell.method, cell.person, cell.scan, cell.group, f"{cell.drf:g}", trained, cell.against, cell.where,
            cell.metric, f"{cell.value:.8g}",
        ]  # fmt: skip


def write_tsv(path: Path, lines: Iterable[Sequence[str]]) -> Path:
    """A table of tab-separated values, whole or not at all."""
    text = io.StringIO()
    csv.writer(text, delimiter="\t", lineterminator="\n").writerows(lines)
    with replacing(path) as temporary:
        temporary.write_text(text.getvalue(), encoding="utf-8")
    return path


def _measured(row: Row) -> Iterator[tuple[str, str, str, float]]:
    for against, where, metric, value in row["measured"]:
        yield against, where, metric, float(value)
    if "seconds" in row:
        yield "-", "brain", "seconds", float(row["seconds"])


def _cell(row: Row, each: tuple[str, str, str, float]) -> Cell:
    return Cell(row["method"], row["person"], row["scan"], row["group"], float(row["drf"]), *each)
