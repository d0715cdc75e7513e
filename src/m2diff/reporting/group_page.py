"""The page of all scans of a derivative data set: a small picture, the quality and the marks of each."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from operator import itemgetter
from statistics import median

from m2diff.reporting.inputs import KeyNumber
from m2diff.reporting.page import environment, percent
from m2diff.reporting.paint import readable
from m2diff.reporting.readings import WORDS, Reading, readings

_STRIP = (460, 46)  # width and height of a strip of dots, pixels
_ROWS = 5  # of dots, so that equal values lie beside each other


@dataclass(frozen=True)
class ScanRow:
    """One scan. Means are over the head, in ``unit``; ``alignment`` as ``Alignment.to_json`` tells it, or empty.

    ``marks``: why somebody should look at it. ``report``: its page, relative to this one. ``thumbnail``: JPEG.
    """

    name: str
    participant: str
    session: str | None
    weights: str
    drf: float | None
    mri: bool
    alignment: Mapping[str, float]
    mean_input: float
    mean_enhanced: float
    unit: str
    warnings: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()
    report: str | None = None
    thumbnail: bytes = field(default=b"", repr=False)

    @property
    def change_percent(self) -> float:
        """The enhanced mean less the low-dose one, in per cent of the latter; NaN where that is 0."""
        return 100 * (self.mean_enhanced / self.mean_input - 1) if self.mean_input else nan

    @property
    def readings(self) -> tuple[Reading, ...]:
        """The words of the alignment with what to make of them."""
        return readings(self.alignment)

    @property
    def picture(self) -> str:
        """The thumbnail as base64."""
        return base64.b64encode(self.thumbnail).decode("ascii")


@dataclass(frozen=True)
class Dot:
    """One scan in a strip: pixels from the upper left."""

    x: float
    y: float
    row: ScanRow
    value: str


@dataclass(frozen=True)
class Strip:
    """All scans along one number, and where its limits lie."""

    title: str
    dots: tuple[Dot, ...]
    ends: tuple[str, str]
    limits: tuple[float, ...]
    note: str


def group_html(rows: Sequence[ScanRow], limit_percent: float) -> str:
    """The page; ``limit_percent``: the change of the mean beyond which a scan is marked."""
    template = environment().get_template("group.html.jinja")
    return template.render(
        rows=rows,
        limit=limit_percent,
        key_numbers=_key_numbers(rows),
        strips=tuple(_strips(rows, limit_percent)),
        words=WORDS,
        strip_size=_STRIP,
    )


def _key_numbers(rows: Sequence[ScanRow]) -> tuple[KeyNumber, ...]:
    """The group in a few numbers."""
    persons = len({row.participant for row in rows})
    marked = sum(bool(row.marks) for row in rows)
    changes = [row.change_percent for row in rows if isfinite(row.change_percent)]
    warned = sum(bool(row.warnings) for row in rows)
    weights = sorted({row.weights for row in rows})
    return (
        KeyNumber("Scans", str(len(rows)), f"of {persons} participant{'s' * (persons != 1)}"),
        KeyNumber("Marked", str(marked), "to be looked at, with the reason"),
        KeyNumber("Change of the mean", percent(median(changes)) if changes else "–", "in the head, the median"),
        KeyNumber("With an MRI", str(sum(row.mri for row in rows)), f"{sum(not row.mri for row in rows)} by PET alone"),
        KeyNumber("With warnings", str(warned), "open a row's to read them"),
        KeyNumber("Enhanced with", weights[0], f"and {len(weights) - 1} more" if len(weights) > 1 else "all scans"),
    )


def _strips(rows: Sequence[ScanRow], limit: float) -> Iterable[Strip]:
    """The change of the mean and the agreement of the folds, a dot a scan."""
    changes = [(row.change_percent, row) for row in rows]
    yield from _strip("Change of the mean, %", changes, (-limit, limit), "Between the lines: as large as is usual.")
    folds = [(float(row.alignment.get("folds", nan)), row) for row in rows]
    good = WORDS["folds"].good
    yield from _strip("Agreement of the folds", folds, (good,), "Right of the line: surely one person's MRI.")


def _strip(
    title: str, values: Iterable[tuple[float, ScanRow]], limits: tuple[float, ...], note: str
) -> Iterable[Strip]:
    """One strip, where any scan has the value."""
    known = sorted((each for each in values if isfinite(each[0])), key=itemgetter(0))
    if not known:
        return
    low, high = min(known[0][0], *limits), max(known[-1][0], *limits)
    width, height = _STRIP

    def x(value: float) -> float:
        return 8 + (width - 16) * (value - low) / ((high - low) or 1.0)

    dots = tuple(
        Dot(x(value), 8 + (height - 16) * (n % _ROWS) / (_ROWS - 1), row, readable(value))
        for n, (value, row) in enumerate(known)
    )
    yield Strip(title, dots, (readable(low), readable(high)), tuple(map(x, limits)), note)
