"""What a family promises; training, enhancement and evaluation are written against these.

    Enhancer          answers a volume or a slab at once                 (the filters)
    Trainable         ... and has parameters and a loss                  (the regression network)
    DiffusionFamily   ... and answers for a noised image at any step     (the papers)

A paper may differ in its view, its network, its loss and its sampling options, and nowhere else.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeAlias, runtime_checkable

import torch
from torch import Tensor, nn

from m2diff.batch import Batch, Conditions, Estimate, Losses, Needs
from m2diff.diffusion import Denoised, Schedule, Watch, draw_noise, sample
from m2diff.errors import BadInput
from m2diff.families.config import SamplingConfig
from m2diff.nn import FitHead, PixelHead
from m2diff.nn.precision import Precision, autocast
from m2diff.shapes import Features, PerItem, Slab, Stack, TimeSteps


@runtime_checkable
class Enhancer(Protocol):
    """Whatever turns conditions into a clean scan."""

    @property
    def needs(self) -> Needs:
        """What it asks of the data."""
        ...

    def enhance(self, conditions: Conditions, *, generator: torch.Generator) -> Tensor:
        """The clean scan, of the shape of ``conditions.low``."""
        ...


class Trainable(nn.Module, ABC):
    """An enhancer that learns."""

    needs: Needs

    @abstractmethod
    def loss(self, batch: Batch, *, generator: torch.Generator) -> Losses:
        """Named, weighted loss terms of one batch, in one forward pass; all random numbers come from ``generator``."""

    @abstractmethod
    def enhance(self, conditions: Conditions, *, generator: torch.Generator) -> Tensor:
        """The clean scan, (b, s, h, w)."""


class DiffusionFamily(Trainable):
    """A trainable family that estimates the clean image from a noised one."""

    schedule: Schedule
    sampling: SamplingConfig

    @abstractmethod
    def forward(self, x_t: Slab, t: TimeSteps, conditions: Conditions) -> Estimate:
        """The clean image (b, s, h, w), from the noised one at the steps ``t`` (b,) and the conditions."""

    def enhance(self, conditions: Conditions, *, generator: torch.Generator, watch: Watch | None = None) -> Tensor:
        """One draw for these slabs with the family's sampling options; for whole volumes see ``m2diff.enhance``."""
        low = conditions.low

        def denoise(x_t: Tensor, t: int) -> Denoised:
            steps = torch.full((low.shape[0],), t, device=low.device)
            estimate = self(x_t, steps, conditions)
            return Denoised(estimate.clean, estimate.variance)

        return sample(
            denoise,
            self.schedule,
            draw_noise(low, generator=generator),
            noise_for_step=lambda _: draw_noise(low, generator=generator),
            first=low,
            watch=watch,
            **self.sampling.model_dump(),
        )


@dataclass(frozen=True)
class Answer:
    """A U-Net's clean slab (b, s, h, w), logits of its fit's classes, a first estimate, and a share (``Estimate``)."""

    clean: Slab
    classes: Tensor | None = None
    first: Slab | None = None
    variance: Slab | None = None


def head_answer(
    head: FitHead | PixelHead, features: Features, low: Slab, drf: PerItem | None, *, residual: bool
) -> Answer:
    """The answer of a U-Net's head: a fit of ``low``, or a plain image, which ``residual`` adds to it."""
    if isinstance(head, FitHead):
        return Answer(*head(features, low, drf))
    image: Slab = head(features)
    return Answer(low + image if residual else image)


def check_view(needs: Needs, conditions: Conditions) -> None:
    """Refuse slabs that the network cannot take: number of slices, size, an MRI of another shape."""
    low, mri = conditions.low, conditions.mri
    _, slices, *sizes = low.shape
    if slices != needs.slices:
        raise BadInput(f"this network reads slabs of {needs.slices} slices, got {slices}: cut the views to fit it.")
    if any(size % needs.multiple for size in sizes):
        raise BadInput(f"in-plane sizes must divide by {needs.multiple}, got {tuple(sizes)}: pad the slices first.")
    if mri is not None and mri.shape != low.shape:
        raise BadInput(f"the MRI must lie on the PET's slab {tuple(low.shape)}, got {tuple(mri.shape)}: resample it.")


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
