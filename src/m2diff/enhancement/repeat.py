"""Several draws of one scan: their mean and their standard deviation, which is not calibrated (docs/model.md)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2diff.enhancement.volume import Options, run_volume
from m2diff.families import DiffusionFamily, Enhancer
from m2diff.preparation.pair import Prepared
from m2diff.shapes import VolumeArray


@dataclass(frozen=True, eq=False)
class Draws:
    """Mean and standard deviation (None for a single draw), normalised, on the working grid."""

    mean: VolumeArray
    spread: VolumeArray | None


def repeat(
    model: Enhancer,
    prepared: Prepared,
    *,
    samples: int,
    seed: int,
    options: Options = Options(),
    first: VolumeArray | None = None,
) -> Draws:
    """Mean and spread of ``samples`` draws, one where nothing is random; draw n depends on ``seed`` and n alone."""
    count = samples if isinstance(model, DiffusionFamily) else 1
    mean = np.zeros(prepared.low.shape, dtype=np.float64)
    squares = np.zeros_like(mean)  # Welford's sums: no cancellation however small the spread
    for n in range(count):
        draw = run_volume(model, prepared, seed=seed_of(seed, n), options=options, first=first)
        difference = draw - mean
        mean += difference / (n + 1)
        squares += difference * (draw - mean)
    spread = np.sqrt(squares / (count - 1)).astype(np.float32) if count > 1 else None
    return Draws(mean.astype(np.float32), spread)


def seed_of(seed: int, draw: int) -> int:
    """The seed of one draw, unrelated to those of its neighbours."""
    return int(np.random.SeedSequence([seed, draw]).generate_state(1, np.uint64)[0] >> np.uint64(1))
