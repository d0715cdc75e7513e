"""The report as one self-contained HTML page, without links, scripts or fonts from outside; all text is escaped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2diff.evaluation.metrics import Scores
from m2diff.evaluation.study import Evaluation, MethodRow
from m2diff.io.load import Image, as_volume
from m2diff.reporting.inputs import KeyNumber, RegionEstimates, ReportInputs
from m2diff.reporting.layers import pictures, unit_of
from m2diff.reporting.paint import readable
from m2diff.reporting.readings import WORDS, readings

if TYPE_CHECKING:
    from jinja2 import Environment

    from m2diff.enhancement.enhanced import Enhanced

_LESION_KINDS = {"pet_hot": "hot, PET only", "pet_cold": "cold, PET only", "mri_only": "MRI only (no PET sign)"}


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
    """Write one self-contained page of ``image`` to ``path`` (an .html file), whole or not at all; return ``path``.

    ``image``: what ``enhance`` returned, with its input, MRI and settings; or a volume or path, shown with ``low``,
    ``mri`` and ``reference`` (volumes or paths on the same grid). ``evaluation``: scores.
    """
    from m2diff.enhancement.enhanced import Enhanced

    if isinstance(image, Enhanced):
        source = image.low.source
        inputs = ReportInputs.of(image, "Scan" if source is None else source.path.name)
        return write_page(path, replace(inputs, title=title or inputs.title, evaluation=evaluation))
    enhanced = as_volume(image)
    plain, guide, standard = (None if each is None else as_volume(each) for each in (low, mri, reference))
    title = title or (enhanced.source.path.name if enhanced.source else "Scan")
    inputs = ReportInputs(
        title=title, low=plain, enhanced=enhanced, mri=guide, reference=standard, evaluation=evaluation
    )
    return write_page(path, inputs)


def write_page(path: Path | str, inputs: ReportInputs) -> Path:
    """Write the report to ``path``, whole or not at all."""
    from m2diff.io.atomic import replacing

    path = Path(path)
    page = report_html(inputs)
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_text(page, encoding="utf-8", errors="replace")  # file names may not be valid text
    return path


def report_html(inputs: ReportInputs) -> str:
    """The page's HTML."""
    regions = inputs.evaluation.regions if inputs.evaluation else None
    return (
        environment()
        .get_template("report.html.jinja")
        .render(
            report=inputs,
            unit=unit_of(inputs),
            pictures=pictures(inputs),
            key_numbers=key_numbers(inputs.evaluation, inputs.low_evaluation) or facts(inputs),
            methods=methods(inputs.methods),
            regions=regions,
            interval_ends=interval_ends(inputs.estimates),
            lesions=inputs.evaluation.lesions if inputs.evaluation else (),
            lesion_kinds=_LESION_KINDS,
            alignment=readings(inputs.settings.get("alignment")),
            settings=flat(_without_readings(inputs.settings)),
        )
    )


def _without_readings(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings without the alignment's words, which have a section of their own."""
    placed = settings.get("alignment")
    rest = {key: value for key, value in placed.items() if key not in WORDS} if placed else placed
    return {**settings, "alignment": rest} if placed else dict(settings)


@cache
def environment() -> Environment:
    """The template environment: text is escaped, undefined names raise."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("m2diff.reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    found.filters.update(number=number_text, percent=percent, readable=readable)
    return found


def key_numbers(evaluation: Evaluation | None, low: Evaluation | None = None) -> tuple[KeyNumber, ...]:
    """The main numbers of an evaluation, beside the low-dose input's where known."""
    if evaluation is None:
        return ()

    def beside(label: str, text: Callable[[Scores], str], alone: str) -> KeyNumber:
        return KeyNumber(label, text(evaluation.scores), f"low dose: {text(low.scores)}" if low else alone)

    found = [
        beside("PSNR", lambda scores: f"{number_text(scores.psnr, 2)} dB", "to the reference, in the brain"),
        beside("SSIM", lambda scores: number_text(scores.ssim, 3), "3D, in the brain"),
        beside("NRMSE", lambda scores: percent(100 * scores.nrmse, sign=False), "of the reference's RMS"),
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


def facts(inputs: ReportInputs) -> tuple[KeyNumber, ...]:
    """What is known of a scan without a reference, from its settings."""
    settings = inputs.settings
    found = []
    if "dose_reduction_factor" in settings:
        drf = settings["dose_reduction_factor"]
        dose = ("not known", "state it with --drf") if drf is None else (f"1 / {drf:g}", "of a standard scan's counts")
        found.append(KeyNumber("Dose", *dose))
    if "weights" in settings:
        steps = settings.get("steps")
        how = "one step" if steps in (1, None) else f"{steps} steps"
        draws = settings.get("samples", 1)
        found.append(KeyNumber("Enhanced with", settings["weights"]["name"], how + f", {draws} draws" * (draws > 1)))
    placed = readings(settings.get("alignment"))
    if placed:
        worst = max(placed, key=lambda reading: reading.rank)
        found.append(KeyNumber("Alignment of the MRI", worst.verdict, f"{worst.word} {worst.value}, explained below"))
    elif "alignment" in settings:
        known = ("as placed", "its header was trusted") if inputs.mri else ("none", "the PET alone was read")
        found.append(KeyNumber("MRI", *known))
    if inputs.clusters:
        found.append(KeyNumber("Flagged places", str(len(inputs.clusters)), "see the table"))
    return tuple(found)


def interval_ends(estimates: Sequence[RegionEstimates]) -> tuple[float, float]:
    """The ends of the axis on which all intervals are drawn."""
    parts = [part for region in estimates for _, part in region.parts]
    if not parts:
        return 0.0, 1.0
    ends = [end for part in parts for end in (part.low, part.mean, part.high) if isfinite(end)]
    low, high = min(ends), max(ends)
    room = 0.04 * (high - low) or 1.0
    return low - room, high + room


def methods(rows: Sequence[MethodRow]) -> list[tuple[MethodRow, set[str]]]:
    """Each method and the columns in which it is best."""
    worth = []  # more is better
    for row in rows:
        bias = -inf if row.worst_bias_percent is None else -abs(row.worst_bias_percent)
        worth.append({"psnr": row.scores.psnr, "ssim": row.scores.ssim, "nrmse": -row.scores.nrmse, "bias": bias})
    best = [{name for name, value in own.items() if -inf < value == max(w[name] for w in worth)} for own in worth]
    return list(zip(rows, best, strict=True))


def flat(settings: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Settings as (name, value) lines; nested mappings get dotted names."""
    lines: list[tuple[str, str]] = []
    for key, value in settings.items():
        name = f"{prefix}{str(key).replace('_', ' ')}"
        if isinstance(value, Mapping):
            lines += flat(value, f"{name} · ")
        elif isinstance(value, list | tuple):
            lines.append((name, ", ".join(map(str, value)) or "none"))
        else:
            lines.append((name, "none" if value is None else str(value)))
    return lines


def number_text(value: float, digits: int = 3) -> str:
    """A number with ``digits`` decimals; ∞ if infinite, – for NaN."""
    if value != value:
        return "–"
    return f"{value:.{digits}f}" if isfinite(value) else "∞"


def percent(value: float | None, digits: int = 1, *, sign: bool = True) -> str:
    """A percentage with sign; – for no value."""
    if value is None or not isfinite(value):
        return "–"
    text = f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"
    return text.replace("-", "−") + " %"
