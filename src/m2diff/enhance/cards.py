"""Weights by name or path, each with the card that says where they come from; filters answer to their names too.

Weights lie as ``NAME.safetensors`` (float16) with ``NAME.json`` beside them, the shipped ones in the package's folder
``weights/``; a training run's ``weights.safetensors`` goes with its ``card.json``. A card names at least the ``model``
(the specification that ``families.build`` takes); further the data, licence, steps, seed, commit, tracers and
measured results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from torch import nn

from m2diff.errors import BadInput
from m2diff.families import Enhancer, build, resolve
from m2diff.families.filters import FILTERS, tuned
from m2diff.io.atomic import replacing
from m2diff.io.nifti import sha256
from m2diff.nn.precision import channels_last


@dataclass(frozen=True, eq=False)
class Weights:
    """A model ready to run, and what is known about it."""

    name: str
    model: Enhancer
    card: dict[str, Any] = field(default_factory=dict)
    sha256: str | None = None
    """Hash of the weights' file; None for filters, which have none."""


def names() -> tuple[str, ...]:
    """The weights that ship with the package, and the filters."""
    return (*sorted(path.stem for path in _folder().glob("*.safetensors")), *FILTERS)


def load(name_or_path: str | Path, *, dose: float | None = None) -> Weights:
    """The model of that name, or in that file or run folder, ready to run on the CPU.

    ``dose`` (reduction factor) chooses a filter's parameters; networks read it from their conditions. Raises BadInput
    for a name that nobody knows, weights without a card, and weights that do not fit theirs.
    """
    name = str(name_or_path)
    if name in FILTERS:
        chosen = tuned(name, dose)
        return Weights(name, chosen, {"model": {"family": name}})
    path = _find(name)
    card = _card(path)
    return Weights(name if path.parent == _folder() else path.stem, _model(path, card), card, sha256(path))


def save(model: nn.Module, spec: Mapping[str, Any], card: Mapping[str, Any], path: Path | str) -> Path:
    """Write the weights of ``model`` (float16) to ``path`` and its card beside it, both or neither.

    ``spec`` is what ``families.build`` takes; the card holds it with every default filled in.
    """
    from safetensors.torch import save_file

    path = Path(path)
    state = {
        key: (value.half() if value.is_floating_point() else value).detach().cpu().contiguous().clone()
        for key, value in model.state_dict().items()
    }
    text = json.dumps({**card, "model": resolve(spec)}, indent=2) + "\n"
    with replacing(path.with_suffix(".json")) as beside, replacing(path) as temporary:
        beside.write_text(text)
        save_file(state, temporary)
    return path


def _folder() -> Path:
    return Path(str(resources.files("m2diff"))) / "weights"


def _find(name: str) -> Path:
    """The weights' file that ``name`` means."""
    given = Path(name)
    candidates = [_folder() / f"{name}.safetensors"] if given.name == name else []
    candidates += [given] if given.suffix == ".safetensors" else [given / "weights.safetensors"]
    for path in candidates:
        if path.is_file():
            return path
    raise BadInput(
        f"No weights are called {name}; choose one of {', '.join(names())}, or give a .safetensors file that has its "
        "card beside it."
    )


def _card(path: Path) -> dict[str, Any]:
    """The card of the weights at ``path``."""
    for beside in (path.with_suffix(".json"), path.with_name("card.json")):
        if not beside.is_file():
            continue
        try:
            card = json.loads(beside.read_text())
        except ValueError as trouble:
            raise BadInput(
                f"The card {beside} is not readable JSON; restore it from where the weights came."
            ) from trouble
        if not isinstance(card, dict) or not isinstance(card.get("model"), dict):
            raise BadInput(f"The card {beside} does not describe a model (key 'model'); restore it.")
        return card
    raise BadInput(f"The weights {path} have no card; put the {path.stem}.json that came with them beside them.")


def _model(path: Path, card: Mapping[str, Any]) -> Enhancer:
    """The network of ``card`` with the weights at ``path``, float32, ready to answer."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    model = build(card["model"])
    try:
        state = load_file(path)
    except (SafetensorError, OSError) as trouble:
        raise BadInput(f"The weights {path} are cut off or damaged; copy them again.") from trouble
    try:
        model.load_state_dict(state)
    except RuntimeError as trouble:
        raise BadInput(f"The weights {path} do not fit the model on their card; take both from one place.") from trouble
    return channels_last(model).eval().requires_grad_(False)
