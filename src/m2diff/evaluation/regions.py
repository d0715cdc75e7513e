"""Regional means, bias and noise: does every part of the brain keep its activity?

The worst region is named. Small regions (mostly noise) and fluid spaces (spill-in) are listed but not counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import nan

import numpy as np
from scipy import ndimage

from m2diff.shapes import LabelArray, MaskArray, VolumeArray

MIN_VOLUME_ML = 1.0  # regions below cannot be the worst one
FLUID = ("ventricle", "lat vent", "csf", "cerebrospinal", "vessel")  # such names never count for the worst
CORE_MM = 3.0  # how far the white matter is eroded, against spill-in from the cortex


@dataclass(frozen=True)
class Region:
    """One region. Means are in the image's unit; NaN for what needs a reference, without one."""

    label: int
    name: str
    volume_ml: float
    mean: float
    reference_mean: float
    bias_percent: float  # 100 (mean - reference mean) / reference mean
    cov_percent: float  # 100 standard deviation / mean over the region's voxels, in the image
    reference_cov_percent: float
    counted: bool = True  # whether it may be the worst region: large enough, and tissue


@dataclass(frozen=True)
class RegionTable:
    """All regions, in the order of their labels, and their summaries."""

    rows: tuple[Region, ...]
    min_volume_ml: float = MIN_VOLUME_ML
    white_matter_cov_percent: float = nan  # CoV over the eroded white matter, NaN where the labels name none
    reference_white_matter_cov_percent: float = nan

    @property
    def worst(self) -> Region | None:
        """The counted region of the largest absolute bias; None without a reference."""
        known = [row for row in self.rows if row.counted and np.isfinite(row.bias_percent)]
        return max(known, key=lambda row: abs(row.bias_percent), default=None)

    @property
    def mean_absolute_bias_percent(self) -> float:
        """Mean |bias| of the regions that count; NaN without a reference."""
        biases = [abs(row.bias_percent) for row in self.rows if row.counted]
        return float(np.mean(biases)) if biases else nan


def table(
    image: VolumeArray,
    labels: LabelArray,
    *,
    voxel_size: tuple[float, float, float],
    names: Mapping[int, str] | None = None,
    reference: VolumeArray | None = None,
) -> RegionTable:
    """The table of ``image`` over ``labels`` > 0, both (i, j, k). White matter: by name, without the cerebellum's."""
    names = names or {}
    present = [int(label) for label in np.unique(labels) if label > 0]
    voxels = np.bincount(labels[labels > 0], minlength=1)
    volumes = voxels * np.prod(voxel_size) / 1000.0
    ours = _statistics(image, labels, present)
    theirs = [(nan, nan)] * len(present) if reference is None else _statistics(reference, labels, present)
    rows, white = [], []
    for label, (mean, sd), (ref_mean, ref_sd) in zip(present, ours, theirs, strict=True):
        name, volume = names.get(label, f"region {label}"), float(volumes[label])
        searched = words(name)
        counted = volume >= MIN_VOLUME_ML and not any(fluid in searched for fluid in FLUID)
        bias = 100 * (mean - ref_mean) / ref_mean if ref_mean > 0 else nan
        rows.append(Region(label, name, volume, mean, ref_mean, bias, _cov(mean, sd), _cov(ref_mean, ref_sd), counted))
        if "white matter" in searched and "cerebell" not in searched:
            white.append(label)
    core = eroded(np.isin(labels, white), voxel_size)
    theirs_in_core = nan if reference is None else cov_percent(reference, core)
    return RegionTable(tuple(rows), MIN_VOLUME_ML, cov_percent(image, core), theirs_in_core)


def cov_percent(image: VolumeArray, mask: MaskArray) -> float:
    """100 standard deviation / mean over the mask; NaN for an empty mask or a mean of 0 or below."""
    values = image[mask].astype(np.float64)
    return _cov(float(values.mean()), float(values.std())) if values.size else nan


def eroded(mask: MaskArray, voxel_size: tuple[float, float, float]) -> MaskArray:
    """The voxels of ``mask`` more than ``CORE_MM`` inside; the whole mask where it is too thin for that."""
    if not mask.any():
        return mask
    core = ndimage.distance_transform_edt(np.pad(mask, 1), sampling=voxel_size)[1:-1, 1:-1, 1:-1] > CORE_MM
    return core if core.any() else mask


def _statistics(image: VolumeArray, labels: LabelArray, present: list[int]) -> list[tuple[float, float]]:
    """(mean, standard deviation) of each label of ``present``."""
    values = image.astype(np.float64)
    with np.errstate(invalid="ignore"):  # SciPy divides for codes that no voxel has, too
        found = [of(values, labels, present).tolist() for of in (ndimage.mean, ndimage.standard_deviation)]
    return list(zip(*found, strict=True))


def words(name: str) -> str:
    """A region's name for searching: lower case, spaces for _ and -."""
    return name.lower().replace("_", " ").replace("-", " ")


def _cov(mean: float, sd: float) -> float:
    return 100 * sd / mean if mean > 0 else nan
