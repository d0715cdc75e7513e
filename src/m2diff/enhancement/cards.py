"""Loads and saves weights with their cards (``families.stored``); filters answer to their names too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from torch import nn

from m2diff.families import Enhancer, build, resolve, stored
from m2diff.families.filters import FILTERS, tuned
from m2diff.io.hashes import sha256
from m2diff.nn.precision import channels_last


@dataclass(frozen=True, eq=False)
class Weights:
    """A model ready to run, and what is known about it."""

    name: str
    model: Enhancer
    card: dict[str, Any] = field(default_factory=dict)
    sha256: str | None = None
    """Hash of the weights' file; None for filters, which have none."""


def weight_names() -> tuple[str, ...]:
    """The weights that ship with the package, and the filters."""
    return (*stored.shipped(), *FILTERS)


def load_weights(name_or_path: str | Path, *, drf: float | None = None) -> Weights:
    """The model of that name, file or run folder, on the CPU; ``drf`` chooses a filter's parameters.

    BadInput for an unknown name, weights without a card, and weights that do not fit their card.
    """
    name = str(name_or_path)
    if name in FILTERS:
        chosen = tuned(name, drf)
        return Weights(name, chosen, {"model": {"family": name}})
    path = stored.find(name, also=tuple(FILTERS))
    card = stored.read_card(path)
    return Weights(
        name if path.parent == stored.weights_folder() else path.stem, _model(path, card), card, sha256(path)
    )


def save_weights(model: nn.Module, spec: Mapping[str, Any], card: Mapping[str, Any], path: Path | str) -> Path:
    """Write ``model`` (float16) to ``path`` and its card, with ``spec`` and all defaults, beside it, or neither."""
    return stored.write_weights(model, {**card, "model": resolve(spec)}, Path(path))


def _model(path: Path, card: Mapping[str, Any]) -> Enhancer:
    """The network of ``card`` with the weights at ``path``, float32, ready to answer."""
    model = build(card["model"])
    stored.load_into(model, path, misfit="the model on their card; take both from one place")
    return channels_last(model).eval().requires_grad_(False)
