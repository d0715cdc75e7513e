"""The noise schedule: how much of the clean image is left at each step.

    x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise,   abar_t = product of (1 - beta_s) for s <= t

(Ho et al. 2020, arXiv 2006.11239, equation 4). Everything is float64 on the CPU: a schedule is a table that is read,
not a part of the network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
from torch import Tensor

from m2diff.errors import BadInput

Spacing: TypeAlias = Literal["linspace", "trailing", "leading", "quadratic"]


@dataclass(frozen=True, eq=False)
class Schedule:
    """The betas of a chain and the original step that each of its steps stands for.

    ``betas``: (n,) float64. ``timesteps``: the n original steps (ascending) at which a network is asked; 0 ... T - 1
    for a full chain, fewer for a respaced one.
    """

    betas: Tensor
    timesteps: tuple[int, ...]

    @classmethod
    def linear(cls, steps: int = 1000, first: float = 1e-4, last: float = 0.02) -> Schedule:
        """The full chain with betas growing linearly from ``first`` to ``last`` (Ho et al. 2020, section 4)."""
        return cls(torch.linspace(first, last, steps, dtype=torch.float64), tuple(range(steps)))

    @classmethod
    def cosine(cls, steps: int = 1000, offset: float = 0.008, largest: float = 0.999) -> Schedule:
        """The full chain with abar falling as a squared cosine (Nichol and Dhariwal 2021, equation 17)."""
        at = (torch.arange(steps + 1, dtype=torch.float64) / steps + offset) / (1 + offset)
        abar = torch.cos(at * torch.pi / 2) ** 2
        return cls((1.0 - abar[1:] / abar[:-1]).clamp(max=largest), tuple(range(steps)))

    def __len__(self) -> int:
        return len(self.timesteps)

    @property
    def abar(self) -> Tensor:
        """(n,) share of the signal's variance that is left at each step."""
        return torch.cumprod(1.0 - self.betas, dim=0)

    @property
    def abar_before(self) -> Tensor:
        """(n,) the same one step nearer to the clean image; 1 at the first step."""
        return torch.cat([torch.ones(1, dtype=torch.float64), self.abar[:-1]])

    @property
    def posterior_variance(self) -> Tensor:
        """(n,) variance of x_{t-1} given x_t and x_0 (Ho et al. 2020, equation 7); 0 at the first step."""
        return self.betas * (1.0 - self.abar_before) / (1.0 - self.abar)

    def at(self, timesteps: Sequence[int]) -> Schedule:
        """The chain that visits only these steps: betas recomputed so that abar stays what it was there.

        Nichol and Dhariwal 2021, arXiv 2102.09672, equation 19.
        """
        kept = sorted(set(timesteps))
        if not kept or kept[0] < 0 or kept[-1] >= len(self):
            raise BadInput(f"steps of a chain lie in 0 ... {len(self) - 1}, got {list(timesteps)}: choose others.")
        abar = self.abar[torch.tensor(kept)]
        before = torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
        return Schedule(1.0 - abar / before, tuple(self.timesteps[k] for k in kept))

    def until(self, step: int) -> Schedule:
        """The chain's first ``step`` + 1 steps: what is left of it for an image noised to ``step``."""
        return self.at(range(step + 1))

    def respaced(self, steps: int, spacing: Spacing = "linspace") -> Schedule:
        """The same chain in ``steps`` steps.

        ``linspace`` runs from the first step to the last (5 of 1000: 0, 250, 500, 749, 999, as in the paper's release);
        ``trailing`` leaves out the clean end, where a network has nothing left to do (5 of 1000: 199, 399 ... 999);
        ``leading`` leaves out the noisy end (0, 200 ... 800); ``quadratic`` is dense at the clean end (0, 62, 250, 562,
        999; Song et al. 2021, section D.2). One step is always the last one.
        """
        total = len(self)
        if not 1 <= steps <= total:
            raise BadInput(f"the number of steps lies between 1 and {total}, got {steps}: choose one in that range.")
        if steps == 1:
            return self.at([total - 1])
        if spacing == "linspace":
            return self.at([round(k * (total - 1) / (steps - 1)) for k in range(steps)])
        if spacing == "quadratic":
            return self.at([max(round((total - 1) * (k / (steps - 1)) ** 2), k) for k in range(steps)])
        if spacing == "trailing":
            return self.at([round((k + 1) * total / steps) - 1 for k in range(steps)])
        return self.at([k * (total // steps) for k in range(steps)])
