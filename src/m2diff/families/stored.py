"""Where weights lie, with the card beside them.

    weights/NAME.safetensors, NAME.json     shipped with the package, known by NAME
    FILE.safetensors, FILE.json             anybody's
    RUN/weights.safetensors, card.json      of a training run, known by RUN

Tensors may be packed as small whole numbers (``reproduce/shipping.py``), 9 MB less a network in a clone or wheel:
KEY is int8, and KEY:worth (rows,) float32 is the value of one unit in each row (one output channel).

A card names at least the ``model`` (for ``families.build``); further data, licence, steps, seed, commit and results.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2diff.errors import BadInput
from m2diff.io.atomic import replacing

if TYPE_CHECKING:  # cards are read without PyTorch
    from torch import Tensor, nn


def weights_folder() -> Path:
    """The package's own weights."""
    return Path(str(resources.files("m2diff"))) / "weights"


def shipped() -> tuple[str, ...]:
    """Names of the weights that ship with the package."""
    return tuple(sorted(path.stem for path in weights_folder().glob("*.safetensors")))


def find(name_or_path: str | Path, *, also: Sequence[str] = ()) -> Path:
    """The weights' file of that name, file or run folder; BadInput, which also offers ``also``, where there is none."""
    name, given = str(name_or_path), Path(name_or_path)
    candidates = [weights_folder() / f"{name}.safetensors"] if given.name == name else []
    candidates += [given] if given.suffix == ".safetensors" else [given / "weights.safetensors"]
    for path in candidates:
        if path.is_file():
            return path
    raise BadInput(
        f"No weights are called {name}; choose one of {', '.join((*shipped(), *also))}, or give a .safetensors file "
        "that has its card beside it."
    )


def training_of(card: Mapping[str, Any]) -> Mapping[str, Any]:
    """The card's section ``training``; empty where there is none."""
    section = card.get("training")
    return section if isinstance(section, Mapping) else {}


def seen_persons(card: Mapping[str, Any]) -> frozenset[str]:
    """Everybody on whom the weights, or those that they began from, were trained, as far as the card tells."""
    section = training_of(card)
    named = section.get("seen_persons") or section.get("train_persons")
    return frozenset(map(str, named)) if isinstance(named, list | tuple) else frozenset()


def tells_all(card: Mapping[str, Any]) -> bool:
    """Whether the card names everybody whom the weights ever saw."""
    return isinstance(training_of(card).get("seen_persons"), list | tuple)


def steps_of(card: Mapping[str, Any]) -> int:
    """Steps of the run and of those that it began from; 0 where untold."""
    told = [training_of(card).get(key) for key in ("steps", "steps_before")]
    return sum(steps for steps in told if isinstance(steps, int))


def write_weights(model: nn.Module, card: Mapping[str, Any], weights: Path, *, beside: Path | None = None) -> Path:
    """Write ``model`` as float16 to ``weights`` and its card ``beside`` (None: same name, ``.json``), both or neither.

    float16 keeps 11 bits, more than bfloat16 training resolves. BadInput where the disk or folder refuses.
    """
    from safetensors.torch import save

    state = {key: _half(value) for key, value in model.state_dict().items()}
    with replacing(beside or weights.with_suffix(".json")) as card_file, replacing(weights) as file:
        card_file.write_text(json.dumps(card, indent=2) + "\n")
        file.write_bytes(save(state))  # safetensors' own writer reports a full disk as an error of its own
    return weights


def _half(tensor: Tensor) -> Tensor:
    """A contiguous copy on the CPU; floats as float16."""
    import torch

    tensor = tensor.detach().cpu()
    return (tensor.half() if tensor.is_floating_point() else tensor).clone(memory_format=torch.contiguous_format)


def card_beside(path: Path) -> Path | None:
    """Where the card of the weights at ``path`` lies; None where they have none."""
    candidates = (path.with_suffix(".json"), path.with_name("card.json"))
    return next((beside for beside in candidates if beside.is_file()), None)


def read_card(path: Path) -> dict[str, Any]:
    """The card of the weights at ``path``; BadInput where it is missing or describes no model."""
    beside = card_beside(path)
    if beside is None:
        raise BadInput(f"The weights {path} have no card; put the {path.stem}.json that came with them beside them.")
    try:
        card = json.loads(beside.read_text())
    except ValueError as trouble:
        raise BadInput(f"The card {beside} is not readable JSON; restore it from where the weights came.") from trouble
    if not isinstance(card, dict) or not isinstance(card.get("model"), dict):
        raise BadInput(f"The card {beside} does not describe a model (key 'model'); restore it.")
    return card


WORTH = ":worth"
"""Suffix of the scales' names; a parameter's own name has no colon."""


def read_parameters(path: Path) -> dict[str, Tensor]:
    """The parameters in the file at ``path``, unpacked; ``SafetensorError`` or ``OSError`` where it is damaged."""
    from safetensors.torch import load_file

    return unpack(load_file(path))


def load_into(model: nn.Module, path: Path, *, misfit: str) -> None:
    """Load the parameters at ``path`` into ``model``.

    BadInput where the file is damaged or does not fit; ``misfit`` then says what it does not fit, and what to do.
    """
    from safetensors import SafetensorError

    try:
        state = read_parameters(path)
    except (SafetensorError, OSError) as trouble:
        raise BadInput(f"The weights {path} are cut off or damaged; copy them again.") from trouble
    try:
        model.load_state_dict(state)
    except RuntimeError as trouble:
        raise BadInput(f"The weights {path} do not fit {misfit}.") from trouble


def unpack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters themselves: float32 where they were packed, the others as they are."""
    parameters: dict[str, Tensor] = {}
    for key, values in state.items():
        if key.endswith(WORTH):
            continue
        worth = state.get(key + WORTH)
        if worth is not None:
            values = values.float() * worth.reshape(-1, *[1] * (values.ndim - 1))
        parameters[key] = values
    return parameters
