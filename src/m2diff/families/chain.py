"""Runs a family over a whole stack: one noise, and slabs stitched at every step, so that no seams show."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch

from m2diff.batch import Conditions
from m2diff.diffusion import Denoised, Watch, sample
from m2diff.families.base import DiffusionFamily, Enhancer
from m2diff.nn.precision import Precision, autocast
from m2diff.shapes import Slab, Stack

_Answering: TypeAlias = Callable[[Conditions, Slab | None], tuple[Slab, ...]]
Stitched: TypeAlias = Callable[[_Answering, Stack | None], tuple[Stack, ...]]
"""Asks for the answers to all slabs, with their parts of a noised stack where given; returns whole stacks."""


def run_chain(
    model: Enhancer,
    stitched: Stitched,
    noise: Callable[[int], Stack],
    *,
    generator: torch.Generator,
    precision: Precision = "auto",
    first: Stack | None = None,
    steps: int | None = None,
    watch: Watch | None = None,
) -> Stack:
    """The clean stack (d, h, w), at once or by a chain of ``steps`` (None: the family's own), begun at ``first``.

    ``noise(k)``: of step k, 0 at the start. ``watch`` sees the estimates. ``generator``: for models without a chain.
    """
    if not isinstance(model, DiffusionFamily):

        def at_once(conditions: Conditions, _: Slab | None) -> tuple[Slab, ...]:
            with autocast(conditions.low.device, precision):
                return (model.enhance(conditions, generator=generator),)

        return stitched(at_once, None)[0]

    def denoise(x_t: Stack, t: int) -> Denoised:
        def answer(conditions: Conditions, x: Slab | None) -> tuple[Slab, ...]:
            assert x is not None
            with autocast(x.device, precision):
                estimate = model(x, torch.full((len(x),), t, device=x.device), conditions)
            return (estimate.clean,) if estimate.variance is None else (estimate.clean, estimate.variance)

        return Denoised(*stitched(answer, x_t))

    sampling = model.sampling.model_dump() | ({} if steps is None else {"steps": steps})
    return sample(denoise, model.schedule, noise(0), noise_for_step=noise, first=first, watch=watch, **sampling)
