"""Tune the filters on training persons: the best parameters at each dose, as src/m2diff/presets/filters.yaml.

    python reproduce/base/tune_filters.py TUNING_COHORT

Cut to the brain's box (and, for non-local means, to 24 slices of it) so that a search takes minutes.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from m2diff.data.cohort import PreparedSubject, open_cohort, prepare_cohort
from m2diff.families.filters import Bowsher, Gaussian, MRGuided, NonLocalMeans, TuningCase, tune, tuning_table
from m2diff.training.scans import CACHE

DOSES = (4.0, 10.0, 20.0, 50.0, 100.0)
GRIDS: dict[type, dict[str, list]] = {
    Gaussian: {"fwhm_mm": [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0]},
    MRGuided: {"radius": [1, 2, 3], "eps": [0.01, 0.05, 0.2, 0.8, 3.2]},
    Bowsher: {"k": [8, 16, 24, 28], "radius": [2.0], "passes": [1, 2, 3, 4]},
    NonLocalMeans: {"h": [0.02, 0.05, 0.15, 0.3, 0.6, 0.9]},
}


def case(subject: PreparedSubject, drf: float, slices: int | None) -> TuningCase:
    """One scan of a training person, cut to the brain's box with a margin."""
    low, high = subject.meta.brain.low, subject.meta.brain.high
    box = [slice(max(a - 6, 0), b + 6) for a, b in zip(low, high, strict=True)]
    if slices is not None:
        middle = (low[0] + high[0]) // 2
        box[0] = slice(middle - slices // 2, middle + slices // 2)

    def read(stack: np.ndarray, factor: float = 1.0) -> torch.Tensor:
        return torch.from_numpy(np.asarray(stack[tuple(box)], dtype=np.float32) * factor)

    mask = torch.from_numpy(np.ascontiguousarray(subject.mask[tuple(box)]))
    return TuningCase(read(subject.low(drf)), read(subject.mri), read(subject.standard, subject.meta.ratio[drf]), mask)


def main(root: Path) -> None:
    """Search every grid at every dose; print the table, and what each search found to stderr."""
    subjects = open_cohort(prepare_cohort(root, root / CACHE))
    found = {}
    for drf in DOSES:
        found[drf] = []
        for kind, grid in GRIDS.items():
            slices = 24 if kind is NonLocalMeans else None
            best = tune(kind, [case(subject, drf, slices) for subject in subjects], grid)
            found[drf].append(best)
            sys.stderr.write(f"DRF {drf:g} {best.name} {best.parameters} NRMSE {best.nrmse:.4f}\n")
    sys.stdout.write("# Tuned on training persons by reproduce/base/tune_filters.py; nearest on a log scale.\n")
    sys.stdout.write(tuning_table(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
