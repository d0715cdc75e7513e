"""The page of a comparison: pictures and tables with their words. Pictures are also written to OUT/pictures."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

from m2diff.benchmarking import summary, tables
from m2diff.benchmarking.methods import TRUTH
from m2diff.benchmarking.outcome import Outcome, benchmark_record, first_estimate_words, usual_drf
from m2diff.benchmarking.people import not_told_in_full
from m2diff.benchmarking.training import preset_differences
from m2diff.evaluation.compare import Interval, smallest_p
from m2diff.io import nifti
from m2diff.io.atomic import replacing
from m2diff.reporting.comparison import ComparisonPage, PagePicture, Section
from m2diff.reporting.curves import Curve, Panel, against_dose
from m2diff.reporting.page import KeyNumber, number_text
from m2diff.reporting.strips import side_by_side


def comparison_page(outcome: Outcome) -> ComparisonPage:
    """Build the page from the results."""
    sides = outcome.sides
    scans, persons = len(sides.test), len(sides.test_persons)
    return ComparisonPage(
        title=f"{len(outcome.names)} methods on the same {scans} scans of {persons} persons",
        what=_what(outcome),
        warnings=tuple(_warnings(outcome)),
        key_numbers=tuple(_key_numbers(outcome)),
        sections=tuple(_sections(outcome)),
        settings=benchmark_record(outcome),
    )


def _what(outcome: Outcome) -> str:
    sides = outcome.sides
    doing = (
        f"{len(outcome.runs)} presets were trained alike ({outcome.terms.budget.words}, the same "
        f"{len(sides.train)} scans of {len(sides.train_persons)} persons)"
        if outcome.runs
        else "Nothing was trained here"
    )
    unseen = "" if not_told_in_full(outcome.entries) else " of people whom no training saw"
    return (
        f"{doing}; every method then answered the same low-dose scans{unseen}. All scores are "
        "taken inside the brain, against the standard-dose scan and against the noise-free image, which only a "
        "simulation knows and which is called the truth here."
    )


def _warnings(outcome: Outcome) -> list[str]:
    """What a reader must know before believing a number."""
    sides, persons = outcome.sides, len(outcome.sides.test_persons)
    found = ["All scans are simulated: no person was scanned."]
    if len(sides.test) > persons:
        found.append(
            f"The {len(sides.test)} scans are of {persons} anatomies: a person's scans are averaged first, and n is "
            f"{persons}."
        )
    rivals = len(outcome.names) - 1
    if smallest_p(persons) * max(rivals, 1) > 0.05:
        found.append(
            f"With {persons} persons the smallest p that Wilcoxon's test can give is {smallest_p(persons):.4g} "
            f"({min(1.0, smallest_p(persons) * rivals):.3g} after Holm's correction for {rivals} comparisons): no "
            "difference can be called significant here, however clear; read the intervals."
        )
    if outcome.untrained:
        doses = ", ".join(f"{drf:g}" for drf in outcome.untrained)
        found.append(
            f"Not trained on: dose reduction factor {doses} (marked * and shaded). Filters were tuned elsewhere."
        )
    found += [_given(terms, names) for terms, names in _given_weights(outcome).items()]
    hidden = not_told_in_full(outcome.entries)
    if hidden:
        found.append(
            "Whether a scored person was trained on is not known of all: no card names the people of every run of "
            f"{', '.join(hidden)}."
        )
    found += [
        f"The presets differ in {key}: {', '.join(f'{name} {_value(value)}' for name, value in each.items())}."
        for key, each in preset_differences({name: run.preset for name, run in outcome.runs.items()}).items()
    ]
    short = [name for name, run in outcome.runs.items() if run.steps <= run.preset.train.warmup]
    if short:
        found.append(f"{', '.join(short)}: the budget ended before the learning rate had risen (train.warmup).")
    firsts = {entry.method.name: first_estimate_words(entry, outcome) for entry in outcome.entries if entry.first}
    return found + [
        f"{name} starts its chain from a first estimate: {first}; its seconds include it."
        for name, first in firsts.items()
    ]


def _value(value: Any) -> str:
    """A setting as ``--set`` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _given_weights(outcome: Outcome) -> dict[tuple[int, frozenset[str]] | None, list[str]]:
    """Weights that were not trained here, by training steps and persons; None where their card lacks these."""
    found: dict[tuple[int, frozenset[str]] | None, list[str]] = {}
    for entry in outcome.entries:
        if entry.method.kind == "weights":
            found.setdefault(entry.terms, []).append(entry.method.name)
    return found


