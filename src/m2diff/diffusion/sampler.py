"""Sampling from noise to an image: ancestral, DDIM and the single step in one loop.

With the clean estimate x0 and the noise that it implies, eps = (x_t - sqrt(abar_t) x0) / sqrt(1 - abar_t),

    x_s = sqrt(abar_s) x0 + sqrt(1 - abar_s - sigma^2) eps + spread z,
    sigma = eta sqrt((1 - abar_s) / (1 - abar_t)) sqrt(1 - abar_t / abar_s)

(Song et al. 2021, arXiv 2010.02502, equations 12 and 16). eta = 0 is DDIM; eta = 1 is ancestral DDPM sampling, with
``spread`` sigma ("small": the posterior's) or sqrt(beta) ("large"), Ho et al. 2020, section 3.2. The last step returns
x0 without noise. A learned variance comes as ``Denoised.share`` (``predict``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from torch import Tensor

from m2diff.diffusion.schedule import Schedule, Spacing
from m2diff.errors import BadInput

Denoise: TypeAlias = "Callable[[Tensor, int], Tensor | Denoised]"  # (x_t, t) -> clean estimate of the same shape
NoiseForStep: TypeAlias = Callable[[int], Tensor]  # number of the step, 1 ... steps - 1 -> noise like x_t
Watch: TypeAlias = Callable[[int, Tensor], None]  # (t, clean estimate there), from the noisy end on
Variance: TypeAlias = Literal["small", "large", "learned"]


@dataclass(frozen=True)
class Denoised:
    """A clean estimate and where the step's log variance lies between its bounds, both shaped like x_t."""

    clean: Tensor
    share: Tensor | None = None


def sample(
    denoise: Denoise,
    schedule: Schedule,
    noise: Tensor,
    *,
    steps: int,
    eta: float = 0.0,
    variance: Variance = "small",
    spacing: Spacing = "linspace",
    noise_for_step: NoiseForStep | None = None,
    clip: float | None = None,
    stochastic_every: int = 0,
    start: int | None = None,
    first: Tensor | None = None,
    watch: Watch | None = None,
) -> Tensor:
    """Carry ``noise``, of any shape, to a clean image in ``steps`` calls of ``denoise``; one step answers at t = T - 1.

    ``noise_for_step(k)``: noise of the k-th step, 1 ... ``steps`` - 1, needed where eta > 0. ``clip``: limits estimates
    to [-clip, clip]. ``stochastic_every``: every so many steps are ancestral, whatever ``eta`` (0: none). ``start``,
    ``first``: begin at this step from this estimate, noised. ``watch`` sees every clean estimate, the last one too.
    """
    if variance == "large" and eta != 1.0:
        raise BadInput(f"the large variance belongs to ancestral sampling (eta = 1), got eta = {eta}: use 'small'.")
    if (eta > 0.0 or stochastic_every) and steps > 1 and noise_for_step is None:
        raise BadInput(f"eta = {eta} adds noise at each step: pass noise_for_step, or eta = 0.")
    chain, x = schedule.respaced(steps, spacing), noise
    if start is not None:
        if first is None:
            raise BadInput(f"a chain that starts at step {start} needs a first estimate: pass first, or start = None.")
        chain = schedule.until(start).respaced(steps, spacing)
        abar = float(chain.abar[-1])
        x = math.sqrt(abar) * first + math.sqrt(1.0 - abar) * noise
    for number, index in enumerate(reversed(range(len(chain))), start=1):
        answer = denoise(x, chain.timesteps[index])
        clean, share = (answer.clean, answer.share) if isinstance(answer, Denoised) else (answer, None)
        if clip is not None:
            clean = clean.clamp(-clip, clip)
        if watch is not None:
            watch(chain.timesteps[index], clean)
        if index == 0:
            return clean
        ancestral = bool(stochastic_every) and number % stochastic_every == 0
        x, spread = _towards_clean(chain, index, x, clean, 1.0 if ancestral else eta, variance)
        if spread > 0.0 and noise_for_step is not None:
            learned = variance == "learned" and share is not None
            x = x + (_learned_spread(chain, index, share) if learned else spread) * noise_for_step(number)
    return x


def _learned_spread(chain: Schedule, index: int, share: Tensor | None) -> Tensor:
    """The standard deviation of a step, log-linear between the posterior's and sqrt(beta)."""
    if share is None:
        raise ValueError("a learned variance needs its share")
    low, high = math.log(float(chain.posterior_variance[index])), math.log(float(chain.betas[index]))
    return (0.5 * (share * high + (1.0 - share) * low)).exp()


def _towards_clean(
    chain: Schedule, index: int, x: Tensor, clean: Tensor, eta: float, variance: Variance
) -> tuple[Tensor, float]:
    """The mean of the next x, and the standard deviation of the noise to add."""
    abar, before = float(chain.abar[index]), float(chain.abar_before[index])
    sigma = eta * math.sqrt(float(chain.posterior_variance[index]))
    implied_noise = (x - math.sqrt(abar) * clean) / math.sqrt(1.0 - abar)
    mean = math.sqrt(before) * clean + math.sqrt(max(1.0 - before - sigma**2, 0.0)) * implied_noise
    return mean, math.sqrt(float(chain.betas[index])) if variance == "large" else sigma
