"""What the report of one scan shows. Everything arrives worked out: reporting computes nothing but pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import nan
from typing import TYPE_CHECKING, Any

from m2diff.evaluation.regions import RegionTable
from m2diff.evaluation.study import Evaluation, MethodRow
from m2diff.volume import Volume

if TYPE_CHECKING:
    from m2diff.enhancement.run import Enhanced


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
    """A region's mean and its 90 % interval, in the unit of the scan; SUVR or NaN."""

    mean: float
    low: float
    high: float
    suvr: float = nan


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
    grid in its world. ``low_evaluation``: of the low-dose input, for comparison. ``regions``: a table of means,
    without a reference. ``settings``: inputs and hashes, weights, steps, seed, versions ...; nested mappings become
    groups.

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
    regions: RegionTable | None = None
    methods: tuple[MethodRow, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()
    story: str = ""  # the page's first sentence; empty: that a low-dose scan (and its MRI) became the enhanced image
    opening: str = ""  # a paragraph before everything else

    @classmethod
    def of(cls, result: Enhanced, name: str, *, regions: RegionTable | None = None) -> ReportInputs:
        """The inputs for a finished scan called ``name``, without a reference."""
        return cls(
            title=f"{name} enhanced with {result.settings['weights']['name']}",
            low=result.low,
            enhanced=result.volume,
            mri=result.mri,
            spread=result.spread,
            regions=regions,
            settings=result.settings,
            warnings=result.warnings,
        )
