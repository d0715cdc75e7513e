"""The configuration of a training run: a YAML preset with the sections ``model``, ``data`` and ``train``.

Unknown keys are errors. Single values are overridden as ``train.steps=100``.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from m2diff.data.augment import Augmentation
from m2diff.data.dataset import Target
from m2diff.errors import BadInput
from m2diff.families import resolve, stored
from m2diff.nn.precision import Precision

UNBOUNDED = 1_000_000_000
"""A number of steps for runs limited by time alone."""

Size = Annotated[int, Field(ge=1)]
"""Of a slab, in voxels."""
Beta = Annotated[float, Field(ge=0, lt=1)]
"""Share of a gradient's running mean kept at each step."""


class DataConfig(BaseModel):
    """What a training step reads."""

    # Persons are often called by a number, which YAML reads as one.
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, coerce_numbers_to_str=True)

    crop: tuple[Size, Size] = Field(default=(96, 96), description="height and width of a training slab, voxels of 2 mm")
    batch: int = Field(default=8, ge=1, description="slabs a step, of each process")
    target: Target = Field(
        default="standard", description="what a slab should become: standard, noise_free or expected"
    )
    held_out: tuple[str, ...] = Field(default=(), description="persons never trained on; none: drawn")
    held_out_fraction: float = Field(default=0.1, ge=0, lt=1, description="share held out when none is named")
    augmentation: Augmentation = Augmentation()


class TrainConfig(BaseModel):
    """How it learns. Steps count optimiser steps; a resumed run may be given more of them."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    steps: int = Field(default=20_000, ge=1)
    lr: float = Field(default=3e-4, gt=0)
    warmup: int = Field(default=500, ge=0, description="steps over which the learning rate rises from 0")
    schedule: Literal["cosine", "constant"] = "cosine"
    cooldown: int = Field(default=0, ge=0, description="constant schedule: last steps, over which the rate falls to 0")
    ema_decay: float = Field(default=0.999, ge=0, lt=1, description="of the averaged weights; 0: no average")
    betas: tuple[Beta, Beta] = (0.9, 0.99)
    weight_decay: float = Field(default=0.01, ge=0)
    grad_clip: float | None = Field(default=1.0, gt=0, description="largest norm of a step's gradient; empty: no limit")
    precision: Precision = "auto"
    seed: int = Field(default=0, ge=0, lt=2**63)
    validate_every: int = Field(default=1000, ge=1)
    validate_scans: int = Field(default=4, ge=0, description="held-out scan sessions scored at each validation")
    validate_steps: int | None = Field(
        default=None, ge=1, description="network calls a validation's chain; empty: the preset's own, but at most 5"
    )
    checkpoint_every: int = Field(default=500, ge=1)
    log_every: int = Field(default=10, ge=1)
    threads: int | None = Field(default=None, ge=1, description="CPU threads; empty: as many as torch takes")
    workers: int | None = Field(default=None, ge=0, description="reading processes; empty: none on a CPU, 8 for a GPU")
    resident: bool | None = Field(default=None, description="whole cohort on the device; empty: on a GPU with room")

    @model_validator(mode="after")
    def _cooldown_belongs_to_constant(self) -> TrainConfig:
        if self.cooldown and self.schedule != "constant":
            raise ValueError("train.cooldown belongs to train.schedule=constant")
        return self


class Preset(BaseModel):
    """A family's specification and everything needed to train it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    model: dict[str, Any]
    data: DataConfig = DataConfig()
    train: TrainConfig = TrainConfig()

    def to_yaml(self) -> str:
        """The preset as YAML with every default written out; BadInput for a model that no family knows."""
        return yaml.safe_dump({**self.model_dump(mode="json"), "model": resolve(self.model)}, sort_keys=False)


@lru_cache(maxsize=1)
def preset_names() -> tuple[str, ...]:
    """Names of the presets that ship with the package."""
    files = [entry.name for entry in _folder().iterdir() if entry.name.endswith(".yaml")]
    texts = {name.removesuffix(".yaml"): _folder().joinpath(name).read_text() for name in files}
    return tuple(sorted(name for name, text in texts.items() if "model" in (yaml.safe_load(text) or {})))


def load_preset(name_or_path: str | Path, overrides: Sequence[str] = ()) -> Preset:
    """The preset of that name or YAML file, with ``overrides`` such as ``train.steps=100``; refuses unknown keys."""
    return _resolved(_read(name_or_path), overrides, str(name_or_path))


def defaults(overrides: Sequence[str], name: str) -> Preset:
    """The defaults of no family, with ``overrides`` applied; ``name``: what a refusal calls it."""
    return _resolved({"name": name, "model": {}}, overrides, name)


def preset_of(weights: str | Path, overrides: Sequence[str] = ()) -> Preset:
    """The preset to train ``weights`` further: their network, with data and train of their own preset or defaults."""
    path = stored.find(weights)
    card = stored.read_card(path)
    name = str(card.get("name", path.stem))
    tree = _read(name) if name in preset_names() else {"name": name}
    return _resolved({**tree, "model": card["model"]}, overrides, name)


def _folder() -> Any:
    return resources.files("m2diff").joinpath("presets")


def _resolved(tree: dict[str, Any], overrides: Sequence[str], name: str) -> Preset:
    for override in overrides:
        _apply(tree, override)
    try:
        return Preset.model_validate(tree)
    except ValidationError as errors:
        raise BadInput(_sentence(errors, name)) from None


def _read(name_or_path: str | Path) -> dict[str, Any]:
    name = str(name_or_path)
    if name.endswith((".yaml", ".yml")):
        path = Path(name)
        if not path.is_file():
            raise BadInput(f"{name} is no file; give the path of a preset or one of: {', '.join(preset_names())}.")
        try:
            text, name = path.read_text(encoding="utf-8"), path.stem
        except UnicodeDecodeError:
            raise BadInput(f"preset {path} is not text in UTF-8; correct the file.") from None
    elif name in (known := preset_names()):
        text = _folder().joinpath(f"{name}.yaml").read_text()
    else:
        raise BadInput(f"no preset is called {name}; choose one of {', '.join(known)}, or give a .yaml file.")
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as trouble:
        raise BadInput(f"preset {name} is not YAML ({' '.join(str(trouble).split())}); correct the file.") from None
    if not isinstance(tree, dict):
        raise BadInput(f"preset {name} must have the sections model, data and train, but is {type(tree).__name__}.")
    return {"name": name, **tree}


def _apply(tree: dict[str, Any], override: str) -> None:
    """Set one value of ``tree``, as in ``train.steps=100``; the value is read as YAML."""
    key, equals, value = override.partition("=")
    *sections, last = key.strip().split(".")
    if not equals or not last:
        raise BadInput(f"an override looks like train.steps=100, got {override!r}.")
    for section in sections:
        tree = tree.setdefault(section, {})
        if not isinstance(tree, dict):
            raise BadInput(f"{section} in the override {override!r} is a value, not a section; check the key.")
    try:
        tree[last] = yaml.safe_load(value)
    except yaml.YAMLError:
        raise BadInput(f"the value in the override {override!r} is not YAML; correct it.") from None


def _sentence(errors: ValidationError, name: str) -> str:
    """All of pydantic's complaints as one sentence."""
    parts = []
    for error in errors.errors():
        where = ".".join(str(part) for part in error["loc"]) or "preset"
        what = "is no known key" if error["type"] == "extra_forbidden" else error["msg"].lower()
        parts.append(f"{where}: {what} (got {error['input']!r})" if error["loc"] else f"{what}")
    return f"preset {name} does not fit: {'; '.join(parts)}; correct it, or see --dry-run for all keys."
