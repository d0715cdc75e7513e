"""Which step of a chain degrades a scan as much as a lower dose does: the borders of MAP-Diff's stretches.

    border(dose) = the t whose x_t / sqrt(abar_t) has (NMAE, 1 - SSIM) nearest to those of the scan at that dose

with x_t the noised standard scan, both measured against the standard scan inside the brain (MAP-Diff, arXiv
2603.02012). Note: x_t is brought back to the scan's own scale first, since a lower dose adds noise and takes no
activity away; the distance is the plain one of the two measures, averaged over the persons. Both are ours, the paper is
silent.

    borders.py CACHE      # CACHE: a cohort as `m2diff train` prepares it
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
import torch

from m2diff.data.cohort import PreparedSubject, open_cohort
from m2diff.diffusion import Schedule, draw_noise, q_sample
from m2diff.evaluation.metrics import score
from m2diff.shapes import MaskArray, VolumeArray

PROBES = 24
"""Steps at which the noised scan is measured; between them its measures are read off straight lines."""

Degradation: TypeAlias = npt.NDArray[np.float64]  # (2,) NMAE and 1 - SSIM


def borders(
    cache: Path | str, schedule: Schedule, doses: Sequence[float] | None = None, *, seed: int = 0
) -> dict[float, int]:
    """The border of every dose (or of ``doses``) that a prepared cohort holds, by dose reduction factor, ascending."""
    subjects = open_cohort(cache)
    wanted = sorted({dose for subject in subjects for dose in subject.doses} if doses is None else set(doses))
    return {dose: _border([s for s in subjects if dose in s.doses], dose, schedule, seed) for dose in wanted}


def _border(subjects: Sequence[PreparedSubject], dose: float, schedule: Schedule, seed: int) -> int:
    """The step whose noise is worth ``dose`` on average over ``subjects``."""
    steps = probes(schedule)
    real, curves = [], []
    for subject in subjects:
        brain = np.asarray(subject.mask) > 0
        standard = np.asarray(subject.standard, dtype=np.float32) * np.float32(subject.meta.ratio[dose])
        real.append(degradation(np.asarray(subject.low(dose), dtype=np.float32), standard, brain))
        curves.append([degradation(degraded(standard, t, schedule, seed), standard, brain) for t in steps])
    return nearest(np.mean(real, axis=0), np.mean(curves, axis=0), steps)


def probes(schedule: Schedule) -> list[int]:
    """Steps from the first to the last, denser where little noise is added."""
    return sorted({round(step) for step in np.geomspace(1, len(schedule), PROBES) - 1})


def degraded(standard: VolumeArray, t: int, schedule: Schedule, seed: int) -> VolumeArray:
    """``standard`` noised to step ``t`` and brought back to its scale."""
    clean = torch.from_numpy(standard)[None]
    noise = draw_noise(clean, generator=torch.Generator().manual_seed(seed))
    x_t = q_sample(clean, torch.tensor([t]), noise, schedule)[0]
    return np.asarray(x_t / float(schedule.abar[t]) ** 0.5, dtype=np.float32)


def degradation(image: VolumeArray, standard: VolumeArray, brain: MaskArray) -> Degradation:
    """NMAE and 1 - SSIM of ``image`` against ``standard`` inside ``brain``."""
    scores = score(image, standard, brain)
    return np.array([scores.nmae, 1.0 - scores.ssim])


def nearest(real: Degradation, curve: npt.NDArray[np.float64], steps: Sequence[int]) -> int:
    """The step at which the ``curve`` (steps, 2), straight between its points, passes nearest to ``real``."""
    every = np.arange(steps[-1] + 1)
    between = np.stack([np.interp(every, steps, measure) for measure in curve.T], axis=1)
    return int(np.argmin(np.linalg.norm(between - real, axis=1)))


if __name__ == "__main__":
    for drf, step in borders(sys.argv[1], Schedule.linear()).items():
        print(f"{drf:g}: {step}")
