"""The methods of a comparison, from their names to their weights.

    low-dose                      the input, always included
    gaussian, mr-guided ...       a filter
    m2diff-small, my.yaml         a preset: trained here
    weights:m2diff-base           shipped weights
    runs/mine, w.safetensors      weights at a path
    m2diff-small@steps=5          the same run with options: steps, samples, mri=none; joined by ,

Commas separate methods. A name that is both a preset and shipped weights is the preset.
"""

from __future__ import annotations

import json
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal

from m2diff.enhancement import cards
from m2diff.enhancement.enhanced import Enhanced
from m2diff.enhancement.run import FIRST, enhance
from m2diff.errors import BadInput, Notice
from m2diff.families import stored
from m2diff.families.filters import FILTERS
from m2diff.families.filters import presets as filter_settings
from m2diff.training.config import preset_names
from m2diff.volume import Volume

_INPUT, STANDARD_SCAN, TRUTH = "low-dose", "standard", "noise-free"  # what the tables call the scans themselves
DEFAULT_METHODS = (
    "gaussian", "mr-guided", "regress-small", "ddpm-small", "m2diff-small", "mdaa-small", "mapdiff-small",
    "mfdiff-small", "ddpet3d-small",
)  # fmt: skip
_Kind = Literal["input", "filter", "preset", "weights"]
_OPTION = re.compile(r"(steps|samples|mri)=")


@dataclass(frozen=True, eq=False)
class Method:
    """One method. ``name``: in tables; ``source``: what is loaded, trained or applied."""

    name: str
    kind: _Kind
    source: str
    options: Mapping[str, Any] = field(default_factory=dict)  # arguments of ``enhance``
    mri: bool = True

    @property
    def run(self) -> str:
        """The name of its training run, shared by all variants of a preset."""
        return Path(self.source).stem if self.kind == "preset" else ""


@dataclass(frozen=True, eq=False)
class Entry:
    """A method with its weights, and the hash of all that decides its answer."""

    method: Method
    identity: str
    weights: str | None = None  # name or path; None for the input and for filters
    first: str | None = None  # the weights of its first estimate, where its chain starts from one
    card: Mapping[str, Any] = field(default_factory=dict)  # the card of its weights; empty where it has none

    @property
    def terms(self) -> tuple[int, frozenset[str]] | None:
        """Steps and persons of the training, all stages together; None where the card is incomplete."""
        steps = stored.steps_of(self.card)
        return (steps, stored.seen_persons(self.card)) if steps and stored.tells_all(self.card) else None


def parse_methods(texts: Sequence[str]) -> tuple[Method, ...]:
    """The methods in comma-separated texts, the input first; BadInput for an unknown one."""
    found = {_INPUT: Method(_INPUT, "input", _INPUT)}
    for item in _items(texts):
        method = _method(item)
        if method.name in (STANDARD_SCAN, TRUTH):
            raise BadInput(f"The tables call a scan {method.name}, and so no method can be; rename {method.source}.")
        known = found.setdefault(method.name, method)
        if known.source != method.source:
            raise BadInput(f"Two methods are called {method.name}: {known.source} and {method.source}; rename one.")
    return tuple(found.values())


def with_weights(methods: Sequence[Method], trained: Mapping[str, Path]) -> tuple[Entry, ...]:
    """Each method with its weights; ``trained``: the weights of the runs made here, by run name.

    A chain takes its first estimate from a regression with equal training, if there is one: both trained here, or both
    with the same steps and persons on their cards.
    """
    made = [_entry(method, trained) for method in methods]
    return tuple(_with_first_estimate(entry, made) for entry in made)


def enhanced_by(entry: Entry, pet: Volume, mri: Volume | None, *, drf: float, device: str, seed: int = 0) -> Enhanced:
    """What the method itself makes of a scan: its MRI lies on the PET as simulated, and nothing is balanced."""
    weights, first = weights_of(entry)
    return enhance(
        pet, mri if entry.method.mri else None, weights=weights, first_estimate=first, drf=drf, seed=seed, align=False,
        device=device, checks=False, **entry.method.options,
    )  # fmt: skip


def weights_of(entry: Entry) -> tuple[cards.Weights | str, cards.Weights | None]:
    """The weights (of a filter its name) and those of its first estimate, loaded."""
    first = None if entry.first is None else loaded_weights(entry.first)
    return loaded_weights(entry.weights) if entry.weights else entry.method.source, first


