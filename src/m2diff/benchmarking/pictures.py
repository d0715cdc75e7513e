"""What is to be seen: numbers against the dose, and the same slices through every method.

Each picture goes on the page and lies as a PNG file in OUT/pictures.
"""

from __future__ import annotations

import base64

from m2diff.benchmarking.measures import MARKERS, QUALITY, Measure
from m2diff.benchmarking.methods import STANDARD, TRUTH
from m2diff.benchmarking.outcome import Outcome
from m2diff.benchmarking.summary import mean_of, told_apart
from m2diff.benchmarking.table import Measured
from m2diff.io import nifti
from m2diff.io.atomic import replacing
from m2diff.reporting.comparison import Picture
from m2diff.reporting.curves import Curve, Panel, against_dose
from m2diff.reporting.strips import side_by_side

TRUE_PSNR = next(m for m in QUALITY if m.against == TRUTH and m.metric == "psnr")
GAIN = next(m for m in QUALITY if m.metric == "dose_gain")


def curves(outcome: Outcome, measured: Measured) -> Picture:
    """Nearness to the truth, worth, and separation, each against the dose."""
    panels = [_of_measure(outcome, measured, measure) for measure in (TRUE_PSNR, GAIN)]
    apart = _of_separation(outcome, measured)
    panels += [] if apart is None else [apart]
    png = _kept(outcome, "curves", against_dose(panels, outcome.untrained))
    shaded = " Shaded: doses that nobody was trained on." if outcome.untrained else ""
    caption = f"Means and 95 % intervals over persons.{shaded} Thick: {outcome.against}."
    return Picture("Against the dose", png, caption)


def _of_measure(outcome: Outcome, measured: Measured, measure: Measure) -> Panel:
    """The means of a measure."""
    lines = []
    for name in outcome.names:
        means = [(drf, mean_of(measured, name, drf, measure)) for drf in outcome.sides.doses]
        points = tuple((drf, mean.mean, mean.low, mean.high) for drf, mean in means if mean is not None)
        lines.append(Curve(name, points, name == outcome.against))
    return Panel(measure.title, tuple(line for line in lines if line.points))


def _of_separation(outcome: Outcome, measured: Measured) -> Panel | None:
    """How well patients are told from the healthy, with the truth's gap as a level."""
    marker = MARKERS[0]
    truth, standard = (told_apart(measured, name, 1.0, marker) for name in (TRUTH, STANDARD))
    if truth is None or standard is None:
        return None
    lines = []
    for name in outcome.names:
        found = [(drf, told_apart(measured, name, drf, marker)) for drf in outcome.sides.doses]
        gaps = [(drf, each.difference) for drf, each in found if each is not None]
        lines.append(Curve(name, tuple((d, gap.mean, gap.low, gap.high) for d, gap in gaps), name == outcome.against))
    levels = (("truth", truth.difference.mean),)
    return Panel("healthy minus AD, meta-ROI ratio", tuple(line for line in lines if line.points), levels)


def slices(outcome: Outcome) -> list[Picture]:
    """The shown person at each shown dose."""
    shown = outcome.shown
    subject = shown.subject
    assert subject.noise_free is not None  # a case that was scored has one
    truth, standard = nifti.load(subject.noise_free), nifti.load(subject.standard)
    found = []
    for place, drf in enumerate(shown.doses):
        images = {"truth": truth, "standard dose": standard, "low dose": nifti.load(subject.low[drf])}
        images |= {name: nifti.load(path) for (name, dose), path in shown.images.items() if dose == drf}
        png = _kept(outcome, f"drf{drf:g}", side_by_side(images, truth))
        star = ", not trained on" if drf in outcome.untrained else ""
        caption = (
            f"sub-{subject.label} ({subject.group}), dose reduction factor {drf:g}{star}. One scale for all; "
            "radiological view. Error: image minus truth, red is too much, blue too little, cut off at a quarter of "
            "the scale."
        )
        found.append(Picture(f"DRF {drf:g}{star}", png, caption, open=place == 0))
    return found


def _kept(outcome: Outcome, name: str, png: str) -> str:
    """The picture, also written to OUT/pictures."""
    with replacing(outcome.out / "pictures" / f"{name}.png") as temporary:
        temporary.write_bytes(base64.b64decode(png))
    return png
