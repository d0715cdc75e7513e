"""What the rows say: areas under ROC and LROC by dose, size and sign, and whether the goal is met."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np

import people
import rows
from m2diff.evaluation import observer
from m2diff.evaluation.compare import Interval
from m2diff.evaluation.observer import Outputs, Tally
from methods import INPUT, OURS

MARGIN = 0.02
HIT_MM = 4.0  # a hit lies this close to the lesion's border
WORDS = {
    "ROC": "the place is known, what lies there is not",
    "LROC": "the place is searched for within {search:g} mm, the person's background is known from other scans",
}
ABOUT = """Simulated. {people} people of {anatomies} anatomies, {lesions} lesions that the MRI does not show. Each cell:
area (95 % interval over people) of a channelised Hotelling observer whom the other people train; rows of all: mean over
sizes and signs. Goal: the lower bound of {ours} minus the best other method above -{margin:g}.
"""
Kind = tuple[float, bool]


def roc(cases: rows.Cases, kind: Kind) -> Tally:
    """How often a site with the lesion scores higher than one without, whatever lies around it."""
    absent, present = (_outputs(cases.site, cases.of(kind, there)) for there in (False, True))
    observers = observer.left_out(absent, present)

    def scored(seen: Outputs) -> tuple[np.ndarray, np.ndarray]:
        pairs = zip(seen.values, seen.people, strict=True)
        return np.array([observers[int(who)](values) for values, who in pairs]), seen.people

    return observer.tally(scored(absent), scored(present), len(cases.present))


def lroc(cases: rows.Cases, kind: Kind) -> Tally:
    """The same of the highest score of a region less its background, which must lie close to the lesion."""
    chosen = {there: cases.of(kind, there) for there in (False, True)}
    observers = observer.left_out(
        *(Outputs(without_background(cases.site, cases.present, each), each[0]) for each in chosen.values())
    )

    def searched(there: bool) -> tuple[np.ndarray, np.ndarray]:
        fields = without_background(cases.region, cases.present, chosen[there])
        found = [observers[int(who)].search(field) for who, field in zip(chosen[there][0], fields, strict=True)]
        return np.array([score for score, _ in found]), np.array([place for _, place in found])

    (low, _), (high, places) = searched(False), searched(True)
    away = np.linalg.norm(rows.PLACES[places] * rows.MM - cases.offset_mm[chosen[True]], axis=1)
    hits = away <= kind[0] / 2 + HIT_MM
    return observer.tally((low, chosen[False][0]), (high, chosen[True][0]), len(cases.present), hits=hits)


def without_background(values: np.ndarray, present: np.ndarray, chosen: tuple[np.ndarray, ...]) -> np.ndarray:
    """Of ``values`` (people, scans, sites, ...) the ``chosen`` cases (cases, ...), less what surrounds the lesion.

    That is the mean of the person's other scans without it: of as many in every case, so that both classes have the
    same noise.
    """
    return np.array(
        [
            values[who, scan, site] - values[who, _others(present[who, :, site], scan), site].mean(axis=0, dtype=float)
            for who, scan, site in zip(*chosen, strict=True)
        ]
    )


def _others(there: np.ndarray, scan: int) -> np.ndarray:
    """The scans without the lesion, less this one, or (with the lesion) less the one of its rank."""
    rank = int(np.flatnonzero(there == there[scan]).searchsorted(scan))
    return np.delete(np.flatnonzero(~there), rank)


def chance(cases: rows.Cases, kind: Kind) -> float:
    """The LROC area of an observer that sees nothing: half of the share of a region that counts as a hit."""
    person, scan, site = cases.of(kind, True)
    inside = np.isfinite(cases.region[person, scan, site, :, 0])
    away = rows.PLACES * rows.MM - cases.offset_mm[person, scan, site][:, None]
    hits = inside & (np.linalg.norm(away, axis=-1) <= kind[0] / 2 + HIT_MM)
    return float((hits.sum(axis=1) / inside.sum(axis=1)).mean() / 2)


def mean_area(folder: Path, numbers: Sequence[int], scans: int, drf: float, name: str) -> float:
    """The ROC area, mean over the kinds of lesions: what the filters are tuned for."""
    cases = rows.Cases.load(folder, numbers, scans, drf, name)
    return float(np.mean([_span([roc(cases, kind)]).mean for kind in people.KINDS]))


def table(folder: Path, numbers: Sequence[int], scans: int, doses: Sequence[float], names: Sequence[str]) -> str:
    """Everything in Markdown, of the people ``numbers`` whose rows are all there."""
    text, met = [], []
    for word, measure in (("ROC", roc), ("LROC", lroc)):
        for drf in doses:
            lines, reached = _section(folder, numbers, scans, drf, names, measure)
            text += [f"\n## {word}, DRF {drf:g}: {WORDS[word].format(search=rows.SEARCH_MM)}\n", *lines]
            met.append(f"{word} at DRF {drf:g} in {sum(reached)} of {len(reached)} sizes and signs")
    lesions = len(numbers) * scans * people.SITES // 2
    anatomies = len({number % len(people.NAMES) for number in numbers})
    about = ABOUT.format(people=len(numbers), anatomies=anatomies, lesions=lesions, ours=OURS, margin=MARGIN)
    return "\n".join([about, f"The goal is met: {'; '.join(met)}.", *text]) + "\n"


def _section(
    folder: Path,
    numbers: Sequence[int],
    scans: int,
    drf: float,
    names: Sequence[str],
    measure: Callable[[rows.Cases, Kind], Tally],
) -> tuple[list[str], list[bool]]:
    """One dose's lines, and for each size and sign whether the goal is met."""
    found: dict[str, dict[Kind, Tally]] = {}
    for dose, name in ((rows.STANDARD, INPUT), *((drf, name) for name in names)):
        cases = rows.Cases.load(folder, numbers, scans, dose, name)
        found["standard dose" if dose == rows.STANDARD else name] = {k: measure(cases, k) for k in people.KINDS}
    guess = {kind: chance(cases, kind) if measure is lroc else 0.5 for kind in people.KINDS}
    lines = [f"| lesion | chance | {' | '.join(found)} | {OURS} - best other | goal |", "|---" * (len(found) + 4) + "|"]
    reached = []
    for label, kinds in _groups():
        areas = {name: _span([by_kind[kind] for kind in kinds]) for name, by_kind in found.items()}
        others = [name for name in names if not name.startswith(OURS)]
        best = max(others, key=lambda name: areas[name].mean)
        pair = ([found[name][kind] for kind in kinds] for name in (OURS, best))
        gap = observer.difference(*pair, generator=np.random.default_rng(0))
        if len(kinds) == 1:
            reached.append(gap.low > -MARGIN)
        cells = [label, f"{np.mean([guess[kind] for kind in kinds]):.2f}", *map(_cell, areas.values())]
        cells += [f"{_cell(gap, '+')} {best}", "yes" if gap.low > -MARGIN else "no"]
        lines.append(f"| {' | '.join(cells)} |")
    return lines, reached


def _groups() -> Iterator[tuple[str, list[Kind]]]:
    """The rows of a table: every size and sign, every sign, all."""
    for hot, word in ((True, "hot"), (False, "cold")):
        for diameter in people.CONTRASTS:
            yield f"{word} {diameter:g} mm", [(diameter, hot)]
        yield f"**all {word}**", [kind for kind in people.KINDS if kind[1] == hot]
    yield "**all**", list(people.KINDS)


def _span(tallies: Sequence[Tally]) -> Interval:
    return observer.area(tallies, generator=np.random.default_rng(0))


def _cell(span: Interval, sign: str = "") -> str:
    return f"{span.mean:{sign}.3f} ({span.low:{sign}.2f} to {span.high:{sign}.2f})"


def _outputs(values: np.ndarray, chosen: tuple[np.ndarray, ...]) -> Outputs:
    return Outputs(values[chosen].astype(np.float64), chosen[0])
