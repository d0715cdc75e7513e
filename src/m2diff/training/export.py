"""What a run leaves for others: the averaged weights, and a card that says where they come from.

OUT/weights.safetensors    parameters and buffers, float16
OUT/card.json              the model's specification, data, licence, steps, seed, commit, measured results
"""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import nn

from m2diff.families import stored
from m2diff.io.hashes import sha256
from m2diff.training.config import Preset

WEIGHTS, CARD = "weights.safetensors", "card.json"
NOT_STATED = "not stated: ask who trained these weights"


@dataclass(frozen=True)
class Provenance:
    """What only the person who trains knows of the weights."""

    licence: str = NOT_STATED
    data: str = NOT_STATED
    tracers: tuple[str, ...] | None = None
    """None: those that the cohort's sidecars name."""


@dataclass(frozen=True)
class Training:
    """What the run knows of how the weights were made."""

    train_scans: int
    train_persons: list[str]
    held_out_persons: list[str]
    steps: int
    batch: int
    """Slabs a step, of all processes together."""
    seen_persons: list[str] | None = None
    """Everybody whom the run and the weights that it began from saw; None where unknown."""
    steps_before: int = 0
    """Steps of the weights that the run began from."""
    began_from: dict[str, Any] | None = None
    """The weights that the run began from: hash, name, licence, tracers; None for random ones."""


def model_card(
    preset: Preset, spec: Mapping[str, Any], provenance: Provenance, training: Training, results: Mapping[str, Any]
) -> dict[str, Any]:
    """The card of the weights: what they are, where they come from, what they scored. JSON-ready."""
    return {
        "name": preset.name,
        "model": dict(spec),
        "licence": provenance.licence,
        "tracers": sorted({*(provenance.tracers or ()), *((training.began_from or {}).get("tracers") or ())}),
        "training": {
            "data": provenance.data,
            **asdict(training),
            "seed": preset.train.seed,
            "commit": commit(),
            "version": version("m2diff"),
            "torch": torch.__version__,
            "settings": preset.model_dump(mode="json", include={"data", "train"}),
        },
        "results": dict(results),
    }


def export(model: nn.Module, card: Mapping[str, Any], out: Path, *, weights: str = WEIGHTS, name: str = CARD) -> Path:
    """Write the weights of ``model`` and its card into ``out``, both or neither; returns the weights' path."""
    return stored.write_weights(model, card, out / weights, beside=out / name)


def load_start(weights: Path, model: nn.Module) -> dict[str, Any]:
    """Load ``weights`` into ``model``; returns their entry for the card. BadInput where they do not fit."""
    stored.load_into(model, weights, misfit="this preset's network; start from weights of the same preset")
    card = stored.read_card(weights) if stored.card_beside(weights) else {}
    seen = sorted(stored.seen_persons(card)) if stored.tells_all(card) else None
    about = {key: card.get(key) for key in ("name", "licence", "tracers")}
    return {"sha256": sha256(weights), **about, "seen_persons": seen, "steps": stored.steps_of(card)}


def commit() -> str | None:
    """The git commit of the source that runs, with ``+changes`` where it was edited since; None outside a checkout."""
    here = Path(__file__).parent
    if not _git(here, "ls-files", Path(__file__).name):  # installed inside somebody else's repository
        return None
    head = _git(here, "rev-parse", "HEAD")
    return f"{head}+changes" if _git(here, "status", "--porcelain", "--", ".") else head


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
