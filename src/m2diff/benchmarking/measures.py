"""The measures that are summed up over persons and compared between methods, and what is good of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from m2diff.benchmarking.methods import STANDARD, TRUTH
from m2diff.benchmarking.score import NONE

Goal = Literal["high", "low", "zero", "one"]


@dataclass(frozen=True)
class Measure:
    """One number a scan (or the mean over the lesions of some kinds), and how it is read."""

    against: str
    metric: str
    title: str
    goal: Goal
    digits: int = 2
    kinds: tuple[str, ...] = ()
    """Lesion kinds; none: of the whole brain."""

    @property
    def key(self) -> str:
        """Its name in the tables."""
        return self.metric if self.against == NONE else f"{self.metric} ({self.against})"

    def distance(self, value: float) -> float:
        """The number by which methods are compared: how far from the goal where that is a value, else the number."""
        return {"zero": abs(value), "one": abs(value - 1.0)}.get(self.goal, value)

    def better(self, difference: float) -> bool:
        """Whether a difference of distances (this - other) is in favour of this."""
        return difference > 0 if self.goal == "high" else difference < 0


QUALITY = (
    Measure(STANDARD, "psnr", "PSNR, dB", "high"),
    Measure(STANDARD, "ssim", "SSIM", "high", 3),
    Measure(STANDARD, "nrmse", "NRMSE", "low", 4),
    Measure(TRUTH, "psnr", "PSNR to the truth, dB", "high"),
    Measure(TRUTH, "ssim", "SSIM to the truth", "high", 3),
    Measure(TRUTH, "nrmse", "NRMSE to the truth", "low", 4),
    Measure(TRUTH, "dose_gain", "worth × its dose", "high", 1),
    Measure(TRUTH, "bias_percent", "bias, %", "zero"),
    Measure(STANDARD, "white_matter_cov_ratio", "texture / standard's", "one"),
    Measure(TRUTH, "roughness", "roughness along z", "low"),
    Measure(TRUTH, "flicker", "flicker along z", "low"),
)
REGIONAL = (
    Measure(TRUTH, "regional_error_percent", "mean regional error, %", "low"),
    Measure(TRUTH, "meta_roi_bias_percent", "meta-ROI SUVR bias, %", "zero"),
)
LESIONS = (
    Measure(TRUTH, "recovery", "recovery, hot", "one", 2, ("pet_hot",)),
    Measure(TRUTH, "recovery", "recovery, cold", "one", 2, ("pet_cold",)),
    Measure(TRUTH, "leakage", "leakage, MRI only", "zero", 3, ("mri_only",)),
)
SECONDS = Measure(NONE, "seconds", "seconds a brain", "low", 1)
ALL = (*QUALITY, *REGIONAL, *LESIONS, SECONDS)

COMPARED = (*(m for m in QUALITY if m.metric not in ("roughness", "nrmse")), *REGIONAL, *LESIONS)
"""What methods are tested on; NRMSE and PSNR tell the same, and roughness is told by flicker with less noise."""


MARKERS = (
    Measure(NONE, "meta_roi_spared_ratio", "meta-ROI over sensorimotor cortex", "low"),
    Measure(NONE, "meta_roi_suvr", "meta-ROI SUVR (over cerebellar grey matter)", "low"),
)
"""What tells patients from the healthy: FDG's uptake is lower in disease, an amyloid tracer's higher."""


def name(measure: Measure) -> str:
    """The measure's key with the lesions' kind, as one word for a table's column."""
    return f"{measure.metric}, {measure.kinds[0]}" if measure.kinds else measure.metric
