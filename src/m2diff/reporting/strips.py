"""The same slices of one person by several methods: image and difference to the truth, in radiological view."""

from __future__ import annotations

from collections.abc import Mapping

from m2diff.reporting.figures import as_png, bare_figure, mark_sides, show
from m2diff.reporting.paint import rounded
from m2diff.reporting.planes import PLANES, bright_level, scene_of
from m2diff.volume import Volume

_ROW_INCH = 1.35
_GREY, _SIGNED = "gray_r", "RdBu_r"
_DIFFERENCE_SHARE = 0.25  # of the PET scale, each way


def side_by_side(images: Mapping[str, Volume], truth: Volume) -> str:
    """``images`` by title, on the grid and in the unit of ``truth``, as a base64 PNG; errors on a quarter scale."""
    scene = scene_of(truth)
    clean = {plane: scene.cut(truth, plane) for plane in PLANES}
    top = rounded(bright_level(clean))
    reach = _DIFFERENCE_SHARE * top
    size = scene.high - scene.low
    widths = [size[0], size[0], size[1]] * 2
    scale = _ROW_INCH / max(size[1], size[2])
    figure = bare_figure(scale * sum(widths) + 1.5, _ROW_INCH * len(images))
    panels = figure.subplots(
        len(images), 6, squeeze=False, gridspec_kw={"wspace": 0.02, "hspace": 0.02, "width_ratios": widths}
    )
    for line, (title, volume) in zip(panels, images.items(), strict=True):
        for number, plane in enumerate(PLANES):
            picture = scene.cut(volume, plane)
            show(line[number], picture, plane, _GREY, 0, top)
            show(line[number + 3], picture - clean[plane], plane, _SIGNED, -reach, reach)
        line[0].set_ylabel(title, fontsize=8.5, rotation=0, ha="right", va="center", labelpad=6)
    for number, plane in enumerate(PLANES):
        mark_sides(panels[0][number], plane, _GREY)
        panels[0][number].set_title(plane, fontsize=9)
        panels[0][number + 3].set_title(f"error, {plane}", fontsize=9)
    return as_png(figure)
