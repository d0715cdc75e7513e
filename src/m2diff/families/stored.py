"""Where weights lie, and the card that lies beside them and says what they are.

    weights/NAME.safetensors, NAME.json     shipped with the package, known by NAME
    FILE.safetensors, FILE.json             anybody's
    RUN/weights.safetensors, card.json      of a training run, known by RUN

A card names at least the ``model``: what ``families.build`` takes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

from m2diff.errors import BadInput
from m2diff.io.atomic import replacing

if TYPE_CHECKING:  # cards are read without PyTorch
    from torch import Tensor, nn


def folder() -> Path:
    """The package's own weights."""
    return Path(str(resources.files("m2diff"))) / "weights"


def shipped() -> tuple[str, ...]:
    """Names of the weights that ship with the package."""
    return tuple(sorted(path.stem for path in folder().glob("*.safetensors")))


def find(name_or_path: str | Path, *, also: Sequence[str] = ()) -> Path:
    """The file of the weights of that name, or in that file or run folder.

    Raises BadInput where there are none; ``also``: further names that the sentence then offers.
    """
    name, given = str(name_or_path), Path(name_or_path)
    candidates = [folder() / f"{name}.safetensors"] if given.name == name else []
    candidates += [given] if given.suffix == ".safetensors" else [given / "weights.safetensors"]
    for path in candidates:
        if path.is_file():
            return path
    raise BadInput(
        f"No weights are called {name}; choose one of {', '.join((*shipped(), *also))}, or give a .safetensors file "
        "that has its card beside it."
    )


@dataclass(frozen=True)
class Training:
    """What a card says of how its weights were trained; the values as they stand there, empty or None where untold."""

    told: Mapping[str, Any] = field(default_factory=dict)
    """The card's whole section."""
    persons: tuple[str, ...] | None = None
    """Whom the run itself was trained on."""
    earlier: Training | None = None
    """The run whose weights it began from; None for random ones."""

    @classmethod
    def of(cls, section: object) -> Training:
        """Of the section ``training``, whatever stands there."""
        told = section if isinstance(section, Mapping) else {}
        persons, began = told.get("train_persons"), told.get("began_from")
        known = tuple(map(str, persons)) if isinstance(persons, list | tuple) else None
        return cls(told, known, None if began is None else cls.of(began))

    @property
    def runs(self) -> tuple[Training, ...]:
        """The run and those that it began from, newest first."""
        return (self, *(self.earlier.runs if self.earlier else ()))

    @property
    def seen(self) -> frozenset[str]:
        """Everybody whom the weights saw, as far as the card tells."""
        return frozenset(person for run in self.runs for person in run.persons or ())

    @property
    def tells_all(self) -> bool:
        """Whether the card tells the persons of every run."""
        return all(run.persons is not None for run in self.runs)

    @property
    def own_steps(self) -> int:
        """Steps of the run itself; 0 where untold."""
        steps = self.told.get("steps")
        return steps if isinstance(steps, int) else 0

    @property
    def steps(self) -> int:
        """Steps of all runs."""
        return sum(run.own_steps for run in self.runs)


def training(card: Mapping[str, Any]) -> Training:
    """What ``card`` says of its weights' training; the one place that reads that section."""
    return Training.of(card.get("training"))


def write(model: nn.Module, card: Mapping[str, Any], weights: Path, *, beside: Path | None = None) -> Path:
    """Write the weights of ``model`` (float16) to ``weights`` and their card ``beside``, both or neither.

    ``beside``: None is the weights' own name with ``.json``. float16 keeps 11 bits, more than bfloat16 training
    resolves. Raises BadInput where the disk is full or the folder cannot be written to.
    """
    from safetensors.torch import save

    state = {key: _half(value) for key, value in model.state_dict().items()}
    with replacing(beside or weights.with_suffix(".json")) as card_file, replacing(weights) as file:
        card_file.write_text(json.dumps(card, indent=2) + "\n")
        file.write_bytes(save(state))  # safetensors' own writer tells of a full disk in an error of its own
    return weights


def _half(tensor: Tensor) -> Tensor:
    """On the CPU, in memory of its own, as a file of weights needs it."""
    import torch

    tensor = tensor.detach().cpu()
    return (tensor.half() if tensor.is_floating_point() else tensor).clone(memory_format=torch.contiguous_format)


def card_beside(path: Path) -> Path | None:
    """Where the card of the weights at ``path`` lies; None where they have none."""
    candidates = (path.with_suffix(".json"), path.with_name("card.json"))
    return next((beside for beside in candidates if beside.is_file()), None)


def read_card(path: Path) -> dict[str, Any]:
    """The card of the weights at ``path``; BadInput where there is none, or none that describes a model."""
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
