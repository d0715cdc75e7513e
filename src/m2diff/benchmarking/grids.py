"""The tables of the page: numbers over persons turned into text, the best of a column marked."""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from statistics import median

from m2diff.benchmarking.measures import COMPARED, MARKERS, SECONDS, Measure
from m2diff.benchmarking.methods import STANDARD, TRUTH
from m2diff.benchmarking.outcome import Outcome
from m2diff.benchmarking.score import NONE
from m2diff.benchmarking.summary import Compared, mean_distance, mean_of, regional, told_apart
from m2diff.benchmarking.table import Measured
from m2diff.evaluation.compare import Interval
from m2diff.reporting.comparison import Cell, Grid, Line
from m2diff.reporting.page import number

EMPTY = Cell("–", (), "nan")


def measures(outcome: Outcome, measured: Measured, wanted: Sequence[Measure], usual: float) -> tuple[Grid, ...]:
    """A table a dose: a line a method, a column a measure; the standard scan below as a reference."""
    found = []
    for drf in outcome.sides.doses:
        columns = [[mean_of(measured, name, drf, measure) for name in outcome.names] for measure in wanted]
        reference = [mean_of(measured, STANDARD, 1.0, measure) for measure in wanted]
        best = [
            _best([mean_distance(measured, name, drf, measure) for name in outcome.names], measure)
            for measure in wanted
        ]
        lines = [
            Line(
                name,
                tuple(_cell(c[n], m, n == b) for c, m, b in zip(columns, wanted, best, strict=True)),
                _kind(outcome, name),
            )
            for n, name in enumerate(outcome.names)
        ]
        last = Line(
            "standard scan", tuple(_cell(v, m, False) for v, m in zip(reference, wanted, strict=True)), "reference"
        )
        known = any(cell is not None for column in columns for cell in column)
        titles = ("method", *(measure.title for measure in wanted))
        if known:
            found.append(Grid(_dose(outcome, drf), titles, (*lines, last), drf == usual))
    return tuple(found)


def comparisons(outcome: Outcome, found: Sequence[Compared], usual: float) -> tuple[Grid, ...]:
    """A table a dose: each method minus the reference method."""
    grids = []
    for drf in outcome.sides.doses:
        here = {(each.paired.a, each.measure): each for each in found if each.drf == drf}
        names = [name for name in outcome.names if any((name, measure) in here for measure in COMPARED)]
        wanted = [measure for measure in COMPARED if any((name, measure) in here for name in names)]
        lines = [Line(name, tuple(_difference(here.get((name, measure))) for measure in wanted)) for name in names]
        titles = ("method", *(measure.title for measure in wanted))
        if lines:
            grids.append(Grid(_dose(outcome, drf), titles, tuple(lines), drf == usual))
    return tuple(grids)


def regions(outcome: Outcome, measured: Measured, usual: float) -> tuple[Grid, ...]:
    """A table a dose: mean absolute bias, mean precision, and the region of the worst bias."""
    titles = ("method", "mean |bias|, %", "mean precision, %", "worst bias, %", "its precision, %", "in")
    grids = []
    for drf in outcome.sides.doses:
        lines = [_regional(measured, name, drf, _kind(outcome, name)) for name in outcome.names]
        standard = _regional(measured, STANDARD, 1.0, "reference", "standard scan")
        grids.append(Grid(_dose(outcome, drf), titles, (*lines, standard), drf == usual))
    return tuple(grids)


def separation(outcome: Outcome, measured: Measured) -> tuple[Grid, ...]:
    """A table a marker: for each dose AUC and difference of the groups; the standard scan and the truth below."""
    doses = outcome.sides.doses
    titles = ("method", *(text for drf in doses for text in (f"AUC, {_dose(outcome, drf)}", "healthy − AD; effect")))
    grids = []
    for place, marker in enumerate(MARKERS):
        lines = [
            Line(name, tuple(c for drf in doses for c in _apart(measured, name, drf, marker)), _kind(outcome, name))
            for name in outcome.names
        ]
        for name, words in ((STANDARD, "standard scan"), (TRUTH, "truth")):
            lines.append(Line(words, _apart(measured, name, 1.0, marker) * len(doses), "reference"))
        grids.append(Grid(marker.title, titles, tuple(lines), place == 0))
    return tuple(grids)


