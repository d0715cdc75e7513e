"""Runs a model over a whole volume: the head's box in overlapping slabs, stitched before each sampling step.

Noise is drawn once for the working grid, so the image does not depend on the batch, the box or the order of slices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from tqdm import tqdm

from m2diff.batch import Conditions
from m2diff.data import views
from m2diff.data.slabs import Part, Slabs
from m2diff.diffusion import Watch
from m2diff.errors import BadInput
from m2diff.families import DiffusionFamily, Enhancer
from m2diff.families.base import run_chain
from m2diff.nn.precision import Precision
from m2diff.preparation import mask
from m2diff.preparation.pair import Prepared
from m2diff.shapes import Stack, VolumeArray

FADE = 4
"""Voxels around the head's box that the network sees and that fade into the input."""

WatchVolume: TypeAlias = Callable[[int, VolumeArray], None]
"""Told the step and the clean estimate there, normalised, on the working grid (i, j, k)."""


@dataclass(frozen=True)
class Options:
    """How a model is run. ``steps`` None takes the family's own number."""

    steps: int | None = None
    batch: int = 8
    """Slabs at once: memory and speed, not the image."""
    precision: Precision = "auto"
    device: str = "cpu"
    progress: bool = False


def run_volume(
    model: Enhancer,
    prepared: Prepared,
    *,
    seed: int,
    options: Options = Options(),
    first: VolumeArray | None = None,
    watch: WatchVolume | None = None,
) -> VolumeArray:
    """One draw of the clean scan, normalised, on the working grid (i, j, k).

    Outside the head's box the low-dose input stays; ``FADE`` voxels around it fade between them. ``first``: normalised
    estimate that a chain starts from (None: the low-dose scan). BadInput where the answer is not finite.
    """
    box = mask.box(prepared.support, FADE)
    if model.needs.view == "volume":
        estimate = _filtered(model, prepared, mask.box(np.ones_like(prepared.support)) if prepared.whole else box)
    else:
        seen: Watch | None = None if watch is None else lambda t, clean: watch(t, _whole(clean, prepared, box))
        begin = prepared.low if first is None else first
        answer = enhanced_box(model, prepared, box, options, seed=seed, first=begin, watch=seen)
        estimate = _whole(answer, prepared, box)
    if not np.isfinite(estimate).all():
        raise BadInput("The model answered NaN or infinity; try precision fp32, or other weights.")
    return estimate


def enhanced_box(
    model: Any,
    prepared: Prepared,
    box: tuple[slice, slice, slice],
    options: Options,
    *,
    seed: int,
    first: VolumeArray,
    watch: Watch | None = None,
) -> Stack:
    """The clean ``box`` (i, j, k) as a stack (d, h, w); ``first`` (i, j, k): the whole volume a chain starts from."""
    mri = None if prepared.mri is None or not model.needs.mri else views.to_stack(prepared.mri[box])
    slabs = Slabs.of(views.to_stack(prepared.low[box]), mri, model.needs, drf=prepared.drf, batch=options.batch)
    generator, place, whole = torch.Generator().manual_seed(seed), box[::-1], prepared.low.shape[::-1]

    def noise(_: int) -> Stack:
        return torch.randn(whole, generator=generator)[place]

    def bar(batches: Iterable[Part]) -> Iterable[Part]:
        return tqdm(batches, "enhance", len(slabs.batches), False, disable=not options.progress)

    with torch.inference_mode():
        return run_chain(
            model.to(options.device),
            lambda answer, x_t: slabs.stitched(answer, x_t, device=options.device, around=bar),
            noise,
            generator=generator,
            precision=options.precision,
            first=views.to_stack(first)[place],
            steps=options.steps,
            watch=watch,
        )


def _filtered(model: Enhancer, prepared: Prepared, box: tuple[slice, slice, slice]) -> VolumeArray:
    """A filter's answer in ``box``, at once; the low-dose input stays outside."""
    mri = None if prepared.mri is None or not model.needs.mri else views.to_stack(prepared.mri[box])[None]
    conditions = Conditions(views.to_stack(prepared.low[box])[None], mri, torch.tensor([prepared.drf]))
    answer = model.enhance(conditions, generator=torch.Generator())[0]
    return views.from_stack(answer) if prepared.whole else _whole(answer, prepared, box)


def _whole(answer: Stack, prepared: Prepared, box: tuple[slice, slice, slice]) -> VolumeArray:
    """The low-dose volume with the answer (d, h, w) in its box (i, j, k)."""
    volume = prepared.low.copy()
    volume[box] += _fade(box, volume.shape) * (views.from_stack(answer) - prepared.low[box])
    return volume


def _fade(box: tuple[slice, slice, slice], shape: tuple[int, ...]) -> VolumeArray:
    """1 inside the box, falling to 0 over ``FADE`` voxels at each face that is not the image's own end."""
    ramps = []
    for span, size in zip(box, shape, strict=True):
        ramp = np.ones(span.stop - span.start, dtype=np.float32)
        rise = (np.arange(FADE, dtype=np.float32) + 0.5) / FADE
        count = min(FADE, len(ramp))
        if span.start > 0:
            ramp[:count] *= rise[:count]
        if span.stop < size:
            ramp[len(ramp) - count :] *= rise[:count][::-1]
        ramps.append(ramp)
    return ramps[0][:, None, None] * ramps[1][None, :, None] * ramps[2][None, None, :]


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
