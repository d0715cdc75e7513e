"""Which low doses a person of a cohort gets."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

import numpy as np

from m2diff.errors import BadInput
from m2diff.io import bids


@dataclass(frozen=True)
class DosePlan:
    """The low doses of a person: ``factors``, or ``draws`` whole numbers between two limits, log-uniform.

    Equal draws merge: a person may get fewer. BadInput for factors of over six digits (``bids.rec``), too many draws.
    """

    factors: tuple[float, ...]
    draws: int = 0

    def __post_init__(self) -> None:
        last = 1e6 if self.draws else math.inf  # seven digits and more
        lost = [factor for factor in self.factors if bids.drf_of(bids.rec(factor)) != factor or factor >= last]
        if lost:
            raise BadInput(
                f"--drf expects factors of at most six digits, which the names of files can carry, got "
                f"{', '.join(map(repr, lost))}; round them."
            )
        if self.draws:
            low, high = self.factors
            there = math.floor(high) - math.ceil(low) + 1
            if there < self.draws:
                raise BadInput(
                    f"--drf expects a range of at least as many whole factors as it draws, got {low:g}-{high:g}:"
                    f"{self.draws}, which holds {there}; widen the range or list the factors."
                )

    @classmethod
    def parse(cls, text: str) -> DosePlan:
        """``4,10,20`` lists doses; ``4-100:3`` draws three whole ones between 4 and 100 for each person."""
        drawn = re.fullmatch(r"(\d+)-(\d+):(\d+)", text.strip())
        draws = int(drawn[3]) if drawn else 0
        try:
            factors = [float(part) for part in (drawn.groups()[:2] if drawn else text.split(","))]
        except ValueError:
            factors = []
        sound = bool(factors) and all(1 < factor < math.inf for factor in factors)
        if not sound or (drawn and (factors[0] >= factors[1] or draws < 1)):
            raise BadInput(f"--drf expects factors above 1 such as 4,10,20 or a range such as 4-100:3, got {text!r}.")
        return cls(tuple(sorted(set(factors))), draws)

    def draw(self, rng: np.random.Generator) -> list[float]:
        """The doses of one person, ascending."""
        if not self.draws:
            return list(self.factors)
        low, high = np.log(self.factors[0]), np.log(self.factors[1])
        return sorted({float(round(f)) for f in np.exp(rng.uniform(low, high, self.draws))})
