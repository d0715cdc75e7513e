"""A scan as a small picture: an axial and a coronal plane of the low dose and the enhanced image, a few kB of JPEG."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np

from m2diff.reporting.paint import viewed
from m2diff.reporting.planes import Plane, bright_level, scene_of
from m2diff.volume import Volume

_PLANES: tuple[Plane, ...] = ("axial", "coronal")
_PIXEL_MM = 1.6
_QUALITY = 72  # of the JPEG


def thumbnail(enhanced: Volume, low: Volume | None = None) -> bytes:
    """Low dose (where given) beside enhanced, plane by plane, on one inverted grey scale."""
    from PIL import Image

    scene = scene_of(enhanced)
    top = bright_level({plane: scene.cut(enhanced, plane) for plane in _PLANES})
    volumes = [volume for volume in (low, enhanced) if volume is not None]
    cuts = [
        viewed(scene.cut(volume, plane, pixel_mm=_PIXEL_MM), plane)[::-1] for plane in _PLANES for volume in volumes
    ]
    height = max(cut.shape[0] for cut in cuts)
    row = np.hstack([np.pad(cut, ((height - cut.shape[0], 0), (0, 2))) for cut in cuts])
    grey = 255 * (1 - np.clip(row / top, 0, 1))
    buffer = io.BytesIO()
    Image.fromarray(grey.astype(np.uint8)).save(buffer, format="jpeg", quality=_QUALITY, optimize=True)
    return buffer.getvalue()


def thumbnail_path(out: Path, name: str) -> Path:
    """Where the small picture of the scan called ``name`` lies in a derivative data set, beside its report."""
    return out / "reports" / f"{name}_thumbnail.jpg"
