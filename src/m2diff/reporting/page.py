"""The report as one self-contained HTML page, without links, scripts or fonts from outside; all text is escaped."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2diff.evaluation.metrics import Scores
from m2diff.evaluation.regions import RegionTable
from m2diff.evaluation.study import Evaluation, MethodRow
from m2diff.io.load import Image, as_volume
from m2diff.reporting.figures import ShownVolumes, axial_levels, three_planes

if TYPE_CHECKING:
    from jinja2 import Environment

    from m2diff.enhancement.run import Enhanced

_LESION_KINDS = {"pet_hot": "hot, PET only", "pet_cold": "cold, PET only", "mri_only": "MRI only (no PET sign)"}


@dataclass(frozen=True)
class KeyNumber:
    """One number at the top of the page: label, value, remark."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportInputs(ShownVolumes):
    """All that a report shows; what is None or empty has no section.

    ``low_evaluation``: of the low-dose input, for comparison. ``regions``: a table of means, without a reference.
    ``settings``: inputs and hashes, weights, steps, seed, versions ...; nested mappings become groups.
    """

    title: str
    evaluation: Evaluation | None = None
    low_evaluation: Evaluation | None = None
    regions: RegionTable | None = None
    methods: tuple[MethodRow, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    lost: str = ""  # what is lost at such a dose: the page opens with it
    story: str = ""  # the page's first sentence; empty: that a low-dose scan (and its MRI) became the enhanced image

    @classmethod
    def of(cls, result: Enhanced, name: str, *, regions: RegionTable | None = None) -> ReportInputs:
        """The inputs for a finished scan called ``name``, without a reference."""
        return cls(
            title=f"{name} enhanced with {result.settings['weights']['name']}",
            low=result.low,
            enhanced=result.volume,
            mri=result.mri,
            spread=result.spread,
            regions=regions,
            settings=result.settings,
            warnings=tuple(warning for warning in result.warnings if warning != result.lost),
            lost=result.lost,
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
    """Write one self-contained page of ``image`` to ``path`` (an .html file), whole or not at all; return ``path``.

    ``image``: what ``enhance`` returned, with its input, MRI and settings; or a volume or path, shown with ``low``,
    ``mri`` and ``reference`` (volumes or paths on the same grid). ``evaluation``: scores.
    """
    from m2diff.enhancement.run import Enhanced

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
    regions = inputs.evaluation.regions if inputs.evaluation and inputs.evaluation.regions else inputs.regions
    template = environment().get_template("report.html.jinja")
    return template.render(
        report=inputs,
        unit=inputs.enhanced.unit if inputs.enhanced.unit != "unknown" else "unit of the input",
        planes=three_planes(inputs),
        levels=axial_levels(inputs),
        key_numbers=key_numbers(inputs.evaluation, inputs.low_evaluation),
        methods=methods(inputs.methods),
        regions=regions,
        lesions=inputs.evaluation.lesions if inputs.evaluation else (),
        lesion_kinds=_LESION_KINDS,
        settings=flat(inputs.settings),
    )


def environment() -> Environment:
    """The template environment: text is escaped, undefined names raise."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    found = Environment(
        loader=PackageLoader("m2diff.reporting"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    found.filters.update(number=number_text, percent=percent)
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
        name = f"{prefix}{key}"
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
