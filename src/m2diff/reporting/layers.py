"""The pictures of a scan's report: layers to switch between, maps with scales of their own, and axial levels.

All PETs share one inverted grey scale from 0 to the bright level of the reference (or the enhanced image). Differences
have a symmetric scale of their own, which the page tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from m2diff.reporting.inputs import Cluster, ReportInputs
from m2diff.reporting.paint import SIDES, Scale, outlines, painted, rounded, viewed
from m2diff.reporting.planes import PLANES, Place, Plane, PlaneImage, Scene, bright_level, scene_of
from m2diff.volume import Volume

PET_COLOURS = "gray_r"
_CUT_OFF = 99.5  # percentile of the head's values that ends a scale of its own
_OUTLINES = (0.3, 0.5)  # of the PET scale's end: the brain, and its grey matter
_STRIP_MM = 1.25  # pixels of the axial levels
_LEAST_RING_MM = 7.0
_AGAINST_STANDARD = (
    "Red is more than the standard-dose scan, blue is less. That scan is noisy itself, and its noise shows here."
)
_AGAINST_LOW = (
    "What the enhancement changed: red is raised, blue lowered. It should look like noise, without the brain's shapes."
)


@dataclass(frozen=True)
class Picture:
    """One plane: a PNG, its size in pixels of 1 mm, what lies left and right, and outlines over it (SVG paths)."""

    plane: Plane
    png: str
    width: int
    height: int
    sides: tuple[str, str]
    outlines: tuple[str, ...] = ()


@dataclass(frozen=True)
class Layer:
    """One image in three planes; ``scale`` has a bar where it has a unit."""

    key: str
    title: str
    pictures: tuple[Picture, ...]
    scale: Scale
    note: str = ""


@dataclass(frozen=True)
class Ring:
    """A flagged place in a picture, mm from the upper left; ``number``: as in the table of flagged places."""

    x: float
    y: float
    radius: float
    number: int
    hot: bool


@dataclass(frozen=True)
class Level:
    """A height: its pictures by the rows of the strip, their size in mm, and the places ringed there."""

    pngs: tuple[str, ...]
    width: float
    height: float
    rings: tuple[Ring, ...]


@dataclass(frozen=True)
class Pictures:
    """All pictures of a report. ``rows``: titles of the rows of ``levels``."""

    layers: tuple[Layer, ...]
    differences: tuple[Layer, ...]
    open: tuple[Layer, ...]  # what the scan leaves open: spread, uncertainty, limits
    rows: tuple[str, ...]
    levels: tuple[Level, ...]


def pictures(report: ReportInputs) -> Pictures:
    """Draw all pictures of ``report``."""
    scene = scene_of(report.reference or report.enhanced)
    unit = unit_of(report)
    pets = _pets(report)
    best = pets["standard"][1] if "standard" in pets else report.enhanced
    grey = Scale(PET_COLOURS, 0, rounded(bright_level({plane: scene.cut(best, plane) for plane in PLANES})), unit)
    layers = [_layer(scene, key, title, volume, grey) for key, (title, volume) in pets.items()]
    return Pictures(
        layers=(*layers, *_mri(scene, report, grey)),
        differences=tuple(_differences(scene, report, unit)),
        open=tuple(_open(scene, report, unit)),
        rows=tuple(title for title, _ in pets.values()),
        levels=_levels(scene, [volume for _, volume in pets.values()], grey, report.clusters),
    )


def unit_of(report: ReportInputs) -> str:
    """The unit of the scan, in words where it is not known."""
    return report.enhanced.unit if report.enhanced.unit != "unknown" else "unit of the input"


def _pets(report: ReportInputs) -> dict[str, tuple[str, Volume]]:
    """The PETs by key, each with its title, in reading order."""
    found = {
        "low": ("Low dose", report.low),
        "enhanced": ("Enhanced", report.enhanced),
        "standard": ("Standard dose", report.reference),
    }
    return {key: (title, volume) for key, (title, volume) in found.items() if volume is not None}


def _layer(scene: Scene, key: str, title: str, volume: Volume, scale: Scale, note: str = "") -> Layer:
    """``volume`` in three planes."""
    cuts = {plane: scene.cut(volume, plane, nearest=scale.hollow) for plane in PLANES}
    return Layer(key, title, tuple(_picture(plane, cut, scale) for plane, cut in cuts.items()), scale, note)


def _picture(plane: Plane, cut: PlaneImage, scale: Scale, lines: tuple[str, ...] = ()) -> Picture:
    height, width = cut.shape
    return Picture(plane, painted(viewed(cut, plane), scale), width, height, SIDES[plane], lines)


def _mri(scene: Scene, report: ReportInputs, grey: Scale) -> Iterable[Layer]:
    """The MRI with outlines of the enhanced PET, where there is one."""
    if report.mri is None:
        return
    cuts = {plane: scene.cut(report.mri, plane) for plane in PLANES}
    scale = Scale("gray", 0, bright_level(cuts))
    drawn = []
    for plane, cut in cuts.items():
        pet = viewed(scene.cut(report.enhanced, plane), plane)
        drawn.append(_picture(plane, cut, scale, tuple(outlines(pet, share * grey.high) for share in _OUTLINES)))
    yield Layer("mri", "MRI", tuple(drawn), scale)


def _differences(scene: Scene, report: ReportInputs, unit: str) -> Iterable[Layer]:
    """The enhanced image less the reference and less the low dose, on scales of their own."""
    for title, other, note in (
        ("Enhanced − standard dose", report.reference, _AGAINST_STANDARD),
        ("Enhanced − low dose", report.low, _AGAINST_LOW),
    ):
        if other is None:
            continue
        changed = np.abs(scene.in_head(report.enhanced) - scene.in_head(other))
        limit = rounded(float(np.percentile(changed, _CUT_OFF))) or 1.0
        scale = Scale("RdBu_r", -limit, limit, unit)
        drawn = []
        for plane in PLANES:
            drawn.append(_picture(plane, scene.cut(report.enhanced, plane) - scene.cut(other, plane), scale))
        yield Layer("difference", title, tuple(drawn), scale, note)


def _open(scene: Scene, report: ReportInputs, unit: str) -> Iterable[Layer]:
    """Spread, uncertainty and limits of detection; the limits share one scale."""
    if report.spread is not None:
        scale = Scale("magma", 0, rounded(_end(scene.in_head(report.spread))), unit)
        note = "Standard deviation over several draws: what the method leaves open, not every error."
        yield _layer(scene, "spread", "Spread of the draws", report.spread, scale, note)
    if report.uncertainty is not None:
        scale = Scale("magma", 0, rounded(_end(report.uncertainty.data)), "% of the brain's mean", hollow=True)
        note = "Standard deviation of the enhanced image at each place. Bright: less certain."
        yield _layer(scene, "uncertainty", "Uncertainty", report.uncertainty, scale, note)
    if report.limits:
        end = rounded(max(_end(volume.data) for volume in report.limits.values()))
        scale = Scale("viridis", 0, end, "% contrast", hollow=True)
    for size, volume in report.limits.items():
        note = f"The least contrast that a lesion of {size} needs to show with 80 % power. Bright: much can hide."
        yield _layer(scene, "limit", f"What a lesion of {size} needs", volume, scale, note)


def _end(values: np.ndarray) -> float:
    """The end of a scale of its own: a percentile of the positive values; 1 where there are none."""
    positive = values[np.isfinite(values) & (values > 0)]
    return float(np.percentile(positive, _CUT_OFF)) if positive.size else 1.0


def _levels(
    scene: Scene, volumes: list[Volume], scale: Scale, clusters: Iterable[Cluster], number: int = 7
) -> tuple[Level, ...]:
    """The PETs at several heights. The nearest height moves to a flagged place, the strongest first."""
    heights = scene.levels(number)
    places = {n: (scene.place(cluster.centre_mm), cluster) for n, cluster in enumerate(clusters, start=1)}
    moved: set[int] = set()
    at: dict[int, int] = {}
    for n, (place, _) in sorted(places.items(), key=lambda each: -abs(each[1][1].z)):
        at[n] = int(np.abs(heights - place[2]).argmin())
        if at[n] not in moved:
            heights[at[n]] = place[2]
            moved.add(at[n])
    found = []
    for row, height in enumerate(heights):
        cuts = [viewed(scene.cut(volume, "axial", height, pixel_mm=_STRIP_MM), "axial") for volume in volumes]
        size = cuts[0].shape[1] * _STRIP_MM, cuts[0].shape[0] * _STRIP_MM
        rings = tuple(_ring(scene, size, *places[n], n) for n, where in at.items() if where == row)
        found.append(Level(tuple(painted(cut, scale) for cut in cuts), *size, rings))
    return tuple(found)


def _ring(scene: Scene, size: tuple[float, float], place: Place, cluster: Cluster, number: int) -> Ring:
    """A ring around a flagged place, half as wide again as a ball of its volume; ``size`` of the picture in mm."""
    x, y = np.array(size) - _STRIP_MM / 2 - (place - scene.low)[:2]
    radius = 1.5 * (3000 * cluster.volume_ml / (4 * np.pi)) ** (1 / 3)
    return Ring(float(x), float(y), max(radius, _LEAST_RING_MM), number, cluster.contrast_percent > 0)
