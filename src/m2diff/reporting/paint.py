"""Pictures as base64 PNG: a plane in the colours of a scale, its colour bar, and outlines as SVG paths.

Radiological convention: the patient's right is on the left of axial and coronal planes, and marked.
"""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass, replace

import numpy as np

from m2diff.reporting.planes import Plane, PlaneImage

SIDES: dict[Plane, tuple[str, str]] = {"axial": ("R", "L"), "coronal": ("R", "L"), "sagittal": ("P", "A")}
"""What lies left and right in a picture."""
_SHORTEST = 25  # points of an outline that is drawn; shorter ones are noise
_SIMPLER_PX = 0.15  # by how much an outline may move to have fewer points


@dataclass(frozen=True)
class Scale:
    """Colours from ``low`` to ``high`` in ``unit``; ``hollow``: values of 0 and below and NaN are transparent."""

    colours: str  # a colour map of matplotlib
    low: float
    high: float
    unit: str = ""
    hollow: bool = False

    @property
    def ticks(self) -> tuple[str, str, str]:
        """The ends and the middle as text."""
        return readable(self.low), readable((self.low + self.high) / 2), readable(self.high)

    @property
    def bar(self) -> str:
        """The colour bar, left to right."""
        values = np.linspace(self.low, self.high, 128, dtype=np.float32)[None]
        return painted(values, replace(self, hollow=False))


def painted(picture: PlaneImage, scale: Scale) -> str:
    """``picture`` as it is stored, row 0 at the bottom, in the colours of ``scale``."""
    from matplotlib import colormaps
    from PIL import Image

    share = (np.nan_to_num(picture, nan=scale.low) - scale.low) / max(scale.high - scale.low, 1e-30)
    index = (1 + np.clip(share, 0, 1) * 254).round().astype(np.uint8)  # 0 is kept for what is transparent
    if scale.hollow:
        index[~(picture > 0)] = 0
    image = Image.fromarray(np.ascontiguousarray(index[::-1]), "L")
    image.putpalette((colormaps[scale.colours](np.linspace(0, 1, 256))[:, :3] * 255).round().astype(np.uint8).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="png", **({"transparency": 0} if scale.hollow else {}))
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def viewed(picture: PlaneImage, plane: Plane) -> PlaneImage:
    """``picture`` as a radiologist looks at it."""
    return picture[:, ::-1] if plane != "sagittal" else picture


def outlines(picture: PlaneImage, level: float) -> str:
    """Where a viewed ``picture`` crosses ``level``, as an SVG path in pixels from its upper left corner."""
    from skimage.measure import approximate_polygon, find_contours

    height = picture.shape[0]
    parts = []
    for line in find_contours(np.asarray(picture, dtype=np.float64), level):
        if len(line) >= _SHORTEST:
            points = approximate_polygon(line, _SIMPLER_PX)
            parts.append("M" + "L".join(f"{x + 0.5:.1f} {height - y - 0.5:.1f}" for y, x in points))
    return "".join(parts)


def rounded(value: float) -> float:
    """A value to two digits, for a readable scale."""
    return float(f"{value:.1e}")


def readable(value: float) -> str:
    """A number for a reader: thousands apart, no exponent, a true minus."""
    text = f"{value:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}") if abs(value) >= 100 else f"{value:.3g}"
    return text.replace("-", "−")
