"""The weight of the clean image's error, and a learned variance.

    log variance_t = v log beta_t + (1 - v) log posterior_variance_t         (Nichol and Dhariwal 2021, equation 15)

with v (0 to 1) the network's second answer. The squared error of the noise is the clean's times abar_t / (1 - abar_t).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from m2diff.diffusion.schedule import Schedule
from m2diff.shapes import PerItem, TimeSteps


def noise_weight(t: TimeSteps, schedule: Schedule, most: float | None = None) -> PerItem:
    """(b,) factors from the clean's squared error to the noise's; thousands early, so at most ``most`` (2303.09556)."""
    abar = schedule.abar.to(t.device)[t]
    return (abar / (1.0 - abar)).clamp(max=math.inf if most is None else most).float()


def log_variance(share: Tensor, t: TimeSteps, schedule: Schedule) -> Tensor:
    """The log variance of a step, from its ``share`` v (b, ...) between the two bounds."""
    upper, lower = (_at(table, t, share) for table in _bounds(schedule))
    return share * upper + (1.0 - share) * lower


def variational_term(
    clean: Tensor, estimate: Tensor, share: Tensor, x_t: Tensor, t: TimeSteps, schedule: Schedule
) -> Tensor:
    """KL of the true step backwards from the learned one, nats a voxel, (b, ...); the caller detaches ``estimate``.

    Nichol and Dhariwal 2021, section 3.1. At t = 0 this takes the bounds of t = 1, not a likelihood of 8-bit values.
    """
    lower = _at(_bounds(schedule)[1], t, x_t)
    learned = log_variance(share, t, schedule)
    difference = _posterior_gain(t, x_t, schedule) * (clean - estimate)
    return 0.5 * (learned - lower + (lower - learned).exp() + difference**2 * (-learned).exp() - 1.0)


def _posterior_gain(t: TimeSteps, like: Tensor, schedule: Schedule) -> Tensor:
    """Weight of the clean image in the mean of the step backwards (Ho et al. 2020, equation 7)."""
    gain = schedule.abar_before.sqrt() * schedule.betas / (1.0 - schedule.abar)
    return _at(gain, t, like)


def _bounds(schedule: Schedule) -> tuple[Tensor, Tensor]:
    """(n,) logs of beta and of the posterior variance; the latter's first value, log 0, is replaced by the second."""
    posterior = schedule.posterior_variance
    if len(posterior) > 1:
        posterior = torch.cat([posterior[1:2], posterior[1:]])
    return schedule.betas.log(), posterior.clamp(min=1e-20).log()


def _at(table: Tensor, t: TimeSteps, like: Tensor) -> Tensor:
    """The table's values at the steps ``t`` (b,), to be multiplied with ``like`` (b, ...)."""
    return table.to(device=like.device, dtype=like.dtype)[t].reshape(-1, *[1] * (like.ndim - 1))
