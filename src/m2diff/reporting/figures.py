"""The pictures of the report, as PNG.

Radiological convention: the patient's right is on the left of axial and coronal planes, and marked. All PETs share one
inverted grey scale from 0 to the bright level of the reference (or the enhanced image); the difference has a symmetric
scale, a fixed share of it, so that small differences look small.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from m2diff.reporting.planes import PLANES, Plane, PlaneImage, Scene, bright_level, scene_of
from m2diff.volume import Volume

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_PET_COLOURS = "gray_r"
DIFFERENCE_SHARE = 0.25  # of the PET scale, each way; against the low dose, whose noise is large, twice as much
_PANEL_INCH = 2.0


@dataclass(frozen=True, eq=False)
class _Column:
    """One image of the figure: title, three pictures, colours and range."""

    title: str
    pictures: dict[Plane, PlaneImage]
    colours: str
    low: float
    high: float
    unit: str | None  # of the colour bar; None: no bar


@dataclass(frozen=True, eq=False)
class ShownVolumes:
    """The volumes of a figure; None is left out."""

    low: Volume | None
    enhanced: Volume
    mri: Volume | None = None
    reference: Volume | None = None
    spread: Volume | None = None


def three_planes(shown: ShownVolumes) -> str:
    """Axial, coronal and sagittal planes of every volume, as a base64 PNG."""
    scene = scene_of(shown.reference or shown.enhanced)
    return as_png(_draw_planes(_columns(shown, scene), scene))


def axial_levels(shown: ShownVolumes, number: int = 7) -> str:
    """The PET images (low dose, enhanced, reference) at several heights, as a base64 PNG."""
    scene = scene_of(shown.reference or shown.enhanced)
    top = _pet_top(shown, scene)
    rows = {"Low dose": shown.low, "Enhanced": shown.enhanced, "Standard dose": shown.reference}
    images = [(title, volume) for title, volume in rows.items() if volume is not None]
    levels = scene.levels(number)
    figure = bare_figure(number * _PANEL_INCH * 0.82, len(images) * _PANEL_INCH)
    axes = figure.subplots(len(images), number, squeeze=False, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
    for line, (title, volume) in zip(axes, images, strict=True):
        for panel, height in zip(line, levels, strict=True):
            show(panel, scene.cut(volume, "axial", height), "axial", _PET_COLOURS, 0, top)
        line[0].set_ylabel(title, fontsize=9)
    mark_sides(axes[0][0], "axial", _PET_COLOURS)
    return as_png(figure)


def _pet_top(shown: ShownVolumes, scene: Scene) -> float:
    """The end of the PET scale, in the unit of the PET."""
    best = shown.reference or shown.enhanced
    return rounded(bright_level({plane: scene.cut(best, plane) for plane in PLANES}))


def rounded(value: float) -> float:
    """A value to two digits, for a readable scale."""
    return float(f"{value:.1e}")


def _columns(shown: ShownVolumes, scene: Scene) -> list[_Column]:
    """MRI, the PETs on one scale, the difference, the spread."""

    def cut(volume: Volume) -> dict[Plane, PlaneImage]:
        return {plane: scene.cut(volume, plane) for plane in PLANES}

    unit = shown.enhanced.unit if shown.enhanced.unit != "unknown" else "unit of the input"
    top = _pet_top(shown, scene)
    enhanced = cut(shown.enhanced)
    columns = []
    if shown.mri is not None:
        pictures = cut(shown.mri)
        columns.append(_Column("MRI", pictures, "gray", 0, bright_level(pictures), None))
    against, title, reach = shown.low, "Enhanced − low dose", 2 * DIFFERENCE_SHARE * top
    if shown.low is not None:
        columns.append(_Column("Low-dose PET", cut(shown.low), _PET_COLOURS, 0, top, unit))
    columns.append(_Column("Enhanced PET", enhanced, _PET_COLOURS, 0, top, unit))
    if shown.reference is not None:
        against, title, reach = shown.reference, "Enhanced − standard", DIFFERENCE_SHARE * top
        columns.append(_Column("Standard-dose PET", cut(shown.reference), _PET_COLOURS, 0, top, unit))
    if against is not None:
        other = cut(against)
        difference: dict[Plane, PlaneImage] = {plane: enhanced[plane] - other[plane] for plane in PLANES}
        columns.append(_Column(title, difference, "RdBu_r", -reach, reach, unit))
    if shown.spread is not None:
        pictures = cut(shown.spread)
        columns.append(_Column("Spread of draws (SD)", pictures, "magma", 0, rounded(bright_level(pictures)), unit))
    return columns


def _draw_planes(columns: list[_Column], scene: Scene) -> Figure:
    """A grid of panels: a column per image, a row per plane, colour bars below."""
    size = scene.high - scene.low
    heights = [size[1], size[2], size[2]]
    widest = max(size[0], size[1])
    rows_inch = [_PANEL_INCH * height / widest for height in heights]
    figure = bare_figure(_PANEL_INCH * len(columns), sum(rows_inch) + 0.75)
    grid = figure.add_gridspec(
        5, len(columns), height_ratios=[*rows_inch, 0.12, 0.09], wspace=0.03, hspace=0.04,
        left=0.03, right=0.995, top=0.955, bottom=0.055,
    )  # fmt: skip
    for number, column in enumerate(columns):
        for row, plane in enumerate(PLANES):
            panel = figure.add_subplot(grid[row, number])
            image = show(panel, column.pictures[plane], plane, column.colours, column.low, column.high)
            if row == 0:
                panel.set_title(column.title, fontsize=9.5, pad=4)
            if number == 0:
                panel.set_ylabel(plane, fontsize=9)
                mark_sides(panel, plane, column.colours)
        if column.unit is not None:
            _bar_under(figure, grid[4, number], image, column)
    return figure


def _bar_under(figure: Figure, place: object, image: object, column: _Column) -> None:
    """A slim horizontal colour bar with three ticks and the unit."""
    holder = figure.add_subplot(place)  # type: ignore[call-overload]
    box = holder.get_position()
    holder.set_position((box.x0 + 0.12 * box.width, box.y0, 0.76 * box.width, box.height))
    bar = figure.colorbar(image, cax=holder, orientation="horizontal")  # type: ignore[arg-type]
    ticks = np.linspace(column.low, column.high, 3)
    bar.set_ticks(ticks.tolist(), labels=[_readable(tick) for tick in ticks])
    first, _, last = bar.ax.get_xticklabels()  # keep clear of the neighbours'
    first.set_horizontalalignment("left")
    last.set_horizontalalignment("right")
    bar.ax.tick_params(labelsize=7, length=2, pad=1)
    bar.outline.set_linewidth(0.4)  # type: ignore[operator]
    bar.set_label(column.unit or "", fontsize=7, labelpad=1)


def _readable(value: float) -> str:
    """A tick label: thousands separated, no exponent."""
    text = f"{value:,.0f}".replace(",", " ") if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("-", "−")


def show(panel: Axes, picture: PlaneImage, plane: Plane, colours: str, low: float, high: float) -> object:
    """One picture without axes; axial and coronal ones with the patient's right on the left."""
    turned = picture[:, ::-1] if plane != "sagittal" else picture
    image = panel.imshow(turned, cmap=colours, vmin=low, vmax=high, origin="lower", aspect="equal")
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set_visible(False)
    return image


def mark_sides(panel: Axes, plane: Plane, colours: str) -> None:
    """R and L (P and A on the sagittal plane) in the lower corners of a panel."""
    colour = "black" if colours == "gray_r" else "white"
    left, right = ("P", "A") if plane == "sagittal" else ("R", "L")
    for text, x, side in ((left, 0.03, "left"), (right, 0.97, "right")):
        panel.text(
            x, 0.03, text, transform=panel.transAxes, ha=side, va="bottom", fontsize=9, color=colour, weight="bold"
        )


def bare_figure(width: float, height: float) -> Figure:
    """A figure on the Agg canvas, without pyplot's global state."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def as_png(figure: Figure) -> str:
    """The figure as a base64 PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", bbox_inches="tight", pad_inches=0.04)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
