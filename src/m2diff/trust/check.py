"""The checks of one answer: balanced by region, its uncertainty, and what the scan says that it does not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from m2diff.parcellation import atlas
from m2diff.preparation import mask
from m2diff.shapes import Affine, LabelArray, MaskArray, VolumeArray
from m2diff.trust import hidden, intervals
from m2diff.trust.balance import Balance, Partition, balance
from m2diff.trust.hidden import Hidden
from m2diff.trust.intervals import Calibration
from m2diff.trust.noise import Noise

NORMAL_90 = 1.6449


@dataclass(frozen=True, eq=False)
class Checked:
    """``answer``: balanced, (i, j, k) on the working grid, and what is worked out from it when it is asked for."""

    answer: VolumeArray
    hidden: Hidden
    brain: MaskArray
    noise: Noise
    noise_level: float
    told: Calibration | None
    low: VolumeArray
    head: MaskArray
    balance: Balance | None
    kinds: LabelArray

    @cached_property
    def sd(self) -> VolumeArray | None:
        """The standard deviation of each voxel; None without a calibration or a balance."""
        if self.told is None or self.balance is None:
            return None
        deviation = deviations(self.kinds, self.balance)
        seen = intervals.features(self.low, self.answer, self.noise, self.head, deviation)
        return voxel_sd(seen, self.head, self.kinds, self.noise_level, self.told)

    def regional(self, labels: LabelArray) -> dict[int, float]:
        """Half the width of each region's 90 % interval as a share of its mean; ``labels`` on the working grid."""
        if self.told is None or self.balance is None:
            return {}
        terms = intervals.regional_terms(labels, self.low - self.answer, self.answer, self.head, self.balance)
        kinds = {number: self.kind_of(labels == number) for number in terms.numbers}
        sd = intervals.regional_sd(terms, kinds, self.told)
        return {
            number: self.told.factor("region", kinds[number], self.noise_level) * float(each) / max(float(level), 1e-9)
            for number, each, level in zip(terms.numbers, sd, terms.levels, strict=True)
            if kinds[number] in self.told.region
        }

    def kind_of(self, place: MaskArray) -> str:
        """The kind of tissue that most of a region is."""
        counts = np.bincount(self.kinds[place], minlength=len(intervals.KINDS) + 1)[1:]
        return intervals.KINDS[int(counts.argmax())]


def check(
    low: VolumeArray,
    answer: VolumeArray,
    head: MaskArray,
    affine: Affine,
    fine: LabelArray | None,
    told: Calibration | None,
    *,
    balanced: bool = True,
) -> Checked:
    """Balance an ``answer`` to the scan ``low``, both normalised, and say how far it can be trusted.

    All (i, j, k) on the working grid of ``affine``. ``fine``: fine numbers of the regions, None where none were found:
    then nothing is balanced. ``told``: without it there is no standard deviation.
    """
    found = None if fine is None or not balanced else balance(low, answer, partition(fine), head)
    final = answer if found is None else answer + found.correction
    brain = rough_brain(low) if fine is None else (fine >= 2) & head
    kinds = kinds_of(fine) if fine is not None else brain.astype(np.int16)
    noise = Noise.of(np.where(head, low - final, 0.0).astype(np.float32), brain)
    level = intervals.noise_level(noise, brain)
    margin = 1.0 if told is None else told.margin(level)
    looked = hidden.look(low, final, brain, noise, affine, margin=margin)
    return Checked(final, looked, brain, noise, level, told, low, head, found, kinds)


def voxel_sd(
    features: intervals.Features, head: MaskArray, kinds: LabelArray, level: float, told: Calibration
) -> VolumeArray:
    """The standard deviation of each voxel of the head: 1.645 times it is half of a 90 % interval."""
    sd = np.zeros(head.shape, dtype=np.float32)
    sd[head] = np.exp(told.log_sd(features))
    factors = [told.factor("voxel", kind, level) for kind in intervals.KINDS]
    by_kind = np.array([factors[-1], *factors], dtype=np.float32)  # outside the brain as in fluid
    return np.asarray(sd * by_kind[kinds] / np.float32(NORMAL_90))


def deviations(kinds: LabelArray, found: Balance) -> VolumeArray:
    """How far the regions of each voxel's kind deviated before the balance; outside the brain as in fluid."""
    known = [found.deviation.get(kind, min(found.deviation.values())) for kind in intervals.KINDS]
    return np.array([known[-1], *known], dtype=np.float32)[kinds]


def partition(fine: LabelArray) -> Partition:
    """The balance's regions from fine numbers."""
    numbers = range(2, 2 * len(atlas.classes()))
    kind = {n: atlas.kind(atlas.classes()[n // 2].group) for n in numbers}
    pair = {n: n ^ 1 if atlas.classes()[n // 2].sided else n for n in numbers}
    return Partition(np.where(fine >= 2, fine, 0), kind, pair)


def kinds_of(fine: LabelArray) -> LabelArray:
    """The place of each voxel's kind in ``intervals.KINDS``, from 1; 0 outside."""
    table = [0, 0] + [
        1 + intervals.KINDS.index(atlas.kind(each.group)) for each in atlas.classes()[1:] for _ in range(2)
    ]
    return np.array(table, dtype=np.int16)[fine]


def rough_brain(low: VolumeArray) -> MaskArray:
    """The brain as the PET shows it, where no regions were found."""
    calm = mask.calmed(low)
    return mask.largest_piece(mask.brain(calm, mask.uptake_level(calm)))


def hiding(found: Hidden) -> str:
    """One sentence: what size and contrast could hide in this scan."""
    parts = [f"{size:g} mm below {100 * share:.0f} %" for size, share in typical(found).items()]
    return (
        f"A hot or cold lesion could hide in this scan: one of {', of '.join(parts[:-1])} and of {parts[-1]} contrast "
        "to its surroundings, at the brain's median (80 % power, 5 % false alarms, 6 mm resolution)."
    )


def typical(found: Hidden) -> dict[float, float]:
    """The median limit over the brain, by size."""
    return {size: float(np.nanmedian(image)) for size, image in found.limit.items()}


def by_size(limit: Mapping[float, npt.NDArray[np.float32]]) -> dict[str, npt.NDArray[np.float32]]:
    """Limits by the name that files and reports use."""
    return {f"{size:g} mm": image for size, image in limit.items()}
