"""What every preset of a comparison may spend: the same number of optimiser steps, or the same time.

Settings that would make one preset's training unlike another's are set for all of them here: nobody is validated on
the way (a chain of many steps would spend its time on that), all persons of the cohort but those who are scored are
trained on, and under a time budget, whose number of steps nobody knows, the learning rate stays constant.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from m2diff.errors import BadInput
from m2diff.training.config import UNBOUNDED

_MINUTES = {"min": 1.0, "m": 1.0, "h": 60.0, "s": 1 / 60, "d": 1440.0}
EQUAL = ("train.validate_scans=0", "data.held_out_fraction=0")


@dataclass(frozen=True)
class Budget:
    """Steps or minutes; neither is each preset's own number of steps, which must then be one and the same."""

    steps: int | None = None
    minutes: float | None = None

    @classmethod
    def parse(cls, text: str | None) -> Budget:
        """From ``1500steps`` or ``20min`` (also h, s); BadInput for anything else."""
        if text is None:
            return cls()
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(steps?|min|m|h|s|d)?\s*", text)
        amount = float(match[1]) if match else 0.0
        unit = (match[2] or "") if match else ""
        if unit in _MINUTES and amount > 0:
            return cls(minutes=amount * _MINUTES[unit])
        if unit.startswith("step") and amount >= 1 and amount == int(amount):
            return cls(steps=int(amount))
        raise BadInput(f"A budget looks like 1500steps or 20min, got {text!r}; correct it.")

    @property
    def words(self) -> str:
        """The budget as the page and the table state it."""
        if self.minutes is not None:
            return f"{self.minutes:g} min of training each"
        return "the presets' own steps" if self.steps is None else f"{self.steps} steps each"

    def overrides(self) -> list[str]:
        """What it sets in every preset, before the user's own settings."""
        if self.minutes is not None:
            return [*EQUAL, f"train.steps={UNBOUNDED}", "train.schedule=constant", "train.cooldown=0"]
        return [*EQUAL] if self.steps is None else [*EQUAL, f"train.steps={self.steps}"]
