"""From noise to an image: one loop for ancestral sampling, DDIM and the single step.

With the clean estimate x0 and the noise that it implies, eps = (x_t - sqrt(abar_t) x0) / sqrt(1 - abar_t),

    x_s = sqrt(abar_s) x0 + sqrt(1 - abar_s - sigma^2) eps + spread z,
    sigma = eta sqrt((1 - abar_s) / (1 - abar_t)) sqrt(1 - abar_t / abar_s)

(Song et al. 2021, arXiv 2010.02502, equations 12 and 16). eta = 0 is DDIM. eta = 1 is ancestral DDPM sampling; its
``spread`` is sigma ("small" variance: the posterior's) or sqrt(beta) ("large"), Ho et al. 2020, section 3.2.
At the last step abar_s = 1 and x_s = x0: the estimate itself is returned, and no noise.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal, TypeAlias

from torch import Tensor

from m2diff.diffusion.schedule import Schedule, Spacing
from m2diff.errors import BadInput

Denoise: TypeAlias = Callable[[Tensor, int], Tensor]  # (x_t, t) -> clean estimate of the same shape
NoiseForStep: TypeAlias = Callable[[int], Tensor]  # number of the step, 1 ... steps - 1 -> noise like x_t
Variance: TypeAlias = Literal["small", "large"]


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
) -> Tensor:
    """Carry ``noise`` to a clean image in ``steps`` calls of ``denoise``.

    Any shape: an item, a batch or a whole volume; ``denoise`` cuts it as it likes. ``noise_for_step(k)`` gives the
    noise of the k-th step (k = 1 is the first) and is needed only where eta > 0; no noise is asked for at the last
    step. ``clip``: estimates are limited to [-clip, clip]. One step returns the estimate at t = T - 1.
    """
    if variance == "large" and eta != 1.0:
        raise BadInput(f"the large variance belongs to ancestral sampling (eta = 1), got eta = {eta}: use 'small'.")
    if eta > 0.0 and steps > 1 and noise_for_step is None:
        raise BadInput(f"eta = {eta} adds noise at each step: pass noise_for_step, or eta = 0.")
    chain = schedule.respaced(steps, spacing)
    x = noise
    for number, index in enumerate(reversed(range(len(chain))), start=1):
        clean = denoise(x, chain.timesteps[index])
        if clip is not None:
            clean = clean.clamp(-clip, clip)
        if index == 0:
            return clean
        x, spread = _towards_clean(chain, index, x, clean, eta, variance)
        if spread > 0.0 and noise_for_step is not None:
            x = x + spread * noise_for_step(number)
    return x


def _towards_clean(
    chain: Schedule, index: int, x: Tensor, clean: Tensor, eta: float, variance: Variance
) -> tuple[Tensor, float]:
    """The mean of the next x and the standard deviation of the noise that belongs on it."""
    abar, before = float(chain.abar[index]), float(chain.abar_before[index])
    sigma = eta * math.sqrt(float(chain.posterior_variance[index]))
    implied_noise = (x - math.sqrt(abar) * clean) / math.sqrt(1.0 - abar)
    mean = math.sqrt(before) * clean + math.sqrt(max(1.0 - before - sigma**2, 0.0)) * implied_noise
    return mean, math.sqrt(float(chain.betas[index])) if variance == "large" else sigma
