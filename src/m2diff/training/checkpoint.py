"""A run's state on disk: written whole or not at all, the last two kept, read without running code from the file."""

from __future__ import annotations

import io
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from m2diff.errors import Notice
from m2diff.io.atomic import replacing

KEEP = 2


@dataclass(frozen=True)
class Checkpoint:
    """Everything that matters after ``step`` steps; random numbers are drawn anew from (seed, step)."""

    step: int
    model: dict[str, Any]
    averaged: dict[str, Any]
    optimizer: dict[str, Any]
    best: float
    """Best validation score so far, dB; minus infinity before the first."""
    results: dict[str, Any]
    """The last validation, as on the card."""
    spec: str
    """The model's specification (JSON), so that another network's run is not resumed by accident."""
    origin: dict[str, Any] | None = None
    """The weights that the run began from, as its card will name them."""


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> Path:
    """Write ``checkpoint`` and drop all but the last ``KEEP``."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"step-{checkpoint.step:09d}.pt"
    whole = io.BytesIO()  # torch's own writer reports a full disk as an error of its own
    torch.save(vars(checkpoint), whole)
    with replacing(path) as temporary:
        temporary.write_bytes(whole.getbuffer())
    for old in _newest_first(folder)[KEEP:]:
        old.unlink(missing_ok=True)
    return path


def load_latest(folder: Path) -> Checkpoint | None:
    """The newest checkpoint that can be read, on the CPU; None where there is none."""
    for path in _newest_first(folder):
        try:
            return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
        except Exception as trouble:  # torch raises whatever the damaged bytes provoke
            reason = str(trouble).splitlines()[0] if str(trouble) else type(trouble).__name__
            sentence = f"checkpoint {path.name} cannot be read ({reason}); taking the one before."
            warnings.warn(sentence, Notice, stacklevel=2)
    return None


def clear(folder: Path) -> None:
    """Forget a run: remove its checkpoints."""
    for old in _newest_first(folder):
        old.unlink(missing_ok=True)


def _newest_first(folder: Path) -> list[Path]:
    return sorted(folder.glob("step-*.pt"), reverse=True)
