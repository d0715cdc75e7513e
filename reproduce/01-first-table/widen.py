"""Weights for a network that is told more: python widen.py WEIGHTS OUT.safetensors SETTING...

WEIGHTS: a name or a file with its card; SETTING: what is new in the network, `model.network.recon=true`. A layer that
has grown is given zeros at its end, and a new one starts as it does in training: where that is by adding nothing, the
answers are those of WEIGHTS.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from m2diff.errors import BadInput
from m2diff.families import build, packed, resolve, stored
from m2diff.training.config import preset_of


def widened(old: torch.Tensor, new: torch.Tensor) -> torch.Tensor:
    """``old`` in the shape of ``new``, zeros at the end of what has grown."""
    if old.ndim != new.ndim or any(a > b for a, b in zip(old.shape, new.shape, strict=True)):
        raise BadInput(f"A layer of {tuple(old.shape)} cannot grow into {tuple(new.shape)}; take weights that can.")
    grown = torch.zeros_like(new)
    grown[tuple(slice(0, n) for n in old.shape)] = old
    return grown


def main(weights: str, out: Path, settings: list[str]) -> None:
    """Write the widened weights and their card."""
    source = stored.find(weights)
    card, old = stored.read_card(source), packed.load(source)
    preset = preset_of(weights, settings)
    torch.manual_seed(0)
    model = build(preset.model)
    new = model.state_dict()
    gone = set(old) - set(new)
    if gone:
        raise BadInput(f"The new network has no {', '.join(sorted(gone)[:5])}; choose settings by which it grows.")
    state = {key: widened(old[key].to(values.dtype), values) if key in old else values for key, values in new.items()}
    model.load_state_dict(state)
    stored.write(model, {**card, "model": resolve(preset.model)}, out)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3:])
