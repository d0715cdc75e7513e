"""Tune the filters on training persons: the best parameters at each dose, as src/m2diff/presets/filters.yaml.

    python reproduce/base/tune_filters.py TUNING_COHORT

Cut to the brain's box (and, for non-local means, to 24 slices of it) so that a search takes minutes.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
import yaml
from torch import Tensor

from m2diff.batch import Conditions
from m2diff.data.cohort import PreparedSubject, open_cohort, prepare_cohort
from m2diff.errors import BadInput
from m2diff.families.filters import FILTERS, Bowsher, Filter, Gaussian, MRGuided, NonLocalMeans
from m2diff.shapes import Stack
from m2diff.training.scans import CACHE

DOSES = (4.0, 10.0, 20.0, 50.0, 100.0)
GRIDS: dict[type, dict[str, list]] = {
    Gaussian: {"fwhm_mm": [2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0]},
    MRGuided: {"radius": [1, 2, 3], "eps": [0.01, 0.05, 0.2, 0.8, 3.2]},
    Bowsher: {"k": [8, 16, 24, 28], "radius": [2.0], "passes": [1, 2, 3, 4]},
    NonLocalMeans: {"h": [0.02, 0.05, 0.15, 0.3, 0.6, 0.9]},
}


@dataclass(frozen=True)
class TuningCase:
    """One training scan to tune on, each (d, h, w): input, MRI, what it should be in the same scale, brain mask."""

    low: Stack
    mri: Stack | None
    reference: Stack
    mask: Tensor


@dataclass(frozen=True)
class Tuning:
    """What a search found: the filter's name, the best parameters, their mean NRMSE, and everything that was tried."""

    name: str
    parameters: dict[str, float]
    nrmse: float
    tried: tuple[tuple[dict[str, float], float], ...]


def tune(kind: type[Filter], cases: Iterable[TuningCase], grid: Mapping[str, Sequence[float]]) -> Tuning:
    """The parameters of ``grid`` (field -> values, every combination) with the lowest NRMSE, averaged over ``cases``.

    NRMSE as in ``evaluation.metrics``: root of mean squared error over root of mean squared reference, in the mask.
    """
    cases = list(cases)
    if not cases:
        raise BadInput("Tuning a filter needs at least one training scan, got none.")
    tried = []
    for values in product(*grid.values()):
        parameters = dict(zip(grid, values, strict=True))
        chosen = kind(**parameters)
        tried.append((parameters, float(np.mean([_nrmse(chosen, case) for case in cases]))))
    parameters, error = min(tried, key=lambda pair: pair[1])
    return Tuning(kind.name, parameters, error, tuple(tried))


def tuning_table(tunings: Mapping[float, Iterable[Tuning]]) -> str:
    """The text of ``presets/filters.yaml`` from searches by dose reduction factor."""
    table: dict[str, dict[float, dict[str, float]]] = {}
    for drf, results in sorted(tunings.items()):
        for result in results:
            whole = asdict(FILTERS[result.name](**result.parameters))  # type: ignore[call-overload]
            table.setdefault(result.name, {})[drf] = whole
    return yaml.safe_dump(table, sort_keys=True)


def _nrmse(chosen: Filter, case: TuningCase) -> float:
    conditions = Conditions(case.low[None], None if case.mri is None else case.mri[None])
    inside = case.mask.bool()
    error = (chosen.enhance(conditions)[0] - case.reference)[inside].double()
    return float((error.square().mean() / case.reference[inside].double().square().mean()).sqrt())


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
