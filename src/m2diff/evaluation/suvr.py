"""SUVR by region, the Alzheimer meta-ROI, and their agreement over persons, from a ``RegionTable``.

    SUVR of a region   its mean / the mean of the cerebellar grey matter (both sides together)
    meta-ROI           mean SUVR of inferior parietal (angular), posterior cingulate with precuneus, lateral temporal;
                       after Landau et al. 2011, whose regions are spheres within these
    spared ratio       the same three over the sensorimotor cortex, which the disease spares; cortical thickness and the
                       scanner's blur cancel, as they do not over the cerebellum
    agreement          e = 100 (s - t) / t of a person's SUVR s and the noise-free image's t: bias = mean of e,
                       precision = standard deviation of e (n - 1), over persons

Regions are found by name, in this package's words or FreeSurfer's.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import nan

import numpy as np

from m2diff.evaluation.regions import Region, RegionTable, words

META_ROI: tuple[tuple[str, ...], ...] = (
    ("dorsolateral parietal", "inferiorparietal", "inferior parietal", "angular"),
    ("posterior cingulate", "posteriorcingulate", "isthmus cingulate", "isthmuscingulate", "precuneus"),
    ("lateral temporal", "inferiortemporal", "middletemporal", "inferior temporal", "middle temporal"),
)
"""The three parts, each by the words that a region's name holds."""
SPARED = ("postcentral", "paracentral", "precentral")
CEREBELLAR_GREY = re.compile(r"cerebell.*(cortex|gr[ea]y)|(cortex|gr[ea]y).*cerebell")
WHITE = (" wm ", " white matter ")
"""Words in names of the white matter below a region; FreeSurfer names it like the region (wm-lh-precuneus)."""


@dataclass(frozen=True)
class Suvr:
    """Ratios to the cerebellar grey matter, and the spared ratio; NaN where labels lack the names."""

    regions: dict[str, float]  # by region, those that count (see ``Region.counted``)
    meta_roi: float  # lower is more like Alzheimer's disease. NaN where one of its three parts is not there.
    spared_ratio: float


@dataclass(frozen=True)
class Agreement:
    """A region's SUVR against the truth's over persons, in percent; precision is NaN for one person."""

    bias_percent: float
    precision_percent: float
    persons: int


def suvr(table: RegionTable, *, reference: bool = False) -> Suvr:
    """SUVRs of the table's image, or of its ``reference``."""
    rows = [row for row in table.rows if np.isfinite(_mean(row, reference))]
    scale = _pooled([row for row in rows if CEREBELLAR_GREY.search(words(row.name))], reference)
    parts = [_pooled([row for row in rows if _holds(row.name, part)], reference) for part in META_ROI]
    spared = _pooled([row for row in rows if _holds(row.name, SPARED)], reference)
    ratios = {row.name: _over(_mean(row, reference), scale) for row in rows if row.counted}
    level = float(np.mean(parts))
    return Suvr(ratios, _over(level, scale), _over(level, spared))


def errors_percent(measured: Suvr, truth: Suvr) -> dict[str, float]:
    """One person's error in every common region, in percent of the truth's SUVR."""
    both = measured.regions.keys() & truth.regions.keys()
    return {r: 100 * (measured.regions[r] / truth.regions[r] - 1) for r in sorted(both) if truth.regions[r] > 0}


def agreement(errors: Collection[float]) -> Agreement:
    """One region's agreement over persons, from one error (percent) each."""
    if not errors:
        return Agreement(nan, nan, 0)
    spread = float(np.std(list(errors), ddof=1)) if len(errors) > 1 else nan
    return Agreement(float(np.mean(list(errors))), spread, len(errors))


def _over(value: float, scale: float) -> float:
    return value / scale if scale > 0 else nan


def _mean(row: Region, reference: bool) -> float:
    return row.reference_mean if reference else row.mean


def _pooled(rows: Iterable[Region], reference: bool) -> float:
    """The mean over the voxels of several regions; NaN for none."""
    parts = [(_mean(row, reference), row.volume_ml) for row in rows]
    volume = sum(size for _, size in parts)
    return sum(mean * size for mean, size in parts) / volume if volume > 0 else nan


def _holds(name: str, parts: Iterable[str]) -> bool:
    """Whether a grey-matter name holds one of ``parts`` as whole words: pars triangularis is no angular gyrus."""
    text = f" {words(name)} "
    return not any(white in text for white in WHITE) and any(f" {part} " in text for part in parts)