def _given(terms: tuple[int, frozenset[str]] | None, names: Sequence[str]) -> str:
    """Words for the training of weights that were not trained here."""
    several = len({name.partition("@")[0] for name in names}) > 1
    if terms is None or not several:
        return f"{', '.join(names)}: trained elsewhere, with a budget and data of their own; not on equal terms."
    return (
        f"{', '.join(names)}: trained beforehand; by their cards for the same {terms[0]} steps on the same "
        f"{len(terms[1])} persons."
    )


def _budget(outcome: Outcome) -> str:
    """The budget of the runs made here, or else the one that all given weights share."""
    if outcome.runs:
        return outcome.terms.budget.words.removesuffix(" each")
    terms = [*_given_weights(outcome)]
    return f"{terms[0][0]} steps" if len(terms) == 1 and terms[0] is not None else "as it came"


def _key_numbers(outcome: Outcome) -> list[KeyNumber]:
    sides = outcome.sides
    groups = [f"{sum(s.group == group for s in sides.test)} {group}" for group in sorted({s.group for s in sides.test})]
    numbers = [
        KeyNumber("Scored", f"{len(sides.test_persons)} persons", f"{len(sides.test)} scans: {', '.join(groups)}"),
        KeyNumber("Doses", " ".join(f"{drf:g}" for drf in sides.doses), "dose reduction factors"),
        KeyNumber("Budget", _budget(outcome), "of training, for each method that learns"),
    ]
    drf = usual_drf(outcome.sides.doses)
    means = {name: summary.mean_of(outcome.measured, name, drf, summary.TRUE_PSNR) for name in outcome.names}
    best, value = max(((n, mean.mean) for n, mean in means.items() if mean is not None), key=lambda each: each[1])
    return [*numbers, KeyNumber(f"Nearest to the truth, DRF {drf:g}", best, f"PSNR {number_text(value, 2)} dB")]


def _sections(outcome: Outcome) -> list[Section]:
    """All non-empty sections, in reading order."""
    sections = [
        Section(
            "At a glance",
            "Three questions against the dose: how near is the answer to the truth, how much dose is that worth, and "
            "do patients stay apart from the healthy?",
            pictures=(_curves(outcome),),
        ),
        Section("Pictures", "The same slices of one person through every method.", pictures=tuple(_slices(outcome))),
        Section(
            "Image quality",
            "Mean over persons, and its 95 % bootstrap interval. Bold: the best of a column, where the best value is 0 "
            "or 1 by the mean distance from it: opposite errors do not cancel.",
            tables.measure_tables(outcome, summary.QUALITY),
            note="PSNR, SSIM, NRMSE: against the standard-dose scan, which is noisy itself, and against the truth. "
            "Worth: the dose whose plain scan is as near to the truth, over the dose given. Texture: white matter's "
            "coefficient of variation over the standard scan's; below 1 is smoother. Roughness and flicker: how much "
            "the error changes from slice to slice over how much it changes within a slice, of voxels and of whole "
            "slices; above 1, and above the low-dose scan's, slices do not belong together.",
        ),
        Section(
            f"Against {outcome.against}",
            f"Each method minus {outcome.against} on the same persons: mean difference, 95 % interval, and p of "
            "Wilcoxon's signed-rank test after Holm's correction over the methods of a dose and measure.",
            tables.comparison_tables(outcome),
            note="For k of n: persons for whom the method is the better one. Where the best value is 0 or 1 (bias, "
            "texture, recovery, leakage), distances from it are compared. "
            f"Green: the interval lies wholly in the method's favour; red: in favour of {outcome.against}.",
        ),
        Section(
            "Regional uptake",
            "SUVR of every region of at least 1 mL (reference: cerebellar grey matter) against the truth's: bias is "
            "the mean over persons, precision the standard deviation over persons.",
            tables.regional_tables(outcome),
            note="All regions: regions.tsv.",
        ),
        Section(
            "Alzheimer's disease against healthy",
            "Does the meta-ROI (parietal, posterior cingulate with precuneus, temporal) still tell patients from "
            "healthy people? AUC: 1 always, 0.5 no better than a coin. Healthy − AD: what is left of the disease's "
            "mark, and d, the same over the spread within the groups.",
            tables.separation_tables(outcome),
            note="Two ratios: over the sensorimotor cortex, which the disease spares, and SUVR over the cerebellar "
            "grey matter, in which a person's thin cortex looks like disease. Look at the truth first: no image can "
            "honestly tell apart what it does not. Intervals: persons drawn with all of their scans.",
        ),
        Section(
            "Lesions",
            "Recovery: the lesion's contrast over what the truth shows; 1 keeps it, 0 erases it. These lesions have no "
            "sign in the MRI. Leakage: the contrast that a lesion of the MRI alone leaves in the PET, towards what the "
            "MRI shows; 0 is none.",
            tables.measure_tables(outcome, summary.LESION_MEASURES),
            note="Few persons have lesions of each kind: n is in the table. An interval of one person is that person.",
        ),
        Section(
            "Cost",
            f"Seconds for one brain on one thread ({', '.join(outcome.devices)}), after the weights are loaded and "
            f"without registration: the median over all scans, {' or '.join(map(str, outcome.processes)) or 1} scored "
            "at once; and of one brain alone. Memory: the peak of a process of its own.",
            (tables.cost_table(outcome),),
        ),
    ]
    return [section for section in sections if section.tables or section.pictures]


