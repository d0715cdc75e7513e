"""Results over persons, from the rows: means with intervals, paired comparisons, regional SUVR, group separation.

    OUT/table.tsv         method, person, scan, group, drf, trained_on, against, where, metric, value
    OUT/summary.tsv       method, drf, group, against, metric, persons, mean, low, high
    OUT/comparisons.tsv   each method against one, by dose and metric: difference, interval, p, and p after Holm over
                          the methods of that dose and metric
    OUT/regions.tsv       bias and precision of every region's SUVR
    OUT/separation.tsv    AUC, difference and effect size of the meta-ROI, patients against healthy

The unit is the person: scans of one person are averaged first. Intervals: 95 %, bootstrap (docs/metrics.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from m2diff.benchmarking.methods import STANDARD_SCAN, TRUTH
from m2diff.benchmarking.score import NO_REFERENCE, WHOLE_BRAIN, Row
from m2diff.evaluation.compare import Interval, Paired, holm, interval, paired, smallest_p
from m2diff.evaluation.separation import Labelled, Separation, separation
from m2diff.evaluation.suvr import Agreement, agreement

_Lines = Iterator[list[str]]


@dataclass(frozen=True)
class Measure:
    """One number per scan (or the mean over lesions of one kind), and how to read it."""

    against: str
    metric: str
    title: str
    goal: Literal["high", "low", "zero", "one"]
    digits: int = 2
    lesions: str = ""  # the kind of lesions; empty: of the whole brain

    @property
    def name(self) -> str:
        """The metric with the kind of lesions, as in the tables."""
        return f"{self.metric}, {self.lesions}" if self.lesions else self.metric

    def counts(self, where: str) -> bool:
        """Whether a measurement at this place belongs to it."""
        return where.split(" ")[0] == self.lesions if self.lesions else where == WHOLE_BRAIN

    def distance(self, value: float) -> float:
        """The number by which methods are compared: distance to a goal of 0 or 1, otherwise the value."""
        return {"zero": abs(value), "one": abs(value - 1.0)}.get(self.goal, value)

    def better(self, difference: float) -> bool:
        """Whether a difference of distances (this - other) favours this."""
        return difference > 0 if self.goal == "high" else difference < 0


TRUE_PSNR = Measure(TRUTH, "psnr", "PSNR to the truth, dB", "high")
DOSE_GAIN = Measure(TRUTH, "dose_gain", "worth × its dose", "high", 1)
QUALITY = (
    Measure(STANDARD_SCAN, "psnr", "PSNR, dB", "high"),
    Measure(STANDARD_SCAN, "ssim", "SSIM", "high", 3),
    Measure(STANDARD_SCAN, "nrmse", "NRMSE", "low", 4),
    TRUE_PSNR,
    Measure(TRUTH, "ssim", "SSIM to the truth", "high", 3),
    Measure(TRUTH, "nrmse", "NRMSE to the truth", "low", 4),
    DOSE_GAIN,
    Measure(TRUTH, "bias_percent", "bias, %", "zero"),
    Measure(STANDARD_SCAN, "white_matter_cov_ratio", "texture / standard's", "one"),
    Measure(TRUTH, "roughness", "roughness along z", "low"),
    Measure(TRUTH, "flicker", "flicker along z", "low"),
)
_REGIONAL = (
    Measure(TRUTH, "regional_error_percent", "mean regional error, %", "low"),
    Measure(TRUTH, "meta_roi_bias_percent", "meta-ROI SUVR bias, %", "zero"),
)
LESION_MEASURES = (
    Measure(TRUTH, "recovery", "recovery, hot", "one", 2, "pet_hot"),
    Measure(TRUTH, "recovery", "recovery, cold", "one", 2, "pet_cold"),
    Measure(TRUTH, "leakage", "leakage, MRI only", "zero", 3, "mri_only"),
)
SECONDS = Measure(NO_REFERENCE, "seconds", "seconds a brain", "low", 1)
_SUMMED_UP = (*QUALITY, *_REGIONAL, *LESION_MEASURES, SECONDS)

COMPARED = (*(m for m in QUALITY if m.metric not in ("roughness", "nrmse")), *_REGIONAL, *LESION_MEASURES)
"""Measures that are tested; without NRMSE (as PSNR) and roughness (as flicker, with more noise)."""

MARKERS = (
    Measure(NO_REFERENCE, "meta_roi_spared_ratio", "meta-ROI over sensorimotor cortex", "low"),
    Measure(NO_REFERENCE, "meta_roi_suvr", "meta-ROI SUVR (over cerebellar grey matter)", "low"),
)
"""What separates patients from healthy: lower in disease for FDG, higher for amyloid."""

_GROUPS = ("all", "healthy", "ad")
_SEED = 0  # the same draws for every method, whatever their order


@dataclass(frozen=True)
class _Value:
    """One measurement of one scan."""

    person: str
    group: str
    where: str
    value: float


class Measurements:
    """All measurements of some rows, by method, dose and metric."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._by: dict[tuple[str, float, str, str], list[_Value]] = defaultdict(list)
        for row in rows:
            for against, where, metric, value in _measured(row):
                found = _Value(row["person"], row["group"], where, value)
                self._by[row["method"], float(row["drf"]), against, metric].append(found)

    def values(self, method: str, drf: float, against: str, metric: str) -> list[_Value]:
        """All measurements of a kind, over scans and places."""
        return self._by.get((method, drf, against, metric), [])

    def by_person(
        self, method: str, drf: float, measure: Measure, group: str = "all", of: Callable[[float], float] = float
    ) -> dict[str, float]:
        """One number per person, the mean over scans (and lesions); ``of`` is applied to each value first."""
        values = self.values(method, drf, measure.against, measure.metric)
        return _averaged(
            (v.person, of(v.value)) for v in values if measure.counts(v.where) and group in ("all", v.group)
        )

    def distances(self, method: str, drf: float, measure: Measure) -> dict[str, float]:
        """The mean distance from the goal per person; each scan's is taken first, so opposite errors do not cancel."""
        return self.by_person(method, drf, measure, of=measure.distance)


