"""A number against dose, a curve per method, with intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from m2diff.reporting.figures import as_png, bare_figure

_PANEL_INCH = (4.6, 3.5)
_MARKS = "os^DvP*X<>hp"


@dataclass(frozen=True)
class Curve:
    """One method: (dose reduction factor, value, low, high) by rising factor."""

    name: str
    points: tuple[tuple[float, float, float, float], ...]
    ours: bool = False


@dataclass(frozen=True)
class Panel:
    """One number: its title, its curves, and levels to mark (such as the standard scan's), by name."""

    title: str
    curves: tuple[Curve, ...]
    levels: tuple[tuple[str, float], ...] = ()


def against_dose(panels: Sequence[Panel], untrained: Sequence[float] = ()) -> str:
    """The panels side by side, dose on a logarithmic axis, ``untrained`` doses shaded; a base64 PNG."""
    from matplotlib import colormaps

    width, height = _PANEL_INCH
    figure = bare_figure(width * len(panels), height + 0.7)
    axes = figure.subplots(1, len(panels), squeeze=False, gridspec_kw={"wspace": 0.22})[0]
    names = list(dict.fromkeys(curve.name for panel in panels for curve in panel.curves))
    colours = {name: colormaps["tab20"]((2 * n) % 20 / 20 + (n >= 10) / 20) for n, name in enumerate(names)}
    for axis, panel in zip(axes, panels, strict=True):
        for curve in panel.curves:
            factors, values, lows, highs = zip(*curve.points, strict=True)
            spans = [[v - low for v, low in zip(values, lows, strict=True)]]
            spans.append([high - v for v, high in zip(values, highs, strict=True)])
            place, mark = names.index(curve.name), _MARKS[names.index(curve.name) % len(_MARKS)]
            shifted = [dose * 1.012 ** (place - len(names) / 2) for dose in factors]  # keep intervals apart
            axis.errorbar(
                shifted, values, yerr=spans, label=curve.name, color=colours[curve.name], marker=mark, markersize=4.5,
                linewidth=2.4 if curve.ours else 1.2, elinewidth=0.8, capsize=1.5,
            )  # fmt: skip
        for name, level in panel.levels:
            axis.axhline(level, color="0.45", linestyle="--", linewidth=0.9)
            axis.annotate(
                name, (0.01, level), xycoords=("axes fraction", "data"), fontsize=7, color="0.35", va="bottom"
            )
        doses = sorted({dose for curve in panel.curves for dose, *_ in curve.points})
        axis.set_xscale("log")
        axis.set_xticks(doses, labels=[f"{dose:g}" for dose in doses])
        axis.minorticks_off()
        axis.set_xlabel("dose reduction factor", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.grid(color="0.92", linewidth=0.6)
        for dose in untrained:
            axis.axvspan(dose / 1.12, dose * 1.12, color="#fff1cf", zorder=0)
        axis.set_title(panel.title, fontsize=10, loc="left")
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(
        handles,
        labels,
        ncols=min(len(labels), 5),
        fontsize=8,
        frameon=False,
        loc="upper center",
        bbox_to_anchor=(0.5, 0.0),
    )
    return as_png(figure)
