"""The noise schedule, a float64 table on the CPU.

x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) noise,   abar_t = product of (1 - beta_s) for s <= t

(Ho et al. 2020, arXiv 2006.11239, equation 4).
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
    """Betas (n,), float64, and the original ``timesteps``, ascending: 0 ... T - 1, or fewer of a respaced chain."""

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
        """(n,) ``abar`` one step nearer to the clean image; 1 at the first step."""
        return torch.cat([torch.ones(1, dtype=torch.float64), self.abar[:-1]])

    @property
    def posterior_variance(self) -> Tensor:
        """(n,) variance of x_{t-1} given x_t and x_0 (Ho et al. 2020, equation 7); 0 at the first step."""
        return self.betas * (1.0 - self.abar_before) / (1.0 - self.abar)

    def at(self, timesteps: Sequence[int]) -> Schedule:
        """The chain of these steps alone; its betas keep abar (Nichol and Dhariwal 2021, 2102.09672, equation 19)."""
        kept = sorted(set(timesteps))
        if not kept or kept[0] < 0 or kept[-1] >= len(self):
            raise BadInput(f"steps of a chain lie in 0 ... {len(self) - 1}, got {list(timesteps)}: choose others.")
        abar = self.abar[torch.tensor(kept)]
        before = torch.cat([torch.ones(1, dtype=torch.float64), abar[:-1]])
        return Schedule(1.0 - abar / before, tuple(self.timesteps[k] for k in kept))

    def until(self, step: int) -> Schedule:
        """The chain's first ``step`` + 1 steps."""
        return self.at(range(step + 1))

    def respaced(self, steps: int, spacing: Spacing = "linspace") -> Schedule:
        """The chain in ``steps`` steps; a single one is the last.

        Five of 1000 by ``linspace``: 0, 250, 500, 749, 999, as in the paper's release; by ``trailing``, without the
        clean end: 199, 399 ... 999; by ``leading``, without the noisy end: 0, 200 ... 800; by ``quadratic``, dense at
        the clean end: 0, 62, 250, 562, 999 (Song et al. 2021, section D.2).
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