@dataclass(frozen=True)
class Compared:
    """A method against the reference method at one dose, by one measure."""

    drf: float
    measure: Measure
    paired: Paired
    holm: float
    wins: int  # persons for whom the method is the better one

    @property
    def favours(self) -> str:
        """The method with the better mean; empty where both are equal."""
        difference = self.paired.difference.mean
        return "" if difference == 0 else self.paired.a if self.measure.better(difference) else self.paired.b


def mean_of(measured: Measurements, method: str, drf: float, measure: Measure, group: str = "all") -> Interval | None:
    """The mean over persons with its interval; None if nobody has the measure."""
    values = list(measured.by_person(method, drf, measure, group).values())
    return interval(values, generator=np.random.default_rng(_SEED)) if values else None


def mean_distance(measured: Measurements, method: str, drf: float, measure: Measure) -> float | None:
    """The mean distance over persons, by which methods are ranked; None if nobody has the measure."""
    values = measured.distances(method, drf, measure).values()
    return sum(values) / len(values) if values else None


def compared(
    measured: Measurements, methods: Sequence[str], drf: float, measure: Measure, reference: str
) -> list[Compared]:
    """Every method against ``reference`` on their common persons; p values are Holm-corrected."""
    theirs = measured.distances(reference, drf, measure)
    pairs, wins = [], []
    for method in methods:
        ours = measured.distances(method, drf, measure)
        both = ours.keys() & theirs.keys()
        if method == reference or not both:
            continue
        a, b = ({person: side[person] for person in both} for side in (ours, theirs))
        pairs.append(paired(a, b, names=(method, reference), generator=np.random.default_rng(_SEED)))
        wins.append(sum(measure.better(a[person] - b[person]) for person in both))
    corrected = holm([pair.p_value for pair in pairs])
    return [Compared(drf, measure, *each) for each in zip(pairs, corrected, wins, strict=True)]


def regional(measured: Measurements, method: str, drf: float) -> dict[str, Agreement]:
    """Bias and precision of every region's SUVR against the noise-free image's."""
    values = measured.values(method, drf, TRUTH, "suvr_bias_percent")
    return {
        region: agreement(_averaged((v.person, v.value) for v in values if v.where == region).values())
        for region in dict.fromkeys(v.where for v in values)
    }


