"""The families that learn, by name, and how one is built from the ``model:`` section of a preset."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from pydantic import ValidationError

from m2diff.errors import BadInput
from m2diff.families.base import Trainable

FAMILIES = {
    "m2diff": "M2Diff",
    "ddpm": "DDPM",
    "ddpet3d": "DDPET3D",
    "mapdiff": "MAPDiff",
    "mdaa": "MDAA",
    "mfdiff": "MFdiff",
    "regress": "Regress",
}
"""Name in a preset: the class of the network, in the module of that name; its settings are the class with Config."""


def family_names() -> tuple[str, ...]:
    """The families that learn."""
    return tuple(FAMILIES)


def build(spec: Mapping[str, Any]) -> Trainable:
    """The fresh model of a ``model:`` section (PyTorch's global generator); BadInput for an unknown family or key."""
    config_type, family = _known(spec)
    return family(_checked(config_type, spec))


def resolve(spec: Mapping[str, Any]) -> dict[str, Any]:
    """The same section with every default filled in, as plain JSON-ready values: what is saved beside weights."""
    config_type, _ = _known(spec)
    return _checked(config_type, spec).model_dump(mode="json")


def _known(spec: Mapping[str, Any]) -> tuple[type[Any], type[Any]]:
    name = spec.get("family")
    if not isinstance(name, str) or name not in FAMILIES:
        raise BadInput(f"the model's family is one of {', '.join(FAMILIES)}, got {name!r}: correct its name.")
    home = import_module(f"m2diff.families.{name}")
    return getattr(home, f"{FAMILIES[name]}Config"), getattr(home, FAMILIES[name])


def _checked(config_type: type[Any], spec: Mapping[str, Any]) -> Any:
    try:
        return config_type.model_validate(dict(spec))
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(["model", *map(str, first["loc"])])
        said = first["msg"].removeprefix("Value error, ")
        got = "" if isinstance(first["input"], Mapping) else f" (got {first['input']!r})"  # a section is no answer
        raise BadInput(f"{place}: {said}{got}: correct the preset.") from error
