"""Figures of matplotlib for comparisons: bare canvases, pictures without axes, sides marked, PNG out."""

from __future__ import annotations

import base64
import io
from typing import TYPE_CHECKING

from m2diff.reporting.paint import SIDES, viewed
from m2diff.reporting.planes import Plane, PlaneImage

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def show(panel: Axes, picture: PlaneImage, plane: Plane, colours: str, low: float, high: float) -> object:
    """One picture without axes; axial and coronal ones with the patient's right on the left."""
    image = panel.imshow(viewed(picture, plane), cmap=colours, vmin=low, vmax=high, origin="lower", aspect="equal")
    panel.set_xticks([])
    panel.set_yticks([])
    for spine in panel.spines.values():
        spine.set_visible(False)
    return image


def mark_sides(panel: Axes, plane: Plane, colours: str) -> None:
    """R and L (P and A on the sagittal plane) in the lower corners of a panel."""
    colour = "black" if colours == "gray_r" else "white"
    for text, x, side in ((SIDES[plane][0], 0.03, "left"), (SIDES[plane][1], 0.97, "right")):
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
