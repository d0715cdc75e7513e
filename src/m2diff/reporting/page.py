"""The report as one HTML page: no link, no script and no font from outside, everything in the file.

``ReportInputs`` holds what was computed elsewhere; this module turns numbers into text and writes the page whole or
not at all. All text is escaped by the template engine: a file name is data, never markup.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2diff.evaluation.lesions import Lesion
from m2diff.evaluation.regions import Region, RegionTable
from m2diff.evaluation.study import Evaluation, MethodRow
from m2diff.io.load import Image, as_volume
from m2diff.reporting.figures import Colours, ShownVolumes, axial_levels, three_planes
from m2diff.volume import Volume

if TYPE_CHECKING:
    from jinja2 import Environment

    from m2diff.enhancement.run import Enhanced

_BAR_PERCENT = 10.0  # the bias at which a bar of the regional table is full
_NOTABLE_PERCENT = 5.0  # a bias above it is coloured as a concern

_LESION_KINDS = {"pet_hot": "hot, PET only", "pet_cold": "cold, PET only", "mri_only": "MRI only (no PET sign)"}


@dataclass(frozen=True)
class KeyNumber:
    """One number at the top of the page: what it is, its value, and a short remark."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, eq=False)
class ReportInputs:
    """Everything that a report shows. What is None or empty has no section.

    ``low_evaluation`` is the same of the low-dose input, to compare with. ``regions`` is for a regional table without
    a reference (means only); with an evaluation its own table is shown.
    ``key_numbers`` come before those that the evaluation gives. ``settings``: inputs and their hashes, weights, steps,
    seed, versions ...; nested mappings become groups.
    """

    title: str
    low: Volume | None
    enhanced: Volume
    mri: Volume | None = None
    reference: Volume | None = None
    spread: Volume | None = None
    evaluation: Evaluation | None = None
    low_evaluation: Evaluation | None = None
    regions: RegionTable | None = None
    methods: tuple[MethodRow, ...] = ()
    key_numbers: tuple[KeyNumber, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    colours: Colours = "grey"
    story: str = ""
    """The page's first sentence; empty: that a low-dose scan (and its MRI) became the enhanced image."""

    @classmethod
    def of(cls, result: Enhanced, name: str, *, regions: RegionTable | None = None) -> ReportInputs:
        """What there is to show of a finished scan, which is called ``name``, where no reference is known."""
        return cls(
            title=f"{name} enhanced with {result.settings['weights']['name']}",
            low=result.low,
            enhanced=result.volume,
            mri=result.mri,
            spread=result.spread,
            regions=regions,
            settings=result.settings,
            warnings=result.warnings,
        )


def report(
    image: Enhanced | Image,
    path: Path | str,
    *,
    low: Image | None = None,
    mri: Image | None = None,
    reference: Image | None = None,
    evaluation: Evaluation | None = None,
    title: str = "",
) -> Path:
    """Write one self-contained page of ``image`` to ``path`` (an .html file), whole or not at all; returns ``path``.

    ``image``: what ``enhance`` returned, which brings its input, its MRI and its settings; or a volume or path, beside
    which ``low``, ``mri`` and ``reference`` (volumes or paths on the same grid) are shown. ``evaluation``: scores.
    """
    from m2diff.enhancement.run import Enhanced

    if isinstance(image, Enhanced):
        source = image.low.source
        inputs = ReportInputs.of(image, "Scan" if source is None else source.path.name)
        return write_page(path, replace(inputs, title=title or inputs.title, evaluation=evaluation))
    enhanced = as_volume(image)
    given = [None if each is None else as_volume(each) for each in (low, mri, reference)]
    named = enhanced.source.path.name if enhanced.source else "Scan"
    return write_page(path, ReportInputs(title or named, given[0], enhanced, given[1], given[2], evaluation=evaluation))


def write_page(path: Path | str, inputs: ReportInputs) -> Path:
    """Write the report to ``path``: a file that is there is replaced only by a whole new one."""
    from m2diff.io.atomic import replacing

    path = Path(path)
    page = report_html(inputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")  # a file's name may be no text at all
    return path


def report_html(inputs: ReportInputs) -> str:
    """The page's HTML."""
    shown = ShownVolumes(inputs.low, inputs.enhanced, inputs.mri, inputs.reference, inputs.spread)
    regions = inputs.evaluation.regions if inputs.evaluation and inputs.evaluation.regions else inputs.regions
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            report=inputs,
            unit=inputs.enhanced.unit if inputs.enhanced.unit != "unknown" else "unit of the input",
            planes=three_planes(shown, inputs.colours),
            levels=axial_levels(shown, inputs.colours),
            key_numbers=(*inputs.key_numbers, *key_numbers(inputs.evaluation, inputs.low_evaluation)),
            methods=methods(inputs.methods),
            regions=[region(row) for row in regions.rows] if regions else [],
            region_table=regions,
            lesions=[lesion(row) for row in inputs.evaluation.lesions] if inputs.evaluation else [],
            settings=flat(inputs.settings),
        )
    )


