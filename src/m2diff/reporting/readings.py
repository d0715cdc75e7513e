"""The words of an alignment in plain sentences: what each means and from which value it is good."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, isfinite

from m2diff.preparation.register import HANDED, LEAST_FOLDS, LEAST_OVERLAP, SURE_FOLDS

GOOD, LOOK, BAD, OPEN = "good", "look at it", "does not fit", "no limit"
_RANK = {OPEN: 0, GOOD: 1, LOOK: 2, BAD: 3}


@dataclass(frozen=True)
class Word:
    """One word of an alignment; ``good`` from this value, ``least``: below it the MRI is refused."""

    meaning: str
    how: str
    good: float
    least: float
    digits: int = 2


WORDS = {
    "folds": Word(
        "Whether the brain's folds lie in the same places in MRI and PET, which only one person's scans do.",
        f"About 1.5 and more for one person, 0.3 for two. Good from {SURE_FOLDS:g}; refused below {LEAST_FOLDS:g}.",
        SURE_FOLDS,
        LEAST_FOLDS,
    ),
    "handed": Word(
        "How many times better the MRI explains the PET's finest detail than its mirror image does; this tells left "
        "from right.",
        f"Good from {HANDED:g}. Near 1 the sides cannot be told apart; refused below {1 / HANDED:.2f}.",
        HANDED,
        1 / HANDED,
    ),
    "overlap": Word(
        "How much of the two heads' outlines coincides (Dice): 0 is apart, 1 is the same outline.",
        f"Good near 0.9 for two whole heads, about 0.5 where the MRI shows the brain alone; refused below "
        f"{LEAST_OVERLAP:g}.",
        LEAST_OVERLAP,
        LEAST_OVERLAP,
    ),
    "explained": Word(
        "The share of the PET's variation in the head that the MRI's grey values account for, from 0 to 1.",
        "It has no limit of its own, as noise lowers it: compare scans of like dose. Far below the others, look.",
        -inf,
        -inf,
    ),
}
"""In the order in which they are worth reading."""


@dataclass(frozen=True)
class Reading:
    """One word of a scan's alignment with its value and what to make of it."""

    word: str
    value: str
    verdict: str
    meaning: str
    how: str

    @property
    def rank(self) -> int:
        """How much the verdict asks to be looked at."""
        return _RANK[self.verdict]

    @property
    def doubtful(self) -> bool:
        """Whether somebody should look."""
        return self.rank >= _RANK[LOOK]


def readings(alignment: Mapping[str, object] | None) -> tuple[Reading, ...]:
    """The readings of an alignment as ``Alignment.to_json`` tells it; words that it lacks are left out."""
    found = []
    for name, word in WORDS.items():
        value = (alignment or {}).get(name)
        if isinstance(value, int | float) and isfinite(value):
            text = f"{value:.{word.digits}f}"
            found.append(Reading(name, text, verdict(name, float(value)), word.meaning, word.how))
    return tuple(found)


def verdict(name: str, value: float) -> str:
    """What to make of the value of one word."""
    word = WORDS[name]
    if word.good == -inf:
        return OPEN
    return GOOD if value >= word.good else LOOK if value >= word.least else BAD
