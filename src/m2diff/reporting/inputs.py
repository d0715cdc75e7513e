"""What the report of one scan shows. Everything arrives worked out: reporting computes nothing but pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import isfinite, nan
from typing import TYPE_CHECKING, Any

import numpy as np

from m2diff.evaluation.study import Evaluation, MethodRow
from m2diff.volume import Volume

if TYPE_CHECKING:
    from m2diff.enhancement.enhanced import Enhanced
    from m2diff.trust import hidden
    from m2diff.trust.table import RegionalTable, RegionRow


@dataclass(frozen=True)
class KeyNumber:
    """One number at the top of the page: label, value, remark."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Cluster:
    """A flagged place: where, how large, and how far from what was expected there (below 0 is cold)."""

    region: str
    centre_mm: tuple[float, float, float]  # world mm (RAS+) of the enhanced image
    volume_ml: float
    contrast_percent: float
    z: float


@dataclass(frozen=True)
class Estimate:
    """A region's mean and its 90 % interval (NaN: none), in the unit of the scan; SUVR or NaN."""

    mean: float
    low: float
    high: float
    suvr: float = nan

    @property
    def has_interval(self) -> bool:
        """Whether the interval is known."""
        return isfinite(self.low) and isfinite(self.high)


@dataclass(frozen=True)
class RegionEstimates:
    """One region: left and right, or ``whole`` where it has no sides; 100 (left - right) / their mean, or NaN."""

    name: str
    left: Estimate | None = None
    right: Estimate | None = None
    whole: Estimate | None = None
    asymmetry_percent: float = nan

    @property
    def parts(self) -> tuple[tuple[str, Estimate], ...]:
        """The estimates that there are, each with its letter (none for the whole)."""
        known = (("L", self.left), ("R", self.right), ("", self.whole))
        return tuple((letter, part) for letter, part in known if part is not None)


@dataclass(frozen=True, eq=False, kw_only=True)
class ReportInputs:
    """All that a report shows; what is None or empty has no section.

    ``low``, ``mri``, ``reference``, ``spread`` (standard deviation over draws): in the unit of ``enhanced``, on any
    grid in its world. ``low_evaluation``: of the low-dose input, for comparison. ``settings``: inputs and hashes,
    weights, steps, seed, versions ...; nested mappings become groups.

    What the scan leaves open: ``uncertainty``: standard deviation in per cent of the brain's mean. ``limits``: by
    lesion size ("8 mm"), the least contrast in per cent that would show with 80 % power. Both are 0 or NaN where not
    told. ``clusters``: flagged places. ``estimates``: regions with intervals. ``hiding``: one sentence on the size
    and contrast of what could hide in this scan.
    """

    title: str
    enhanced: Volume
    low: Volume | None = None
    mri: Volume | None = None
    reference: Volume | None = None
    spread: Volume | None = None
    uncertainty: Volume | None = None
    limits: Mapping[str, Volume] = field(default_factory=dict)
    clusters: Sequence[Cluster] = ()
    estimates: Sequence[RegionEstimates] = ()
    hiding: str = ""
    evaluation: Evaluation | None = None
    low_evaluation: Evaluation | None = None
    methods: tuple[MethodRow, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    story: str = ""  # the page's first sentence; empty: that a low-dose scan (and its MRI) became the enhanced image
    opening: str = ""  # a paragraph before everything else

    @classmethod
    def of(cls, result: Enhanced, name: str) -> ReportInputs:
        """The inputs for a finished scan called ``name``, without a reference."""
        trust = result.trust
        brain = 100 / result.settings["scale"]
        return cls(
            title=f"{name} enhanced with {result.settings['weights']['name']}",
            low=result.low,
            enhanced=result.volume,
            mri=result.mri,
            spread=result.spread,
            uncertainty=None if trust.uncertainty is None else _times(trust.uncertainty, brain),
            limits={size: _times(limit, 100) for size, limit in trust.limits.items()},
            clusters=[_shown(one) for one in trust.clusters],
            estimates=() if trust.table is None else estimates(trust.table),
            hiding=trust.hiding,
            settings=result.settings,
            warnings=tuple(warning for warning in result.warnings if warning != result.lost),
            opening=result.lost,
        )


def estimates(table: RegionalTable) -> tuple[RegionEstimates, ...]:
    """The regions of a table, sides that belong together as one."""
    found: dict[str, dict[str, RegionRow]] = {}
    for row in table.rows:
        stem = row.name.removesuffix("_left").removesuffix("_right")
        side = row.name[len(stem) + 1 :] or "whole"
        found.setdefault(stem, {})[side] = row
    return tuple(
        RegionEstimates(
            name=stem.replace("_", " "),
            **{
                side: Estimate(row.mean, row.mean - row.half, row.mean + row.half, row.suvr)
                for side, row in sides.items()
            },
            asymmetry_percent=next(iter(sides.values())).asymmetry,
        )
        for stem, sides in found.items()
    )


def _shown(one: hidden.Cluster) -> Cluster:
    """A flagged place as the page shows it."""
    return Cluster(one.region.replace("_", " "), one.world, one.volume_ml, 100 * one.contrast, one.z)


def _times(volume: Volume, factor: float) -> Volume:
    return volume.with_data(volume.data * np.float32(factor), f"times {factor:.4g}")
