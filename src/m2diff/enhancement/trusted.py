"""What an enhanced scan says of itself: regions with intervals, uncertainty, flagged places and limits of detection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from m2diff.errors import BadInput
from m2diff.parcellation import atlas, segment
from m2diff.parcellation.segment import Parcels
from m2diff.preparation import grid
from m2diff.preparation.pair import Prepared
from m2diff.shapes import LabelArray, VolumeArray
from m2diff.trust import check, intervals, table
from m2diff.trust.hidden import Cluster
from m2diff.trust.table import RegionalTable
from m2diff.volume import Volume

UNTOLD = "not written: no intervals hold well enough for these weights (docs/trust.md)"
COARSE = "Without an MRI the regions are a template's, laid over the PET: their borders are off by some millimetres."


@dataclass(frozen=True, eq=False)
class Trust:
    """All on the PET's grid. ``uncertainty``: standard deviation, in the PET's unit; None where nothing calibrated it.

    ``dseg``: numbers of ``names``, None where no regions were found. ``limits``: by lesion size, the smallest contrast
    (1 for 100 %) that would show. ``threshold``: of |z| for ``clusters``. ``source``: of the regions.
    """

    table: RegionalTable | None
    dseg: Volume | None
    names: Mapping[int, str]
    source: str
    uncertainty: Volume | None
    limits: Mapping[str, Volume]
    clusters: tuple[Cluster, ...]
    threshold: float
    hiding: str
    notes: tuple[str, ...]
    noise_level: float
    deviation: Mapping[str, float]

    def settings(self) -> dict[str, Any]:
        """What a result's record says of it, JSON-ready. ``balance``: how far regions deviated, by kind of tissue."""
        return {
            "regions": self.source,
            "uncertainty": UNTOLD if self.uncertainty is None else "calibrated",
            "noise_level": finite(self.noise_level, 5),
            "balance": {kind: round(value, 5) for kind, value in self.deviation.items()},
            "threshold": finite(self.threshold, 3),
            "hiding": self.hiding,
        }


UNCHECKED = Trust(None, None, {}, "none", None, {}, (), float("nan"), "", (), float("nan"), {})
"""Of a result that nobody asked to check."""


def assess(
    prepared: Prepared,
    answer: VolumeArray,
    mri: Volume | None,
    weights: str | None,
    *,
    labels: tuple[Volume, Mapping[int, str]] | None,
    reference: str,
    balanced: bool = True,
) -> tuple[VolumeArray, Trust]:
    """Balance ``answer`` (normalised, working grid) and say how far to trust it.

    ``mri``: as it came, placed by ``prepared.alignment``. ``weights``: their hash, by which the calibration is known.
    ``labels``: regions of the user's own on the PET's grid, with
    their names, for the table in place of ours.
    """
    parcels, notes = find(prepared, answer, mri)
    shape = prepared.low.shape
    fine = None if parcels is None else parcels.fine_on(prepared.affine, shape)
    told = intervals.calibration(weights, mri=prepared.mri is not None)
    checked = check.check(prepared.low, answer, prepared.support, prepared.affine, fine, told, balanced=balanced)
    pet, shown = prepared.pet, told is not None and told.written
    dseg, names = labels or (None, atlas.regions())
    if labels is None and parcels is not None:
        dseg = Volume(parcels.regions_on(pet.affine, pet.shape).astype(np.float32), pet.affine, "1", ("regions",))
    means = None
    if dseg is not None:
        halves = checked.regional(nearest(dseg, prepared)) if shown else {}
        image = prepared.restore(checked.answer)
        means = table.table(image, pet, dseg.data.astype(np.int32), names, halves, reference)
    return checked.answer, Trust(
        table=means,
        dseg=dseg,
        names=names,
        source="labels" if labels is not None else "none" if parcels is None else parcels.source,
        uncertainty=spread(prepared, checked.sd, "uncertainty") if shown and checked.sd is not None else None,
        limits={name: limit_on_pet(prepared, each) for name, each in check.by_size(checked.hidden.limit).items()},
        clusters=tuple(replace(one, region=region_at(one, dseg, names)) for one in checked.hidden.clusters),
        threshold=checked.hidden.threshold,
        hiding=check.hiding(checked.hidden),
        noise_level=checked.noise_level,
        deviation={} if checked.balance is None else checked.balance.deviation,
        notes=notes,
    )


def finite(value: float, digits: int) -> float | None:
    """For JSON: None for NaN."""
    return round(value, digits) if np.isfinite(value) else None


def check_reference(reference: str) -> None:
    """Refuse an unknown reference for SUVR before the work."""
    if reference not in atlas.REFERENCES:
        raise BadInput(f"The SUVR reference is one of {', '.join(atlas.REFERENCES)}, got {reference!r}; choose one.")


def find(prepared: Prepared, answer: VolumeArray, mri: Volume | None) -> tuple[Parcels | None, tuple[str, ...]]:
    """The regions in the PET's world, from the MRI or else from the template; None with a note where neither fits."""
    try:
        if mri is None:
            return segment.from_template(prepared.restore(answer)), (COARSE,)
        found = segment.find(mri)
        return (found if prepared.alignment is None else found.moved(prepared.alignment.matrix)), ()
    except BadInput:
        return None, (f"No brain like the template's was found in the {'PET' if mri is None else 'MRI'}: no regions.",)


def spread(prepared: Prepared, sd: VolumeArray, step: str) -> Volume:
    """A standard deviation on the PET's grid, limited to 0 and above: interpolation may undershoot."""
    restored = prepared.restore(sd, step)
    return restored.with_data(np.maximum(restored.data, 0.0), "limited to 0 and above")


def limit_on_pet(prepared: Prepared, limit: VolumeArray) -> Volume:
    """A map of limits on the PET's grid, NaN outside the brain."""
    shape = prepared.pet.shape
    inside = grid.onto(Volume(np.isfinite(limit).astype(np.float32), prepared.affine), prepared.pet.affine, shape)
    filled = grid.onto(Volume(np.nan_to_num(limit), prepared.affine), prepared.pet.affine, shape)
    share = np.where(inside > 0.5, filled / np.maximum(inside, 0.5), np.nan)
    return Volume(share.astype(np.float32), prepared.pet.affine, "1", ("limit of detection",))


def nearest(labels: Volume, prepared: Prepared) -> LabelArray:
    """A label volume on the working grid."""
    index = np.linalg.inv(labels.affine) @ prepared.affine
    return segment.voted(np.rint(labels.data).astype(np.int32), index, prepared.low.shape)


def region_at(one: Cluster, dseg: Volume | None, names: Mapping[int, str]) -> str:
    """The region at a cluster's peak, or empty."""
    if dseg is None:
        return ""
    index = np.rint(np.linalg.inv(dseg.affine) @ [*one.world, 1.0])[:3].astype(int)
    place = tuple(np.clip(index, 0, np.array(dseg.shape) - 1))
    return names.get(int(dseg.data[place]), "")
