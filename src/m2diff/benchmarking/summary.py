"""What the rows say over persons: means with intervals, paired comparisons, regional SUVR, groups told apart.

    OUT/summary.tsv       method, drf, group, against, metric, persons, mean, low, high
    OUT/comparisons.tsv   each method against one, by dose and metric: difference, interval, p, and p after Holm over
                          the methods of that dose and metric
    OUT/regions.tsv       bias and precision of every region's SUVR
    OUT/separation.tsv    AUC, difference and effect size of the meta-ROI, patients against healthy

Intervals are 95 % bootstrap intervals over persons (docs/metrics.md).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from m2diff.benchmarking.measures import ALL, COMPARED, MARKERS, Measure, name
from m2diff.benchmarking.methods import TRUTH
from m2diff.benchmarking.table import Measured
from m2diff.evaluation.compare import Interval, Paired, holm, interval, paired, smallest_p
from m2diff.evaluation.separation import Labelled, Separation, separation
from m2diff.evaluation.suvr import Agreement, agreement

GROUPS = ("all", "healthy", "ad")


@dataclass(frozen=True)
class Compared:
    """A method against the reference method at one dose, by one measure."""

    drf: float
    measure: Measure
    paired: Paired
    holm: float
    wins: int
    """Persons for whom the method is the better one."""
    favours: str
    """The method whose mean is the better one; nobody's where both are equal."""


def mean_of(measured: Measured, method: str, drf: float, measure: Measure, group: str | None = None) -> Interval | None:
    """The mean over persons with its interval; None where nobody has the measure."""
    values = list(_values(measured, method, drf, measure, group).values())
    return interval(values, generator=_generator()) if values else None


def mean_distance(measured: Measured, method: str, drf: float, measure: Measure) -> float | None:
    """The mean over persons of what methods are ranked and compared by; None where nobody has the measure."""
    values = list(_distances(measured, method, drf, measure).values())
    return sum(values) / len(values) if values else None


def compared(
    measured: Measured, methods: Sequence[str], drf: float, measure: Measure, reference: str
) -> list[Compared]:
    """Every method against ``reference`` on the persons that both have, p values corrected together."""
    theirs = _distances(measured, reference, drf, measure)
    pairs, wins = [], []
    for method in methods:
        ours = _distances(measured, method, drf, measure)
        both = ours.keys() & theirs.keys()
        if method == reference or not both:
            continue
        a, b = ({person: side[person] for person in both} for side in (ours, theirs))
        pairs.append(paired(a, b, names=(method, reference), generator=_generator()))
        wins.append(sum(measure.better(a[person] - b[person]) for person in both))
    corrected = holm([pair.p_value for pair in pairs])
    return [
        Compared(drf, measure, pair, p, won, _favours(measure, pair))
        for pair, p, won in zip(pairs, corrected, wins, strict=True)
    ]


def regional(measured: Measured, method: str, drf: float) -> dict[str, Agreement]:
    """Bias and precision of every region's SUVR against the noise-free image's."""
    regions = dict.fromkeys(cell.where for cell in measured.cells_of(method, drf, TRUTH, "suvr_bias_percent"))
    return {
        region: agreement(measured.by_person(method, drf, TRUTH, "suvr_bias_percent", where=region).values())
        for region in regions
    }


def told_apart(measured: Measured, method: str, drf: float, marker: Measure) -> Separation | None:
    """How well ``marker`` tells patients from healthy; None where one group is missing.

    Which way the disease moves it (FDG's uptake down, an amyloid tracer's up) is the truth's to say.
    """
    truth = _labelled(measured, TRUTH, 1.0, marker)
    patients, healthy = ([scan.value for scan in truth if scan.patient == ill] for ill in (True, False))
    raised = bool(patients and healthy and np.mean(patients) > np.mean(healthy))
    return separation(_labelled(measured, method, drf, marker), raised=raised, generator=_generator())


