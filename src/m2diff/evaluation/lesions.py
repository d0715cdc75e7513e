"""Contrast recovery of recorded lesions: are true signals kept, and MRI-only ones kept out?

Contrast: a lesion's mean over its surroundings' mean. Surroundings: a shell of 3 to 9 mm, without other lesions and,
where labels are known, within the regions that the lesion touches. Recovery: (contrast - 1) / (expected - 1); 1 is
perfect, 0 an erased lesion. Expected is

    recovery            the simulator's factor on the uptake; blur keeps even a perfect scan below 1
    reference_recovery  the contrast of the reference image in the same voxels; 1 for a perfect enhancer

An MRI-only lesion has an expected PET contrast of 1, no recovery, and instead

    leakage             contrast - reference contrast, signed so that positive means towards the MRI's; 0 is none
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite, nan
from typing import Any

import numpy as np
from scipy import ndimage

from m2diff.errors import BadInput
from m2diff.shapes import LabelArray, MaskArray, VolumeArray

SHELL_MM = (3.0, 9.0)  # not from 0: the lesion's blur crosses its border
SMALLEST_CONTRAST = 0.05  # a reference contrast below tells nothing about recovery

KINDS = ("pet_hot", "pet_cold", "mri_only")


@dataclass(frozen=True)
class LesionTruth:
    """The record of a lesion: its label in the lesion volume, its kind, and the true factor on the uptake."""

    label: int
    kind: str
    contrast: float
    mri_factor: float = nan  # MRI-only: the factor on the MRI, below 1 for a dark lesion; NaN where it is not recorded

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> LesionTruth:
        """Read ``label`` (``code``), ``kind``, ``contrast`` (``factor``; an MRI-only lesion's is on the MRI, PET 1)."""
        mri = nan
        try:
            label, kind = int(record.get("label", record.get("code"))), str(record["kind"])  # type: ignore[arg-type]
            if kind == "mri_only":
                contrast, mri = 1.0, float(record.get("factor", nan))
            else:
                contrast = float(record.get("contrast", record.get("factor")))  # type: ignore[arg-type]
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise BadInput(f"A lesion record holds label, kind and contrast, got {record!r}; repair it.") from error
        if kind not in KINDS:
            raise BadInput(f"A lesion's kind is one of {', '.join(KINDS)}, got {kind!r}; repair the record.")
        return cls(label, kind, contrast, mri)


@dataclass(frozen=True)
class Lesion:
    """One lesion as measured; NaN where a number has no meaning."""

    label: int
    kind: str
    volume_ml: float
    true_contrast: float
    contrast: float
    reference_contrast: float
    recovery: float
    reference_recovery: float
    leakage: float = nan


def measure(
    image: VolumeArray,
    reference: VolumeArray,
    lesion_labels: LabelArray,
    truths: Iterable[LesionTruth],
    *,
    voxel_size: tuple[float, float, float],
    labels: LabelArray | None = None,
    within: MaskArray | None = None,
) -> tuple[Lesion, ...]:
    """Measure every recorded lesion that has a voxel on this grid; ``labels`` and ``within`` limit the surroundings."""
    allowed = (lesion_labels == 0) if within is None else (lesion_labels == 0) & within
    found = []
    for truth in truths:
        inside = lesion_labels == truth.label
        shell = _shell(inside, allowed, voxel_size, labels)
        if not inside.any() or not shell.any():
            continue  # smaller than a voxel, or without surroundings
        contrast, expected = (float(x[inside].mean() / x[shell].mean()) for x in (image, reference))
        hot_or_cold = truth.kind != "mri_only"
        found.append(
            Lesion(
                label=truth.label,
                kind=truth.kind,
                volume_ml=float(inside.sum() * np.prod(voxel_size) / 1000),
                true_contrast=truth.contrast,
                contrast=contrast,
                reference_contrast=expected,
                recovery=_recovery(contrast, truth.contrast) if hot_or_cold else nan,
                reference_recovery=_recovery(contrast, expected) if hot_or_cold else nan,
                leakage=nan if hot_or_cold else (contrast - expected) * float(np.sign(truth.mri_factor - 1)),
            )
        )
    return tuple(found)


def _recovery(contrast: float, expected: float) -> float:
    if not isfinite(expected) or abs(expected - 1) < SMALLEST_CONTRAST:
        return nan
    return (contrast - 1) / (expected - 1)


def _shell(
    inside: MaskArray, allowed: MaskArray, voxel_size: tuple[float, float, float], labels: LabelArray | None
) -> MaskArray:
    """The surroundings of a lesion; see the module."""
    if not inside.any():
        return inside
    distance = ndimage.distance_transform_edt(~inside, sampling=voxel_size)
    shell = allowed & (distance > SHELL_MM[0]) & (distance <= SHELL_MM[1])
    if labels is None:
        return shell
    touched = np.unique(labels[inside])
    same = shell & np.isin(labels, touched[touched > 0])
    return same if same.any() else shell
