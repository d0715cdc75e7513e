"""The methods of a comparison, as text: what answers, and with which options.

    low-dose                      the input itself, always among them
    gaussian, mr-guided ...       a filter
    m2diff-small, my.yaml         a preset: trained here
    weights:m2diff-base           weights that ship, used as they are
    runs/mine, w.safetensors      weights at a path, likewise
    m2diff-small@steps=5          the same run with options: steps, samples, anchor_mm, mri=none; joined by ,

Several stand behind one another with commas. A plain name that is both a preset and shipped weights is the preset.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Any, Literal

from m2diff.errors import BadInput, Notice

Kind = Literal["input", "filter", "preset", "weights"]
INPUT, STANDARD, TRUTH = "low-dose", "standard", "noise-free"
"""What the tables call the scans themselves."""
DEFAULT = (
    "gaussian", "mr-guided", "regress-small", "ddpm-small", "m2diff-small", "mdaa-small", "mapdiff-small",
    "mfdiff-small", "ddpet3d-small",
)  # fmt: skip
OPTIONS = ("steps", "samples", "anchor_mm", "mri")
_OPTION = re.compile(rf"({'|'.join(OPTIONS)})=")


@dataclass(frozen=True)
class Method:
    """One line of the comparison. ``name`` is what tables call it; ``source`` what is loaded, trained or applied."""

    name: str
    kind: Kind
    source: str
    steps: int | None = None
    samples: int = 1
    anchor_mm: float | None = None
    mri: bool = True

    @property
    def run(self) -> str:
        """The name of its training run, which all variants of a preset share."""
        return Path(self.source).stem if self.kind == "preset" else ""

    @property
    def options(self) -> dict[str, Any]:
        """The arguments of ``enhance``."""
        return {"steps": self.steps, "samples": self.samples, "anchor_mm": self.anchor_mm}


def parse(texts: Sequence[str]) -> tuple[Method, ...]:
    """The methods of comma-separated texts, the input first; BadInput for what nobody knows."""
    found = {INPUT: Method(INPUT, "input", INPUT)}
    for item in _items(texts):
        method = _method(item)
        if method.name in (STANDARD, TRUTH):
            raise BadInput(f"The tables call a scan {method.name}, and so no method can be; rename {method.source}.")
        known = found.setdefault(method.name, method)
        if known.source != method.source:
            raise BadInput(f"Two methods are called {method.name}: {known.source} and {method.source}; rename one.")
    return tuple(found.values())


def _items(texts: Iterable[str]) -> list[str]:
    """The methods' texts; a comma before an option only joins it to its method."""
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
        raise BadInput(f"{INPUT} is the input itself and takes no options, got {text!r}; leave them out.")
    if kind == "filter" and options.keys() - {"mri"}:
        raise BadInput(f"A filter takes no option but mri=none, got {text!r}; leave the others out.")
    suffix = "+".join(f"{key}={value}" for key, value in options.items())
    whole = f"{name}@{suffix}" if options else name
    return Method(whole, kind, source, **{key: _value(key, value) for key, value in options.items()})


def _option(part: str, text: str) -> tuple[str, str]:
    key, equals, value = part.partition("=")
    try:
        right = bool(equals) and key in OPTIONS and (value == "none" if key == "mri" else 0 <= float(value) < inf)
        right = right and (key not in ("steps", "samples") or int(value) >= 1)
    except ValueError:
        right = False
    if not right:
        raise BadInput(f"Options look like @steps=5, @samples=4, @anchor_mm=10 or @mri=none, got {text!r}; correct it.")
    return key, value


def _value(key: str, value: str) -> Any:
    return False if key == "mri" else float(value) if key == "anchor_mm" else int(value)


def _known(base: str) -> tuple[str, Kind, str]:
    """(name, kind, source) of what stands before the options."""
    from m2diff.enhancement import cards
    from m2diff.families.filters import FILTERS
    from m2diff.training.config import preset_names

    if base == INPUT:
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
    if plain in cards.names():
        return f"weights:{plain}", "weights", plain
    for file in (path / "weights.safetensors", path):
        if file.is_file():
            return label(file), "weights", str(file)
    raise BadInput(
        f"No method is called {base}; choose {INPUT}, a filter ({', '.join(FILTERS)}), a preset "
        f"({', '.join(preset_names())}), or weights: a shipped name, a run folder or a .safetensors file."
    )


def label(file: Path) -> str:
    """What tables call weights at a path: their run, or their file."""
    return file.resolve().parent.name if file.stem == "weights" else file.stem
