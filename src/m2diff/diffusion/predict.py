"""Between what a network predicts and what a chain needs: noise and the clean image, and a learned variance.

    clean = (x_t - sqrt(1 - abar_t) noise) / sqrt(abar_t)                    (Ho et al. 2020, equation 15)
    log variance_t = v log beta_t + (1 - v) log posterior_variance_t         (Nichol and Dhariwal 2021, equation 15)

with v, from 0 to 1, the network's second answer. The squared error of the noise that a clean estimate implies is the
estimate's own times abar_t / (1 - abar_t).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from m2diff.diffusion.schedule import Schedule
from m2diff.shapes import PerItem, TimeSteps


def clean_from_noise(x_t: Tensor, t: TimeSteps, noise: Tensor, schedule: Schedule) -> Tensor:
    """The clean image (b, ...) that ``noise`` implies in ``x_t`` at the steps ``t`` (b,)."""
    abar = _at(schedule.abar, t, x_t)
    return (x_t - (1.0 - abar).sqrt() * noise) / abar.sqrt()


def noise_from_clean(x_t: Tensor, t: TimeSteps, clean: Tensor, schedule: Schedule) -> Tensor:
    """The noise (b, ...) in ``x_t`` at the steps ``t`` (b,) if ``clean`` is what lies under it."""
    abar = _at(schedule.abar, t, x_t)
    return (x_t - abar.sqrt() * clean) / (1.0 - abar).sqrt()


def noise_weight(t: TimeSteps, schedule: Schedule, most: float | None = None) -> PerItem:
    """(b,) what makes the squared error of a clean estimate that of the noise which it implies at the steps ``t`` (b,).

    ``most``: the largest weight, since that of the first steps is thousands (Hang et al. 2023, arXiv 2303.09556).
    """
    abar = schedule.abar.to(t.device)[t]
    return (abar / (1.0 - abar)).clamp(max=math.inf if most is None else most).float()


def log_variance(share: Tensor, t: TimeSteps, schedule: Schedule) -> Tensor:
    """The log of the variance of a step, from its ``share`` v (b, ...) between the two bounds."""
    upper, lower = (_at(table, t, share) for table in _bounds(schedule))
    return share * upper + (1.0 - share) * lower


def variational_term(
    clean: Tensor, estimate: Tensor, share: Tensor, x_t: Tensor, t: TimeSteps, schedule: Schedule
) -> Tensor:
    """KL of the true step backwards from the learned one, in nats a voxel, (b, ...).

    The mean's estimate is detached by the caller, so that only the variance learns from it (Nichol and Dhariwal 2021,
    section 3.1). Note: at t = 0, where the paper takes a likelihood of 8-bit values, the same KL with the bounds of
    t = 1, since what we look at has no 8-bit values.
    """
    lower = _at(_bounds(schedule)[1], t, x_t)
    learned = log_variance(share, t, schedule)
    difference = _posterior_gain(t, x_t, schedule) * (clean - estimate)
    return 0.5 * (learned - lower + (lower - learned).exp() + difference**2 * (-learned).exp() - 1.0)


def _posterior_gain(t: TimeSteps, like: Tensor, schedule: Schedule) -> Tensor:
    """How much of the clean image enters the mean of the step backwards (Ho et al. 2020, equation 7)."""
    gain = schedule.abar_before.sqrt() * schedule.betas / (1.0 - schedule.abar)
    return _at(gain, t, like)


def _bounds(schedule: Schedule) -> tuple[Tensor, Tensor]:
    """(n,) logs of beta and of the posterior's variance, which at the first step is the second's."""
    posterior = schedule.posterior_variance
    if len(posterior) > 1:
        posterior = torch.cat([posterior[1:2], posterior[1:]])
    return schedule.betas.log(), posterior.clamp(min=1e-20).log()


def _at(table: Tensor, t: TimeSteps, like: Tensor) -> Tensor:
    """The table's values at the steps ``t`` (b,), to be multiplied with ``like`` (b, ...)."""
    return table.to(device=like.device, dtype=like.dtype)[t].reshape(-1, *[1] * (like.ndim - 1))