def loaded_weights(name: str) -> cards.Weights:
    """Weights by name or path, cached until their file changes."""
    path = Path(name)
    return _loaded_weights(name, path.stat().st_mtime_ns if path.is_file() else 0)


def weights_label(file: Path) -> str:
    """The name in tables of weights at a path: their run, or their file."""
    return file.resolve().parent.name if file.stem == "weights" else file.stem


def hash_of(content: Any) -> str:
    """The SHA-256 of plain values, independent of key order."""
    return sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _items(texts: Iterable[str]) -> list[str]:
    """Split texts into methods; a comma before an option continues its method."""
    items: list[str] = []
    for part in (part.strip() for text in texts for part in text.split(",")):
        if items and _OPTION.match(part):
            items[-1] += ("+" if "@" in items[-1] else "@") + part
        elif part:
            items.append(part)
    return items


def _method(text: str) -> Method:
    base, _, rest = text.partition("@")
    options = dict(_option(part, text) for part in re.split(r"[@+]", rest) if part)
    name, kind, source = _known(base)
    if options and kind == "input":
        raise BadInput(f"{_INPUT} is the input itself and takes no options, got {text!r}; leave them out.")
    if kind == "filter" and options.keys() - {"mri"}:
        raise BadInput(f"A filter takes no option but mri=none, got {text!r}; leave the others out.")
    suffix = "+".join(f"{key}={value}" for key, value in options.items())
    whole = f"{name}@{suffix}" if options else name
    numbers = {key: int(value) for key, value in options.items() if key != "mri"}
    return Method(whole, kind, source, numbers, "mri" not in options)


def _option(part: str, text: str) -> tuple[str, str]:
    """An option's key and value; BadInput where either is invalid."""
    key, _, value = part.partition("=")
    right = value == "none" if key == "mri" else key in ("steps", "samples") and value.isdecimal() and int(value) > 0
    if not right:
        raise BadInput(f"Options look like @steps=5, @samples=4 or @mri=none, got {text!r}; correct it.")
    return key, value


def _known(base: str) -> tuple[str, _Kind, str]:
    """(name, kind, source) of the text before the options."""
    if base == _INPUT:
        return base, "input", base
    if base in FILTERS:
        return base, "filter", base
    if base in preset_names() or base.endswith((".yaml", ".yml")):
        if (Path(base) / "weights.safetensors").is_file():
            sentence = f"{base} is the preset, trained here; for the run in the folder write ./{base}."
            warnings.warn(sentence, Notice, stacklevel=2)
        return Path(base).stem, "preset", base
    plain = base.removeprefix("weights:")
    path = Path(plain)
    if plain in cards.weight_names():
        return f"weights:{plain}", "weights", plain
    for file in (path / "weights.safetensors", path):
        if file.is_file():
            return weights_label(file), "weights", str(file)
    raise BadInput(
        f"No method is called {base}; choose {_INPUT}, a filter ({', '.join(FILTERS)}), a preset "
        f"({', '.join(preset_names())}), or weights: a shipped name, a run folder or a .safetensors file."
    )


def _entry(method: Method, trained: Mapping[str, Path]) -> Entry:
    if method.kind == "input":
        return Entry(method, method.name)
    if method.kind == "filter":
        return Entry(method, hash_of(filter_settings().get(method.source, {})))
    name = str(trained[method.run]) if method.kind == "preset" else method.source
    found = loaded_weights(name)
    return Entry(method, hash_of([found.sha256, found.card["model"]]), name, card=found.card)


def _with_first_estimate(entry: Entry, among: Sequence[Entry]) -> Entry:
    """``entry``, with the weights of its first estimate if its chain starts from one."""
    sampling = None if entry.weights is None else getattr(loaded_weights(entry.weights).model, "sampling", None)
    if sampling is None or sampling.start is None:
        return entry
    own = (
        each.weights
        for each in among
        if each.card.get("model", {}).get("family") == "regress"
        and (
            each.method.kind == entry.method.kind == "preset" or (each.terms is not None and each.terms == entry.terms)
        )
    )
    first = next(own, None) or str(entry.card.get("first_estimate", FIRST))
    return replace(entry, first=first, identity=hash_of([entry.identity, loaded_weights(first).sha256]))


@lru_cache(maxsize=12)
def _loaded_weights(name: str, stamp: int) -> cards.Weights:
    return cards.load_weights(name)