def told_apart(measured: Measurements, method: str, drf: float, marker: Measure) -> Separation | None:
    """How well ``marker`` separates patients from healthy, in the truth's direction; None if a group is missing."""
    truth = _labelled(measured, TRUTH, 1.0, marker)
    patients, healthy = ([scan.value for scan in truth if scan.patient == ill] for ill in (True, False))
    raised = bool(patients and healthy and np.mean(patients) > np.mean(healthy))
    return separation(_labelled(measured, method, drf, marker), raised=raised, generator=np.random.default_rng(_SEED))


def table_lines(measured: Measurements, trained_on: Mapping[tuple[str, float], str]) -> _Lines:
    """table.tsv; ``trained_on``: yes or no by (method, drf), where there is an answer."""
    yield ["method", "person", "scan", "group", "drf", "trained_on", "against", "where", "metric", "value"]
    for row in measured.rows:
        method, drf = row["method"], float(row["drf"])
        start = [method, row["person"], row["scan"], row["group"], f"{drf:g}", trained_on.get((method, drf), "n/a")]
        for against, where, metric, value in _measured(row):
            yield [*start, against, where, metric, f"{value:.8g}"]


def summary_lines(measured: Measurements, methods: Sequence[tuple[str, float]]) -> _Lines:
    """summary.tsv; ``methods``: each method at each dose."""
    yield ["method", "drf", "group", "against", "metric", "persons", "mean", "low", "high"]
    for method, drf in methods:
        for measure in _SUMMED_UP:
            for group in _GROUPS:
                found = mean_of(measured, method, drf, measure, group)
                if found is not None:
                    yield [method, f"{drf:g}", group, measure.against, measure.name, *_interval(found)]


def comparison_lines(found: Sequence[Compared]) -> _Lines:
    """comparisons.tsv: of distances, where a measure's goal is 0 or 1."""
    yield [
        "method", "reference", "drf", "against", "metric", "goal", "persons", "better_in", "difference", "low",
        "high", "p", "p_holm", "smallest_possible_p", "favours",
    ]  # fmt: skip
    for each in found:
        pair, measure = each.paired, each.measure
        persons, *rest = _interval(pair.difference)
        ps = [f"{p:.6g}" for p in (pair.p_value, each.holm, smallest_p(pair.difference.persons))]
        start = [pair.a, pair.b, f"{each.drf:g}", measure.against, measure.name, measure.goal, persons, str(each.wins)]
        yield [*start, *rest, *ps, each.favours]


def region_lines(measured: Measurements, methods: Sequence[tuple[str, float]]) -> _Lines:
    """regions.tsv."""
    yield ["method", "drf", "region", "persons", "suvr_bias_percent", "suvr_precision_percent"]
    for method, drf in methods:
        for region, found in regional(measured, method, drf).items():
            numbers = [f"{found.bias_percent:.6g}", f"{found.precision_percent:.6g}"]
            yield [method, f"{drf:g}", region, str(found.persons), *numbers]


def separation_lines(measured: Measurements, methods: Sequence[tuple[str, float]]) -> _Lines:
    """separation.tsv; only its header if a group is missing."""
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


def _measured(row: Row) -> Iterator[tuple[str, str, str, float]]:
    for against, where, metric, value in row["measured"]:
        yield against, where, metric, float(value)
    if "seconds" in row:
        yield NO_REFERENCE, WHOLE_BRAIN, SECONDS.metric, float(row["seconds"])


def _averaged(values: Iterator[tuple[str, float]]) -> dict[str, float]:
    """The mean of each person's values."""
    found: dict[str, list[float]] = defaultdict(list)
    for person, value in values:
        found[person].append(value)
    return {person: sum(each) / len(each) for person, each in sorted(found.items())}


def _labelled(measured: Measurements, method: str, drf: float, marker: Measure) -> list[Labelled]:
    values = measured.values(method, drf, marker.against, marker.metric)
    return [Labelled(v.person, v.group == "ad", v.value) for v in values if v.group in _GROUPS]


def _interval(found: Interval) -> list[str]:
    return [str(found.persons), f"{found.mean:.6g}", f"{found.low:.6g}", f"{found.high:.6g}"]
