"""Nobody who is scored was trained on: by the cards of all weights, of the runs before, and of first estimates."""

from __future__ import annotations

from collections.abc import Sequence

from m2diff.benchmarking.methods import Method, label
from m2diff.benchmarking.people import Sides
from m2diff.benchmarking.plan import Entry
from m2diff.benchmarking.score import loaded
from m2diff.benchmarking.training import Terms
from m2diff.data.splits import in_both
from m2diff.enhancement.run import FIRST
from m2diff.errors import BadInput
from m2diff.families import resolve, stored


def check_beforehand(chosen: Sequence[Method], terms: Terms) -> None:
    """Refuse, before anything is trained, weights that are given and first estimates that no run here will replace."""
    given = {method.name: loaded(method.source).card for method in chosen if method.kind == "weights"}
    for name, card in given.items():
        _refuse(name, stored.training(card), terms.sides)
    asked = {m.name: resolve(terms.preset(m.source).model) for m in chosen if m.kind == "preset"}
    if any(
        model.get("family") == "regress" for model in (*asked.values(), *(card["model"] for card in given.values()))
    ):
        return  # it may serve as first estimate; ``check`` knows
    for name, model in asked.items():
        if (model.get("sampling") or {}).get("start") is not None:
            _refuse(_first(name, FIRST), stored.training(loaded(FIRST).card), terms.sides)


def check(entries: Sequence[Entry], sides: Sides) -> None:
    """Refuse methods that saw somebody who is scored, themselves or by their first estimate, as far as cards tell."""
    for name, training in _trainings(entries):
        _refuse(name, training, sides)


def untold(entries: Sequence[Entry]) -> tuple[str, ...]:
    """The weights whose card does not name the persons of every run that made them."""
    return tuple(dict.fromkeys(name for name, training in _trainings(entries) if not training.tells_all))


def _trainings(entries: Sequence[Entry]) -> list[tuple[str, stored.Training]]:
    """Every training behind the answers, with the words for its weights."""
    own = [(entry.method.name, entry.training) for entry in entries if entry.weights is not None]
    first = [(_first(e.method.name, e.first), stored.training(loaded(e.first).card)) for e in entries if e.first]
    return [*own, *first]


def _first(name: str, source: str) -> str:
    return f"the first estimate of {name} ({label(stored.find(source))})"


def _refuse(name: str, training: stored.Training, sides: Sides) -> None:
    both = in_both(training.seen, sides.test_persons)
    if both:
        raise BadInput(
            f"{name} was trained on {', '.join(both)}, who would be scored; score other people, or leave these "
            "weights out."
        )
