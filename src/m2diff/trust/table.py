"""The table of regions: mean, 90 % interval, SUVR and asymmetry of each, and the Alzheimer meta-region."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import nan

import numpy as np
from scipy import ndimage

from m2diff.parcellation import atlas
from m2diff.shapes import LabelArray
from m2diff.volume import Volume

COLUMNS = {
    "index": "the region's number in the segmentation",
    "name": "the region",
    "volume_ml": "its volume in millilitres",
    "mean": "mean of the enhanced scan, in its unit",
    "mean_low": "lower end of the mean's 90 % interval; n/a where the weights have none",
    "mean_high": "upper end of it",
    "input_mean": "mean of the low-dose scan",
    "suvr": "the mean over that of the reference region",
    "asymmetry": "100 (left - right) / their mean, of the two sides",
}


@dataclass(frozen=True)
class RegionRow:
    """A region: means in the scan's unit; NaN for what is not known. ``half``: half the 90 % interval's width."""

    index: int
    name: str
    volume_ml: float
    mean: float
    half: float
    input_mean: float
    suvr: float
    asymmetry: float

    def cells(self) -> list[str]:
        """The row as text, in the order of ``COLUMNS``."""
        numbers = (self.volume_ml, self.mean, self.mean - self.half, self.mean + self.half, self.input_mean)
        return [str(self.index), self.name, *map(_text, (*numbers, self.suvr, self.asymmetry))]


@dataclass(frozen=True)
class RegionalTable:
    """All regions; ``reference``: what SUVR is relative to; ``meta_roi``: mean SUVR of its three parts, or NaN."""

    rows: tuple[RegionRow, ...]
    reference: str
    meta_roi: float

    def to_tsv(self) -> list[list[str]]:
        """Rows of text, header first."""
        return [list(COLUMNS), *(row.cells() for row in self.rows)]


def table(
    image: Volume,
    low: Volume,
    labels: LabelArray,
    names: Mapping[int, str],
    half_widths: Mapping[int, float],
    reference: str = "cerebellar-grey",
) -> RegionalTable:
    """The table of ``image`` over ``labels`` > 0, on one grid; ``half_widths`` as shares of the means."""
    present = [int(number) for number in np.unique(labels) if number > 0]
    means, inputs = (ndimage.mean(each.data.astype(np.float64), labels, present) for each in (image, low))
    sizes = np.bincount(labels[labels > 0])[present] * float(np.prod(image.voxel_size)) / 1000
    called = {number: names.get(number, f"region {number}") for number in present}
    by_name = {
        called[number]: (float(mean), float(size)) for number, mean, size in zip(present, means, sizes, strict=True)
    }
    scale = pooled(by_name, atlas.REFERENCES[reference])
    rows = [
        RegionRow(
            index=number,
            name=called[number],
            volume_ml=float(size),
            mean=float(mean),
            half=abs(float(mean)) * half_widths.get(number, nan),
            input_mean=float(before),
            suvr=float(mean) / scale if scale > 0 else nan,
            asymmetry=asymmetry(called[number], by_name),
        )
        for number, mean, before, size in zip(present, means, inputs, sizes, strict=True)
    ]
    parts = [pooled(by_name, part) for part in atlas.META_ROI]
    return RegionalTable(tuple(rows), reference, float(np.mean(parts)) / scale if scale > 0 else nan)


def pooled(by_name: Mapping[str, tuple[float, float]], groups: Iterable[str]) -> float:
    """The mean over the voxels of groups, both sides together; NaN where none is there."""
    found = [by_name[n] for group in groups for n in (group, f"{group}_left", f"{group}_right") if n in by_name]
    volume = sum(size for _, size in found)
    return sum(mean * size for mean, size in found) / volume if volume > 0 else nan


def asymmetry(name: str, by_name: Mapping[str, tuple[float, float]]) -> float:
    """100 (left - right) / their mean for one of two sides; NaN without the other."""
    stem = name.removesuffix("_left").removesuffix("_right")
    left, right = by_name.get(f"{stem}_left"), by_name.get(f"{stem}_right")
    if stem == name or left is None or right is None or left[0] + right[0] <= 0:
        return nan
    return 200 * (left[0] - right[0]) / (left[0] + right[0])


def _text(value: float) -> str:
    return f"{value:.6g}" if np.isfinite(value) else "n/a"
