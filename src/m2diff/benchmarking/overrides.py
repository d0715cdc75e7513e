"""What ``--set`` may say: one value of every preset alike; where one cohort serves both sides, also who is held out.

Who is held out is read from the overrides alone: no preset's file decides on whom the others are scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from m2diff.errors import BadInput
from m2diff.training.config import defaults

PEOPLE = ("data.held_out", "data.held_out_fraction")
SPLIT = (*PEOPLE, "train.seed")


@dataclass(frozen=True)
class HoldOut:
    """Who of one cohort is scored: the persons named, or else a share of all, drawn from a seed."""

    persons: tuple[str, ...]
    fraction: float
    seed: int


def hold_out(overrides: Sequence[str]) -> HoldOut:
    """What the overrides say of it, the usual where they say nothing."""
    preset = defaults([text for text in overrides if _key(text) in SPLIT], "--set")
    return HoldOut(preset.data.held_out, preset.data.held_out_fraction, preset.train.seed)


def check(overrides: Sequence[str], *, presets: bool, test: bool) -> None:
    """Refuse what nothing reads: who is held out beside a ``test`` cohort, and settings of no preset."""
    for text in overrides:
        key = _key(text)
        if key in ("data", "train"):
            raise BadInput(f"--set takes one value, as train.lr=0.001, got the whole section {text!r}; set its keys.")
        if test and key in PEOPLE:
            raise BadInput(
                f"With --test everybody in --data is trained on, but {key} is set; leave it out, or make --data "
                "without these people (m2diff simulate --without)."
            )
        if not presets and (test or key not in SPLIT):
            raise BadInput(f"No preset is trained, so that nothing reads --set {text}; leave it out, or ask for one.")


def _key(text: str) -> str:
    return text.partition("=")[0].strip()