def summary_lines(measured: Measured, methods: Sequence[tuple[str, float]]) -> Iterator[list[str]]:
    """summary.tsv; ``methods``: each method at each dose."""
    yield ["method", "drf", "group", "against", "metric", "persons", "mean", "low", "high"]
    for method, drf in methods:
        for measure in ALL:
            for group in GROUPS:
                found = mean_of(measured, method, drf, measure, None if group == "all" else group)
                if found is not None:
                    yield [method, f"{drf:g}", group, measure.against, name(measure), *_interval(found)]


def comparison_lines(found: Sequence[Compared]) -> Iterator[list[str]]:
    """comparisons.tsv: of distances, where a measure's goal is 0 or 1."""
    yield [
        "method", "reference", "drf", "against", "metric", "goal", "persons", "better_in", "difference", "low",
        "high", "p", "p_holm", "smallest_possible_p", "favours",
    ]  # fmt: skip
    for each in found:
        pair, measure = each.paired, each.measure
        persons, *rest = _interval(pair.difference)
        ps = [f"{p:.6g}" for p in (pair.p_value, each.holm, smallest_p(pair.difference.persons))]
        start = [pair.a, pair.b, f"{each.drf:g}", measure.against, name(measure), measure.goal, persons, str(each.wins)]
        yield [*start, *rest, *ps, each.favours]


def region_lines(measured: Measured, methods: Sequence[tuple[str, float]]) -> Iterator[list[str]]:
    """regions.tsv."""
    yield ["method", "drf", "region", "persons", "suvr_bias_percent", "suvr_precision_percent"]
    for method, drf in methods:
        for region, found in regional(measured, method, drf).items():
            numbers = [f"{found.bias_percent:.6g}", f"{found.precision_percent:.6g}"]
            yield [method, f"{drf:g}", region, str(found.persons), *numbers]


def separation_lines(measured: Measured, methods: Sequence[tuple[str, float]]) -> Iterator[list[str]]:
    """separation.tsv; empty but for its header where only one group was scored."""
    yield [
        "method", "drf", "marker", "persons", "patients", "healthy", "auc", "auc_low", "auc_high", "difference",
        "difference_low", "difference_high", "effect",
    ]  # fmt: skip
    for method, drf in methods:
        for marker in MARKERS:
            found = told_apart(measured, method, drf, marker)
            if found is not None:
                persons, *area = _interval(found.auc)
                start = [method, f"{drf:g}", marker.metric, persons, str(found.patients), str(found.healthy)]
                yield [*start, *area, *_interval(found.difference)[1:], f"{found.effect:.6g}"]


def all_compared(measured: Measured, methods: Sequence[str], doses: Sequence[float], reference: str) -> list[Compared]:
    """Every comparison of the page."""
    return [
        each for drf in doses for measure in COMPARED for each in compared(measured, methods, drf, measure, reference)
    ]


def _labelled(measured: Measured, method: str, drf: float, marker: Measure) -> list[Labelled]:
    cells = measured.cells_of(method, drf, marker.against, marker.metric)
    return [Labelled(cell.person, cell.group == "ad", cell.value) for cell in cells if cell.group in GROUPS]


def _values(
    measured: Measured, method: str, drf: float, measure: Measure, group: str | None = None
) -> dict[str, float]:
    where = None if measure.kinds else "brain"
    return measured.by_person(
        method, drf, measure.against, measure.metric, where=where, kinds=measure.kinds, group=group
    )


def _distances(measured: Measured, method: str, drf: float, measure: Measure) -> dict[str, float]:
    """One distance from the goal a person: of each scan, then averaged, so that opposite errors do not cancel."""
    return measured.by_person(
        method,
        drf,
        measure.against,
        measure.metric,
        where=None if measure.kinds else "brain",
        kinds=measure.kinds,
        of=measure.distance,
    )


def _favours(measure: Measure, pair: Paired) -> str:
    difference = pair.difference.mean
    return "" if difference == 0 else pair.a if measure.better(difference) else pair.b


def _interval(found: Interval) -> list[str]:
    return [str(found.persons), f"{found.mean:.6g}", f"{found.low:.6g}", f"{found.high:.6g}"]


def _generator() -> np.random.Generator:
    """The same draws for every method, so that a table does not depend on its order."""
    return np.random.default_rng(0)