def cost(outcome: Outcome, measured: Measured) -> Grid:
    """Seconds, memory, parameters, and what the training took."""
    titles = (
        "method", "seconds a brain", "of one alone", "peak memory, MiB", "memory before it answers",
        "parameters, million", "training steps", "training minutes",
    )  # fmt: skip
    lines = []
    for entry in outcome.entries:
        name = entry.method.name
        spent, run = outcome.costs.get(name), outcome.runs.get(entry.method.run)
        seconds = [c.value for drf in outcome.sides.doses for c in measured.cells_of(name, drf, NONE, SECONDS.metric)]
        cells = [
            _plain(median(seconds), 1) if seconds else EMPTY,
            *(
                (_plain(spent.seconds, 1), _plain(spent.peak_mib, 0), _plain(spent.base_mib, 0))
                if spent
                else (EMPTY,) * 3
            ),
            _plain(spent.parameters / 1e6, 2) if spent and spent.parameters else EMPTY,
            _plain(steps, 0) if isinstance(steps := entry.training.told.get("steps"), int) else EMPTY,
            _plain(run.seconds / 60, 1) if run else EMPTY,
        ]
        lines.append(Line(name, tuple(cells), _kind(outcome, name)))
    return Grid("Cost of each method", titles, tuple(lines))


def _kind(outcome: Outcome, name: str) -> str:
    return "ours" if name == outcome.against else ""


def _dose(outcome: Outcome, drf: float) -> str:
    return f"DRF {drf:g}" + (" * not trained on" if drf in outcome.untrained else "")


def _best(distances: Sequence[float | None], measure: Measure) -> int:
    """The place of the best mean distance; -1 where nobody has one."""
    known = {n: each for n, each in enumerate(distances) if each is not None}
    if not known:
        return -1
    return max(known, key=known.__getitem__) if measure.goal == "high" else min(known, key=known.__getitem__)


def _cell(found: Interval | None, measure: Measure, best: bool) -> Cell:
    if found is None:
        return EMPTY
    few = (f"n = {found.persons}",) if measure.kinds else ()
    cell = _interval(found, measure.digits)
    return Cell(cell.text, (*cell.below, *few), cell.value, "best" if best else "")


def _interval(found: Interval, digits: int) -> Cell:
    if not isfinite(found.mean):
        return EMPTY
    return Cell(_text(found.mean, digits), (f"{_text(found.low, digits)} to {_text(found.high, digits)}",), found.mean)


def _difference(each: Compared | None) -> Cell:
    """A difference with its interval and corrected p, coloured where the interval leaves 0 out."""
    if each is None:
        return EMPTY
    d, digits = each.paired.difference, each.measure.digits
    clear = d.low > 0 or d.high < 0
    mark = "" if not clear else "good" if each.measure.better(d.mean) else "bad"
    below = (
        f"{_text(d.low, digits)} to {_text(d.high, digits)}",
        f"for {each.wins} of {d.persons}; p {each.holm:.2g}",
    )
    return Cell(_text(d.mean, digits, sign=True), below, d.mean, mark)


def _apart(measured: Measured, name: str, drf: float, marker: Measure) -> tuple[Cell, Cell]:
    """AUC, and the difference of the groups with its effect size."""
    found = told_apart(measured, name, drf, marker)
    if found is None:
        return EMPTY, EMPTY
    gap = _interval(found.difference, 3)
    return _interval(found.auc, 2), Cell(gap.text, (*gap.below, f"d {_text(found.effect, 2)}"), gap.value)


def _regional(measured: Measured, name: str, drf: float, kind: str, words: str = "") -> Line:
    found = regional(measured, name, drf)
    if not found:
        return Line(words or name, (EMPTY,) * 5, kind)
    worst = max(found, key=lambda region: abs(found[region].bias_percent))
    spread = [each.precision_percent for each in found.values() if isfinite(each.precision_percent)]
    cells = (
        _plain(sum(abs(each.bias_percent) for each in found.values()) / len(found), 2),
        _plain(sum(spread) / len(spread), 2) if spread else EMPTY,
        Cell(_text(found[worst].bias_percent, 1, sign=True), (), found[worst].bias_percent),
        _plain(found[worst].precision_percent, 1),
        Cell(worst.replace("_", " "), (), worst),
    )
    return Line(words or name, cells, kind)


def _plain(value: float, digits: int) -> Cell:
    return Cell(_text(value, digits), (), value) if isfinite(value) else EMPTY


def _text(value: float, digits: int, *, sign: bool = False) -> str:
    value = round(value, digits) + 0.0  # no minus before a zero
    plus = "+" if sign and value > 0 else ""
    return plus + number(value, digits).replace("-", "−")