def _curves(outcome: Outcome) -> PagePicture:
    """Distance to the truth, worth and separation against dose."""
    panels = [
        Panel(measure.title, _lines(outcome, partial(summary.mean_of, outcome.measured, measure=measure)))
        for measure in (summary.TRUE_PSNR, summary.DOSE_GAIN)
    ]
    truth = _gap(outcome.measured, TRUTH, 1.0)
    if truth is not None:
        curves = _lines(outcome, partial(_gap, outcome.measured))
        panels.append(Panel("healthy minus AD, meta-ROI ratio", curves, (("truth", truth.mean),)))
    shaded = " Shaded: doses that nobody was trained on." if outcome.untrained else ""
    caption = f"Means and 95 % intervals over persons.{shaded} Thick: {outcome.against}."
    return PagePicture("Against the dose", _kept(outcome, "curves", against_dose(panels, outcome.untrained)), caption)


def _lines(outcome: Outcome, mean: Callable[[str, float], Interval | None]) -> tuple[Curve, ...]:
    """A curve for every method that has a ``mean`` (by name and dose) at some dose."""
    lines = []
    for name in outcome.names:
        found = [(drf, mean(name, drf)) for drf in outcome.sides.doses]
        points = tuple((drf, each.mean, each.low, each.high) for drf, each in found if each is not None)
        lines += [Curve(name, points, name == outcome.against)] if points else []
    return tuple(lines)


def _gap(measured: summary.Measurements, name: str, drf: float) -> Interval | None:
    """Difference between patients and healthy persons."""
    found = summary.told_apart(measured, name, drf, summary.MARKERS[0])
    return None if found is None else found.difference


def _slices(outcome: Outcome) -> Iterable[PagePicture]:
    """The shown person at each shown dose."""
    subject = outcome.shown.subject
    assert subject.noise_free is not None  # a case that was scored has one
    truth, standard = nifti.load(subject.noise_free), nifti.load(subject.standard)
    for place, drf in enumerate(outcome.shown.doses):
        images = {"truth": truth, "standard dose": standard, "low dose": nifti.load(subject.low[drf])}
        images |= {name: nifti.load(path) for (name, dose), path in outcome.images.items() if dose == drf}
        star = ", not trained on" if drf in outcome.untrained else ""
        caption = (
            f"sub-{subject.label} ({subject.group}), dose reduction factor {drf:g}{star}. One scale for all; "
            "radiological view. Error: image minus truth, red is too much, blue too little, cut off at a quarter of "
            "the scale."
        )
        png = _kept(outcome, f"drf{drf:g}", side_by_side(images, truth))
        yield PagePicture(f"DRF {drf:g}{star}", png, caption, open=place == 0)


def _kept(outcome: Outcome, name: str, png: str) -> str:
    """Return the picture; write it to OUT/pictures as well."""
    with replacing(outcome.out / "pictures" / f"{name}.png") as temporary:
        temporary.write_bytes(base64.b64decode(png))
    return png
