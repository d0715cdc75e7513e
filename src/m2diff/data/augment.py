"""Random variations of training slabs (s, h, w), for scanners and MRIs that the network never saw.

PET, input and target alike: a post-filter, a global scale, a mirror. MRI: contrast, gain, a shift, a mirror.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

Slices = npt.NDArray[np.float32]  # (s, h, w)

MARGIN = 4
"""Voxels read around a slab where a filter needs them: 3.5 standard deviations of the widest post-filter at 2 mm."""


class Augmentation(BaseModel):
    """How often and how strongly each variation is drawn."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    flip: float = Field(default=0.5, ge=0, le=1, description="share of items mirrored left to right")
    scale_sd: float = Field(default=0.1, ge=0, description="standard deviation of the log of a common PET scale")
    smooth: float = Field(default=0.25, ge=0, le=1, description="share of items with a further post-filter")
    smooth_sigma: float = Field(default=1.1, gt=0, le=1.3, description="its largest standard deviation, voxels")
    mri_gamma_sd: float = Field(default=0.2, ge=0, description="standard deviation of the log of the MRI's gamma")
    mri_gain_sd: float = Field(default=0.1, ge=0, description="standard deviation of the log of the MRI's gain")
    mri_shift: float = Field(default=0.3, ge=0, le=1, description="share of items whose MRI is off by up to a voxel")
    enabled: bool = True


@dataclass(frozen=True)
class Draw:
    """What was drawn for one item (by default nothing changes); ``sigma`` and ``shift`` (along s, h, w) in voxels."""

    flip: bool = False
    scale: float = 1.0
    sigma: float = 0.0
    gamma: float = 1.0
    gain: float = 1.0
    shift: tuple[float, float, float] = (0.0, 0.0, 0.0)

    @classmethod
    def random(cls, rng: np.random.Generator, how: Augmentation) -> Draw:
        """One draw; it takes the same count of numbers from ``rng`` every time."""
        flip, smooth, shift, sigma = rng.random(4)
        scale, gamma, gain = rng.standard_normal(3)
        dz, dy, dx = rng.uniform(-1.0, 1.0, 3)
        if not how.enabled:
            return cls()
        return cls(
            flip=bool(flip < how.flip),
            scale=float(np.exp(how.scale_sd * scale)),
            sigma=float(0.4 + sigma * (how.smooth_sigma - 0.4)) if smooth < how.smooth else 0.0,
            gamma=float(np.exp(how.mri_gamma_sd * gamma)),
            gain=float(np.exp(how.mri_gain_sd * gain)),
            shift=(float(dz), float(dy), float(dx)) if shift < how.mri_shift else (0.0, 0.0, 0.0),
        )


def filtered(slab: Slices, sigma: float) -> Slices:
    """A slab read with ``MARGIN`` voxels on every side, post-filtered, without the margin."""
    from scipy.ndimage import gaussian_filter

    smooth = gaussian_filter(slab, sigma, mode="nearest", truncate=MARGIN / sigma) if sigma > 0 else slab
    return smooth[MARGIN:-MARGIN, MARGIN:-MARGIN, MARGIN:-MARGIN]


def shifted(slab: Slices, shift: tuple[float, float, float]) -> Slices:
    """A slab read with ``MARGIN`` voxels on every side, moved by up to a voxel an axis (linear), without the margin."""
    inner = slab
    for axis, amount in enumerate(shift):
        if amount != 0.0:
            neighbour = np.roll(inner, 1 if amount > 0 else -1, axis=axis)
            inner = (1.0 - abs(amount)) * inner + abs(amount) * neighbour
    return inner[MARGIN:-MARGIN, MARGIN:-MARGIN, MARGIN:-MARGIN]


def recontrasted(mri: Slices, gamma: float, gain: float) -> Slices:
    """``gain * mri ** gamma``: zero stays zero, and one goes to ``gain``."""
    if gamma == 1.0 and gain == 1.0:
        return mri
    return (gain * np.maximum(mri, 0.0) ** gamma).astype(np.float32)
