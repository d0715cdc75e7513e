"""Classical filters, each an ``Enhancer`` of whole volumes on the 2 mm working grid.

``tuned(name, dose)`` takes the parameters for a dose from ``presets/filters.yaml``, tuned on training persons. An
input multiplied by k comes out multiplied by k.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from functools import cache
from importlib import resources
from itertools import product
from math import isfinite, log, sqrt
from typing import ClassVar

import numpy as np
import torch
import yaml
from scipy import ndimage
from torch import Tensor

from m2diff.batch import Conditions, Needs
from m2diff.errors import BadInput
from m2diff.shapes import Slab

_FWHM_PER_SIGMA = sqrt(8 * log(2))
_WORKING_MM = 2.0  # voxel edge of the working grid
OWN_GUIDE_MM = 5.0  # a PET that guides itself is smoothed first, or it would keep its noise


class Filter:
    """What the filters share: volumes in, volumes out, one at a time, in NumPy on the CPU."""

    name: ClassVar[str]
    needs: ClassVar[Needs] = Needs(view="volume")

    def enhance(self, conditions: Conditions, *, generator: torch.Generator | None = None) -> Slab:
        """The filtered volumes (b, d, h, w) of ``conditions.low``; ``generator`` is not used."""
        low = conditions.low
        guides = conditions.mri if self.needs.mri and conditions.mri is not None else [None] * len(low)
        filtered = [
            torch.from_numpy(self.filter(_array(image), None if guide is None else _array(guide)).astype(np.float32))
            for image, guide in zip(low, guides, strict=True)
        ]
        return torch.stack(filtered).to(device=low.device, dtype=low.dtype)

    @abstractmethod
    def filter(self, low: np.ndarray, mri: np.ndarray | None) -> np.ndarray:
        """One volume (d, h, w) filtered; ``mri`` is None where there is none or the filter reads none."""


@dataclass(frozen=True)
class Gaussian(Filter):
    """Convolution with a Gaussian of ``fwhm_mm``, the filter that every scanner offers."""

    name: ClassVar[str] = "gaussian"
    fwhm_mm: float = 6.0

    def filter(self, low: np.ndarray, mri: np.ndarray | None) -> np.ndarray:
        """See the class."""
        return _gaussian(low, self.fwhm_mm)


@dataclass(frozen=True)
class NonLocalMeans(Filter):
    """Non-local means (Buades 2005; scikit-image's fast mode): an average over places with a similar surrounding.

    ``h``: the patch distance that still counts as similar, in units of the image's ``level``.
    """

    name: ClassVar[str] = "nlm"
    h: float = 0.3
    patch_size: int = 3
    patch_distance: int = 4

    def filter(self, low: np.ndarray, mri: np.ndarray | None) -> np.ndarray:
        """See the class."""
        from skimage.restoration import denoise_nl_means

        scale = level(low)
        if scale == 0:
            return low
        distance = min(self.patch_distance, min(low.shape) - 1)
        calm = denoise_nl_means(
            (low / scale).astype(np.float32), self.patch_size, distance, h=self.h, fast_mode=True, preserve_range=True
        )
        return calm * scale


@dataclass(frozen=True)
class Bowsher(Filter):
    """The mean over the ``k`` voxels nearby whose MRI is most alike, the voxel itself included (Bowsher 2004).

    Nearby is a ball of ``radius`` voxels; equally alike voxels count together, so the mean may run over more than k.
    ``passes`` repeats it with the same neighbours. Without an MRI the PET, smoothed to 5 mm, chooses the neighbours.
    """

    name: ClassVar[str] = "bowsher"
    needs: ClassVar[Needs] = Needs(view="volume", mri=True)
    k: int = 16
    radius: float = 2.0
    passes: int = 2

    def filter(self, low: np.ndarray, mri: np.ndarray | None) -> np.ndarray:
        """See the class."""
        guide = _gaussian(low, OWN_GUIDE_MM) if mri is None else mri
        offsets = _ball(self.radius)
        if not 1 <= self.k <= len(offsets):
            raise BadInput(
                f"Bowsher needs k from 1 to the {len(offsets)} voxels within radius {self.radius:g}, "
                f"got k = {self.k}; choose a smaller k or a larger radius."
            )
        for _ in range(self.passes):
            low = _mean_of_alike(low, guide, offsets, self.k)
        return low


@dataclass(frozen=True)
class MRGuided(Filter):
    """The guided filter (He, Sun and Tang, 2013) in 3D with the MRI as its guide.

    In every box of ``2 radius + 1`` voxels the PET is fitted as ``a MRI + b`` with a ridge penalty on ``a``
    (their eq. 5, 6); a voxel's value is the mean of the fits of all boxes that hold it (eq. 8). ``eps`` is the
    penalty in units of the MRI's variance over its foreground. Without an MRI the PET, smoothed to 5 mm, guides itself.
    """

    name: ClassVar[str] = "mr-guided"
    needs: ClassVar[Needs] = Needs(view="volume", mri=True)
    radius: int = 2
    eps: float = 0.02

    def filter(self, low: np.ndarray, mri: np.ndarray | None) -> np.ndarray:
        """See the class."""
        guide = (_gaussian(low, OWN_GUIDE_MM) if mri is None else mri).astype(np.float64)
        image = low.astype(np.float64)
        spread = foreground_variance(guide)
        if spread == 0:  # a guide that shows nothing: every fit is a plain mean
            return self._mean(self._mean(image))
        guide = guide - guide.mean()  # keeps the differences below from cancelling
        mean_guide, mean_image = self._mean(guide), self._mean(image)
        variance = (self._mean(guide * guide) - mean_guide**2).clip(min=0)
        covariance = self._mean(guide * image) - mean_guide * mean_image
        a = covariance / (variance + self.eps * spread)
        b = mean_image - a * mean_guide
        return self._mean(a) * guide + self._mean(b)

    def _mean(self, image: np.ndarray) -> np.ndarray:
        return ndimage.uniform_filter(image, size=2 * self.radius + 1, mode="nearest")


FILTERS: dict[str, type[Filter]] = {kind.name: kind for kind in (Gaussian, NonLocalMeans, Bowsher, MRGuided)}
"""Every filter by its name, as the command line and the tables call it."""


@cache
def presets() -> dict[str, dict[float, dict[str, float]]]:
    """Tuned parameters: filter name -> dose reduction factor -> field -> value."""
    text = resources.files("m2diff").joinpath("presets/filters.yaml").read_text(encoding="utf-8")
    return {name: {float(drf): dict(p) for drf, p in doses.items()} for name, doses in yaml.safe_load(text).items()}


def tuned(name: str, dose: float | None = None) -> Filter:
    """The filter ``name``, tuned at the DRF nearest to ``dose`` on a log scale; None or NaN: its defaults."""
    if name not in FILTERS:
        raise BadInput(f"No filter is called {name!r}; choose one of {', '.join(FILTERS)}.")
    table = presets().get(name, {})
    if dose is None or not isfinite(dose) or not table:
        return FILTERS[name]()
    if dose <= 0:
        raise BadInput(f"A dose reduction factor is a positive number such as 20, got {dose:g}.")
    nearest = min(table, key=lambda drf: abs(log(drf) - log(dose)))
    return FILTERS[name](**table[nearest])


def level(image: np.ndarray) -> float:
    """A typical value of the image: the mean of the voxels above the mean of all."""
    bright = image[image > image.mean()]
    return float(bright.mean()) if bright.size else 0.0


def foreground_variance(guide: np.ndarray) -> float:
    """Variance of a guide over its foreground: the voxels above a tenth of its 99th percentile."""
    shown = guide[guide > 0.1 * np.percentile(guide, 99)]
    return float(shown.var()) if shown.size else 0.0


def _array(stack: Tensor) -> np.ndarray:
    return stack.detach().to(device="cpu", dtype=torch.float32).numpy()


def _gaussian(image: np.ndarray, fwhm_mm: float) -> np.ndarray:
    return ndimage.gaussian_filter(image, fwhm_mm / _FWHM_PER_SIGMA / _WORKING_MM, mode="nearest")


def _ball(radius: float) -> list[tuple[int, int, int]]:
    """Steps to the voxels within ``radius``, the voxel itself included."""
    reach = int(radius)
    steps = range(-reach, reach + 1)
    return [(z, y, x) for z, y, x in product(steps, steps, steps) if z * z + y * y + x * x <= radius * radius]


def _mean_of_alike(image: np.ndarray, guide: np.ndarray, offsets: list[tuple[int, int, int]], k: int) -> np.ndarray:
    """The mean of ``image`` over those ``offsets`` whose ``guide`` is among the k most alike (ties count together)."""
    reach = max(max(map(abs, offset)) for offset in offsets)
    guides, images = (np.pad(x.astype(np.float32), reach, mode="edge") for x in (guide, image))
    result = np.empty(image.shape, dtype=np.float32)
    depth, height, width = image.shape
    for z in range(depth):  # a slice at a time: all differences at once would fill gigabytes
        views = [
            np.s_[z + reach + dz, reach + dy : reach + dy + height, reach + dx : reach + dx + width]
            for dz, dy, dx in offsets
        ]
        unlike = np.stack([np.abs(guides[view] - guide[z]) for view in views], axis=-1)  # (h, w, n)
        limit = np.partition(unlike, k - 1, axis=-1)[..., k - 1 : k]
        alike = (unlike <= limit).astype(np.float32)
        result[z] = (np.stack([images[view] for view in views], axis=-1) * alike).sum(-1) / alike.sum(-1)
    return result
