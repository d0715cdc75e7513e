"""What training draws: a step, a noise, and the noised image of that step."""

from __future__ import annotations

import torch
from torch import Tensor

from m2diff.diffusion.schedule import Schedule
from m2diff.shapes import TimeSteps


def draw_steps(count: int, schedule: Schedule, *, generator: torch.Generator, first_step_share: float = 0.0) -> Tensor:
    """Steps (count,) to train on: ``first_step_share`` of them at t = T - 1, where sampling starts, others uniform."""
    last = len(schedule) - 1
    steps = torch.randint(0, last + 1, (count,), generator=generator, device=generator.device)
    first = torch.rand(count, generator=generator, device=generator.device) < first_step_share
    return torch.where(first, torch.full_like(steps, last), steps)


def noised(clean: Tensor, t: TimeSteps, schedule: Schedule, *, generator: torch.Generator) -> Tensor:
    """``clean`` (b, ...) at the steps ``t`` (b,), with random noise."""
    return q_sample(clean, t, draw_noise(clean, generator=generator), schedule)


def draw_noise(like: Tensor, *, generator: torch.Generator) -> Tensor:
    """Standard normal noise of the shape, type and device of ``like``, drawn where the generator lives."""
    noise = torch.randn(like.shape, generator=generator, device=generator.device)
    return noise.to(device=like.device, dtype=like.dtype)


def q_sample(clean: Tensor, t: TimeSteps, noise: Tensor, schedule: Schedule) -> Tensor:
    """sqrt(abar_t) clean + sqrt(1 - abar_t) noise, (b, ...), at the steps ``t`` (b,) (Ho et al. 2020, equation 4)."""
    abar = schedule.abar.to(clean.device)[t].reshape(-1, *[1] * (clean.ndim - 1))
    return abar.sqrt().to(clean.dtype) * clean + (1.0 - abar).sqrt().to(clean.dtype) * noise
