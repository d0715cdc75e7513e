"""The tables of the page: numbers over persons as text, the best of a column marked."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from statistics import median

from m2diff.benchmarking import summary
from m2diff.benchmarking.methods import STANDARD_SCAN, TRUTH, Entry
from m2diff.benchmarking.outcome import Outcome, usual_drf
from m2diff.benchmarking.score import NO_REFERENCE
from m2diff.benchmarking.summary import COMPARED, MARKERS, SECONDS, Compared, Measure, mean_of
from m2diff.evaluation.compare import Interval
from m2diff.families import stored
from m2diff.reporting.comparison import PageTable, TableCell, TableLine
from m2diff.reporting.page import number_text

_EMPTY = TableCell("–", (), "nan")
_REGIONAL = ("mean |bias|, %", "mean precision, %", "worst bias, %", "its precision, %", "in")
_COST = (
    "seconds a brain", "of one alone", "peak memory, MiB", "memory before it answers", "parameters, million",
    "training steps", "training minutes",
)  # fmt: skip


def measure_tables(outcome: Outcome, wanted: Sequence[Measure]) -> tuple[PageTable, ...]:
    """A table per dose: a row per method, a column per measure, the standard scan last."""
    names, measured, found = outcome.names, outcome.measured, []
    reference = [_mean_cell(mean_of(measured, STANDARD_SCAN, 1.0, measure), measure) for measure in wanted]
    for drf in outcome.sides.doses:
        means = {name: [mean_of(measured, name, drf, measure) for measure in wanted] for name in names}
        best = [_best({name: summary.mean_distance(measured, name, drf, m) for name in names}, m) for m in wanted]
        lines = []
        for name in names:
            cells = zip(means[name], wanted, best, strict=True)
            lines.append(_line(outcome, name, (_mean_cell(mean, m, name == winner) for mean, m, winner in cells)))
        lines.append(TableLine("standard scan", tuple(reference), "reference"))
        if any(mean is not None for each in means.values() for mean in each):
            found.append(_dose_table(outcome, drf, [measure.title for measure in wanted], lines))
    return tuple(found)


def comparison_tables(outcome: Outcome) -> tuple[PageTable, ...]:
    """A table per dose: each method minus the reference method."""
    found = []
    for drf in outcome.sides.doses:
        here = {(each.paired.a, each.measure): each for each in outcome.compared if each.drf == drf}
        wanted = [measure for measure in COMPARED if any(measure == other for _, other in here)]
        names = [name for name in outcome.names if any(name == other for other, _ in here)]
        lines = [TableLine(name, tuple(_difference(here.get((name, m))) for m in wanted)) for name in names]
        if lines:
            found.append(_dose_table(outcome, drf, [measure.title for measure in wanted], lines))
    return tuple(found)


def regional_tables(outcome: Outcome) -> tuple[PageTable, ...]:
    """A table per dose: mean absolute bias, mean precision, and the region of the worst bias."""
    standard = TableLine("standard scan", tuple(_regional(outcome, STANDARD_SCAN, 1.0)), "reference")
    found = []
    for drf in outcome.sides.doses:
        lines = [_line(outcome, name, _regional(outcome, name, drf)) for name in outcome.names]
        found.append(_dose_table(outcome, drf, _REGIONAL, [*lines, standard]))
    return tuple(found)


def separation_tables(outcome: Outcome) -> tuple[PageTable, ...]:
    """A table per marker: AUC and group difference per dose, with standard scan and truth; none for one group."""
    if summary.told_apart(outcome.measured, TRUTH, 1.0, MARKERS[0]) is None:
        return ()
    doses = outcome.sides.doses
    titles = ("method", *(text for drf in doses for text in (f"AUC, {_dose(outcome, drf)}", "healthy − AD; effect")))
    found = []
    for place, marker in enumerate(MARKERS):
        lines = [
            _line(outcome, name, (cell for drf in doses for cell in _apart(outcome, name, drf, marker)))
            for name in outcome.names
        ]
        for name, words in ((STANDARD_SCAN, "standard scan"), (TRUTH, "truth")):
            lines.append(TableLine(words, _apart(outcome, name, 1.0, marker) * len(doses), "reference"))
        found.append(PageTable(marker.title, titles, tuple(lines), place == 0))
    return tuple(found)


def cost_table(outcome: Outcome) -> PageTable:
    """Seconds, memory, parameters and training cost."""
    lines = [_line(outcome, entry.method.name, _cost(outcome, entry)) for entry in outcome.entries]
    return PageTable("Cost of each method", ("method", *_COST), tuple(lines))


def _dose_table(outcome: Outcome, drf: float, titles: Sequence[str], lines: Sequence[TableLine]) -> PageTable:
    return PageTable(_dose(outcome, drf), ("method", *titles), tuple(lines), drf == usual_drf(outcome.sides.doses))


def _line(outcome: Outcome, name: str, cells: Iterable[TableCell]) -> TableLine:
    return TableLine(name, tuple(cells), "ours" if name == outcome.against else "")


def _dose(outcome: Outcome, drf: float) -> str:
    return f"DRF {drf:g}" + (" * not trained on" if drf in outcome.untrained else "")


def _best(distances: dict[str, float | None], measure: Measure) -> str | None:
    """The name of the best mean distance; None if there is none."""
    known = {name: each for name, each in distances.items() if each is not None}
    pick = max if measure.goal == "high" else min
    return pick(known, key=known.__getitem__, default=None)


def _mean_cell(found: Interval | None, measure: Measure, best: bool = False) -> TableCell:
    if found is None:
        return _EMPTY
    few = (f"n = {found.persons}",) if measure.lesions else ()
    cell = _interval(found, measure.digits)
    return TableCell(cell.text, (*cell.below, *few), cell.value, "best" if best else "")


def _interval(found: Interval, digits: int) -> TableCell:
    if not isfinite(found.mean):
        return _EMPTY
    return TableCell(_text(found.mean, digits), (_span(found, digits),), found.mean)


def _difference(each: Compared | None) -> TableCell:
    """A difference with its interval and corrected p, coloured where the interval excludes 0."""
    if each is None:
        return _EMPTY
    d, digits = each.paired.difference, each.measure.digits
    clear = d.low > 0 or d.high < 0
    mark = "" if not clear else "good" if each.measure.better(d.mean) else "bad"
    below = (_span(d, digits), f"for {each.wins} of {d.persons}; p {each.holm:.2g}")
    return TableCell(_text(d.mean, digits, sign=True), below, d.mean, mark)


def _apart(outcome: Outcome, name: str, drf: float, marker: Measure) -> tuple[TableCell, TableCell]:
    """AUC, and the group difference with its effect size."""
    found = summary.told_apart(outcome.measured, name, drf, marker)
    if found is None:
        return _EMPTY, _EMPTY
    gap = _interval(found.difference, 3)
    return _interval(found.auc, 2), TableCell(gap.text, (*gap.below, f"d {_text(found.effect, 2)}"), gap.value)


def _regional(outcome: Outcome, name: str, drf: float) -> list[TableCell]:
    found = summary.regional(outcome.measured, name, drf)
    if not found:
        return [_EMPTY] * len(_REGIONAL)
    worst = max(found, key=lambda region: abs(found[region].bias_percent))
    spread = [each.precision_percent for each in found.values() if isfinite(each.precision_percent)]
    return [
        _plain(sum(abs(each.bias_percent) for each in found.values()) / len(found), 2),
        _plain(sum(spread) / len(spread), 2) if spread else _EMPTY,
        TableCell(_text(found[worst].bias_percent, 1, sign=True), (), found[worst].bias_percent),
        _plain(found[worst].precision_percent, 1),
        TableCell(worst.replace("_", " "), (), worst),
    ]


def _cost(outcome: Outcome, entry: Entry) -> list[TableCell]:
    name, measured = entry.method.name, outcome.measured
    spent, run = outcome.costs.get(name), outcome.runs.get(entry.method.run)
    steps = stored.steps_of(entry.card)
    seconds = [v.value for drf in outcome.sides.doses for v in measured.values(name, drf, NO_REFERENCE, SECONDS.metric)]
    alone = ((spent.seconds, 1), (spent.peak_mib, 0), (spent.base_mib, 0)) if spent else ()
    return [
        _plain(median(seconds), 1) if seconds else _EMPTY,
        *([_plain(*each) for each in alone] or [_EMPTY] * 3),
        _plain(spent.parameters / 1e6, 2) if spent and spent.parameters else _EMPTY,
        _plain(steps, 0) if steps else _EMPTY,
        _plain(run.seconds / 60, 1) if run else _EMPTY,
    ]


def _span(found: Interval, digits: int) -> str:
    return f"{_text(found.low, digits)} to {_text(found.high, digits)}"


def _plain(value: float, digits: int) -> TableCell:
    return TableCell(_text(value, digits), (), value) if isfinite(value) else _EMPTY


def _text(value: float, digits: int, *, sign: bool = False) -> str:
    value = round(value, digits) + 0.0  # no minus before a zero
    plus = "+" if sign and value > 0 else ""
    return plus + number_text(value, digits).replace("-", "−")
