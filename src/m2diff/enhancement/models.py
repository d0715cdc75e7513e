"""What there is to enhance with: the shipped weights, each with its card and numbers, and the filters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from m2diff.batch import Needs

Mri = Literal["not read", "optional", "needed"]


@dataclass(frozen=True)
class Model:
    """One name that ``--weights`` takes, and what is known of it; None where a filter has no such thing."""

    name: str
    kind: Literal["network", "filter"]
    family: str
    mri: Mri
    dose: bool
    """Whether the dose is read (a filter's parameters are chosen by it); it may always be unknown."""
    steps: int | None
    """Network calls of a draw, unless told otherwise."""
    parameters: int | None = None
    megabytes: float | None = None
    sha256: str | None = None
    about: str = ""
    """What a network was trained on, what a filter does."""
    card: Mapping[str, Any] = field(default_factory=dict)
    """As it came, of a filter its parameters by dose."""

    @property
    def licence(self) -> str:
        """The weights' licence; filters have that of the code."""
        return str(self.card.get("licence", "not stated")) if self.kind == "network" else "Apache-2.0"

    @property
    def trained_steps(self) -> int:
        """Steps of the run and of those that it began from."""
        from m2diff.families import stored

        return stored.steps_of(self.card)

    def to_json(self) -> dict[str, Any]:
        """Everything, the card whole."""
        return {**asdict(self), "licence": self.licence, "trained_steps": self.trained_steps}


def models(name: str | Path | None = None) -> list[Model]:
    """All that ships, networks first; or the one of that name, in that file or run's folder.

    Raises BadInput for a name that nobody knows and a card that cannot be read.
    """
    from m2diff.enhancement import cards

    return [_described(each) for each in (cards.weight_names() if name is None else (str(name),))]


def _described(name: str) -> Model:
    """The model of that name or path."""
    from m2diff.families.filters import FILTERS

    return _filter(name) if name in FILTERS else _network(name)


def _filter(name: str) -> Model:
    from m2diff.families.filters import FILTERS, presets

    kind = FILTERS[name]
    about = " ".join((kind.__doc__ or "").split("\n\n")[0].replace("``", "").split())
    tuned = {f"{drf:g}": dict(parameters) for drf, parameters in sorted(presets().get(name, {}).items())}
    mri: Mri = "optional" if kind.needs.mri else "not read"
    return Model(name, "filter", name, mri, dose=True, steps=None, about=about, card={"parameters_by_drf": tuned})


def _network(name: str) -> Model:
    from m2diff.families import stored
    from m2diff.families.filters import FILTERS
    from m2diff.io.nifti import sha256

    path = stored.find(name, also=tuple(FILTERS))
    card = stored.read_card(path)
    needs, spec = _needs(card["model"]), card["model"]
    alone = spec.get("network", {}).get("optional_mri", True)  # M2Diff alone may be built to need one
    return Model(
        name=name,
        kind="network",
        family=str(spec["family"]),
        mri="not read" if not needs.mri else "optional" if alone else "needed",
        dose=needs.dose,
        steps=spec.get("sampling", {}).get("steps", 1),
        parameters=_count(path),
        megabytes=round(path.stat().st_size / 1e6, 1),
        sha256=sha256(path),
        about=str(stored.training_of(card).get("data") or ""),
        card=card,
    )


def _needs(spec: Mapping[str, Any]) -> Needs:
    """What a network of this specification reads, without its parameters' memory."""
    import torch

    from m2diff.families import build

    with torch.device("meta"):
        return build(spec).needs


def _count(path: Path) -> int:
    """Numbers in a file of weights, by its header alone; BadInput where it is damaged."""
    from math import prod

    from safetensors import SafetensorError, safe_open

    from m2diff.errors import BadInput
    from m2diff.families.packed import WORTH

    try:
        with safe_open(path, framework="pt") as file:
            names = [key for key in file.keys() if not key.endswith(WORTH)]  # noqa: SIM118
            return sum(prod(file.get_slice(key).get_shape()) for key in names)
    except (SafetensorError, OSError) as trouble:
        raise BadInput(f"The weights {path} are cut off or damaged; copy them again.") from trouble
