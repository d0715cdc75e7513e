"""The page of a comparison: which tables there are, in which words, and what a reader is told first."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from m2diff.benchmarking import grids, pictures
from m2diff.benchmarking.about import about, first_of, trained_alike
from m2diff.benchmarking.measures import LESIONS, MARKERS, QUALITY
from m2diff.benchmarking.methods import TRUTH
from m2diff.benchmarking.outcome import Outcome
from m2diff.benchmarking.pictures import TRUE_PSNR
from m2diff.benchmarking.seen import untold
from m2diff.benchmarking.summary import Compared, mean_of, told_apart
from m2diff.benchmarking.table import Measured
from m2diff.benchmarking.training import differences
from m2diff.evaluation.compare import smallest_p
from m2diff.reporting.comparison import ComparisonPage, Section
from m2diff.reporting.page import KeyNumber, number

USUAL = 20.0
"""The dose reduction factor whose tables are open at first: the nearest to it."""


def page_of(outcome: Outcome, measured: Measured, found: Sequence[Compared]) -> ComparisonPage:
    """The page, from what was measured."""
    sides = outcome.sides
    scans, persons = len(sides.test), len(sides.test_persons)
    return ComparisonPage(
        title=f"{len(outcome.names)} methods on the same {scans} scans of {persons} persons",
        what=_what(outcome),
        warnings=tuple(_warnings(outcome)),
        key_numbers=tuple(_key_numbers(outcome, measured)),
        sections=tuple(_sections(outcome, measured, found)),
        settings=about(outcome),
    )


def _what(outcome: Outcome) -> str:
    trained = [method.name for method in outcome.methods if method.kind == "preset"]
    sides = outcome.sides
    doing = (
        f"{len(outcome.runs)} presets were trained alike ({outcome.terms.budget.words}, the same "
        f"{len(sides.train)} scans of {len(sides.train_persons)} persons)"
        if trained
        else "Nothing was trained here"
    )
    unseen = "" if untold(outcome.entries) else " of people whom no training saw"
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
    found += [_given(terms, names) for terms, names in trained_alike(outcome.entries).items()]
    hidden = untold(outcome.entries)
    if hidden:
        found.append(
            "Whether a scored person was trained on is not known of all: no card names the people of every run of "
            f"{', '.join(hidden)}."
        )
    found += [
        f"The presets differ in {key}: {', '.join(f'{name} {_value(value)}' for name, value in each.items())}."
        for key, each in differences({name: run.preset for name, run in outcome.runs.items()}).items()
    ]
    short = [name for name, run in outcome.runs.items() if run.steps <= run.preset.train.warmup]
    if short:
        found.append(f"{', '.join(short)}: the budget ended before the learning rate had risen (train.warmup).")
    for entry in outcome.entries:
        first = first_of(entry, outcome.runs)
        if first is not None:
            found.append(
                f"{entry.method.name} starts its chain from a first estimate: {first}; its seconds include it."
            )
    return found


def _value(value: Any) -> str:
    """A setting as ``--set`` takes it."""
    return value if isinstance(value, str) else json.dumps(value)


def _given(terms: tuple[Any, ...] | None, names: Sequence[str]) -> str:
    """What is known of weights that were not trained here."""
    several = len({name.partition("@")[0] for name in names}) > 1
    if terms is None or not several:
        return f"{', '.join(names)}: trained elsewhere, with a budget and data of their own; not on equal terms."
    steps, slabs, scans, persons = terms
    return (
        f"{', '.join(names)}: trained beforehand, and alike by their cards ({steps} steps of {slabs} slabs, {scans} "
        f"scans of {len(persons)} persons)."
    )


def _budget(outcome: Outcome) -> str:
    """The budget of what was trained here, or else that on which all given weights agree."""
    alike = trained_alike(outcome.entries)
    if outcome.runs or len(alike) != 1:
        return outcome.terms.budget.words.removesuffix(" each") if outcome.runs else "as it came"
    terms = next(iter(alike))
    return f"{terms[0]} steps" if terms is not None else "as it came"


def _key_numbers(outcome: Outcome, measured: Measured) -> list[KeyNumber]:
    sides = outcome.sides
    groups = [f"{sum(s.group == group for s in sides.test)} {group}" for group in sorted({s.group for s in sides.test})]
    numbers = [
        KeyNumber("Scored", f"{len(sides.test_persons)} persons", f"{len(sides.test)} scans: {', '.join(groups)}"),
        KeyNumber("Doses", " ".join(f"{drf:g}" for drf in sides.doses), "dose reduction factors"),
        KeyNumber("Budget", _budget(outcome), "of training, for each method that learns"),
    ]
    drf = min(sides.doses, key=lambda each: abs(each - USUAL))
    means = {name: mean_of(measured, name, drf, TRUE_PSNR) for name in outcome.names}
    best = max((name for name in means if means[name]), key=lambda name: means[name].mean)  # type: ignore[union-attr]
    value = means[best].mean  # type: ignore[union-attr]
    return [*numbers, KeyNumber(f"Nearest to the truth, DRF {drf:g}", best, f"PSNR {number(value, 2)} dB")]


def _sections(outcome: Outcome, measured: Measured, found: Sequence[Compared]) -> list[Section]:
    """All parts, in the order in which they are read."""
    usual = min(outcome.sides.doses, key=lambda each: abs(each - USUAL))
    several = [section for section in (_alzheimer(outcome, measured),) if section is not None]
    lesions = grids.measures(outcome, measured, LESIONS, usual)
    return [
        Section(
            "At a glance",
            "Three questions against the dose: how near is the answer to the truth, how much dose is that worth, and "
            "do patients stay apart from the healthy?",
            pictures=(pictures.curves(outcome, measured),),
        ),
        Section(
            "Pictures", "The same slices of one person through every method.", pictures=tuple(pictures.slices(outcome))
        ),
        Section(
            "Image quality",
            "Mean over persons, and its 95 % bootstrap interval. Bold: the best of a column, where the best value is 0 "
            "or 1 by the mean distance from it: opposite errors do not cancel.",
            grids.measures(outcome, measured, QUALITY, usual),
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
            grids.comparisons(outcome, found, usual),
            note="For k of n: persons for whom the method is the better one. Where the best value is 0 or 1 (bias, "
            "texture, recovery, leakage), distances from it are compared. "
            f"Green: the interval lies wholly in the method's favour; red: in favour of {outcome.against}.",
        ),
        Section(
            "Regional uptake",
            "SUVR of every region of at least 1 mL (reference: cerebellar grey matter) against the truth's: bias is "
            "the mean over persons, precision the standard deviation over persons.",
            grids.regions(outcome, measured, usual),
            note="All regions: regions.tsv.",
        ),
        *several,
        Section(
            "Lesions",
            "Recovery: the lesion's contrast over what the truth shows; 1 keeps it, 0 erases it. These lesions have no "
            "sign in the MRI. Leakage: the contrast that a lesion of the MRI alone leaves in the PET, towards what the "
            "MRI shows; 0 is none.",
            lesions,
            note="Few persons have lesions of each kind: n is in the table. An interval of one person is that person.",
        ),
        Section(
            "Cost",
            f"Seconds for one brain on one thread ({', '.join(outcome.devices)}), after the weights are loaded and "
            f"without registration: the median over all scans, {' or '.join(map(str, outcome.processes)) or 1} scored "
            "at once; and of one brain alone. Memory: the peak of a process of its own.",
            (grids.cost(outcome, measured),),
        ),
    ]


def _alzheimer(outcome: Outcome, measured: Measured) -> Section | None:
    """Patients against healthy; None where one group is missing."""
    if told_apart(measured, TRUTH, 1.0, MARKERS[0]) is None:
        return None
    return Section(
        "Alzheimer's disease against healthy",
        "Does the meta-ROI (parietal, posterior cingulate with precuneus, temporal) still tell patients from healthy "
        "people? AUC: 1 always, 0.5 no better than a coin. Healthy − AD: what is left of the disease's mark, and d, "
        "the same over the spread within the groups.",
        grids.separation(outcome, measured),
        note="Two ratios: over the sensorimotor cortex, which the disease spares, and SUVR over the cerebellar grey "
        "matter, in which a person's thin cortex looks like disease. Look at the truth first: no image can honestly "
        "tell apart what it does not. Intervals: persons drawn with all of their scans.",
    )