def environment() -> Environment:
    """Where the pages' templates are found and filled: all text is escaped, nothing undefined passes."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("m2diff.reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    found.filters.update(number=number_text, percent=percent)
    return found


def key_numbers(evaluation: Evaluation | None, low: Evaluation | None = None) -> tuple[KeyNumber, ...]:
    """What a reader wants first of an evaluation, beside the same of the low-dose input where it is known."""
    if evaluation is None:
        return ()
    scores = evaluation.scores
    plain = low.scores if low else None
    found = [
        KeyNumber(
            "PSNR",
            f"{number_text(scores.psnr, 2)} dB",
            f"low dose: {number_text(plain.psnr, 2)} dB" if plain else "to the reference, in the brain",
        ),
        KeyNumber(
            "SSIM",
            number_text(scores.ssim, 3),
            f"low dose: {number_text(plain.ssim, 3)}" if plain else "3D, in the brain",
        ),
        KeyNumber(
            "NRMSE",
            percent(100 * scores.nrmse, sign=False),
            f"low dose: {percent(100 * plain.nrmse, sign=False)}" if plain else "of the reference's RMS",
        ),
    ]
    if evaluation.regions and evaluation.regions.worst:
        worst = evaluation.regions.worst
        found.append(KeyNumber("Worst regional bias", percent(worst.bias_percent), worst.name))
    if evaluation.dose_equivalence:
        dose = evaluation.dose_equivalence
        note = f"a plain scan at DRF {dose.equivalent_drf:.3g} is as near to the noise-free image"
        sign = ", extrapolated" if dose.extrapolated else ""
        found.append(KeyNumber("Dose equivalence", f"× {dose.gain:.3g}", note + sign))
    return tuple(found)


@dataclass(frozen=True)
class _MethodLine:
    """A line of the methods table as text; ``best`` names the columns in which it is the best of all."""

    row: MethodRow
    best: frozenset[str]


def methods(rows: tuple[MethodRow, ...]) -> list[_MethodLine]:
    """The methods table, the best of every column marked."""
    if not rows:
        return []
    best: dict[str, float] = {
        "psnr": max(row.scores.psnr for row in rows),
        "ssim": max(row.scores.ssim for row in rows),
        "nrmse": min(row.scores.nrmse for row in rows),
        "bias": min((abs(row.worst_bias_percent) for row in rows if row.worst_bias_percent is not None), default=-1.0),
    }

    def wins(row: MethodRow) -> frozenset[str]:
        values = {name: getattr(row.scores, name) for name in ("psnr", "ssim", "nrmse")}
        values["bias"] = None if row.worst_bias_percent is None else abs(row.worst_bias_percent)
        return frozenset(name for name, value in values.items() if value == best[name])

    return [_MethodLine(row, wins(row)) for row in rows]


@dataclass(frozen=True)
class _RegionLine:
    """A line of the regional table: the region, its bar, and whether its bias is notable."""

    row: Region
    bar_percent: float
    """Length of the bar, 0 to 50 (% of its cell's width, from the middle)."""
    side: str
    notable: bool


def region(row: Region) -> _RegionLine:
    """A region as a line with its bar."""
    bias = row.bias_percent if isfinite(row.bias_percent) else 0.0
    length = 50 * min(abs(bias) / _BAR_PERCENT, 1.0)
    return _RegionLine(row, length, "up" if bias > 0 else "down", row.counted and abs(bias) > _NOTABLE_PERCENT)


@dataclass(frozen=True)
class _LesionLine:
    """A line of the lesion table: the lesion and its kind in words."""

    row: Lesion
    kind: str


def lesion(row: Lesion) -> _LesionLine:
    """A lesion as a line."""
    return _LesionLine(row, _LESION_KINDS.get(row.kind, row.kind))


def flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Settings as (name, value) lines; nested mappings get dotted names."""
    lines: list[tuple[str, str]] = []
    for key, value in settings.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            lines += flat(value, f"{name} · ")
        elif isinstance(value, list | tuple):
            lines.append((name, ", ".join(map(str, value)) or "none"))
        else:
            lines.append((name, "none" if value is None else str(value)))
    return lines


def number_text(value: float, digits: int = 3) -> str:
    """A number with so many decimals; ∞ and – where it has no value."""
    if value != value:
        return "–"
    return f"{value:.{digits}f}" if isfinite(value) else "∞"


def percent(value: float | None, digits: int = 1, *, sign: bool = True) -> str:
    """A percentage with its sign and a proper minus; – where it has no value."""
    if value is None or not isfinite(value):
        return "–"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−") + " %"
