"""How weights come into the package: packed, with a card that says what was measured; for the ship scripts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from m2diff.enhancement.results import Measured
from m2diff.families import stored
from m2diff.families.stored import WORTH, read_parameters
from m2diff.io.atomic import replacing

SMALLEST = 1000
"""Numbers in the smallest tensor that is packed: below, nothing is won."""
LARGEST = 127


def with_measured(card: Mapping[str, Any], test: Measured) -> dict[str, Any]:
    """The card with a benchmark on it, in the place of an earlier one."""
    kept = test.model_dump(mode="json", exclude_none=True)
    return {**card, "results": {**(card.get("results") or {}), "test": kept}}


def ship(
    run: Path | str,
    destination: Path | str,
    test: Measured | None = None,
    *,
    step: float | None = None,
) -> Path:
    """Put a run's (or anybody's) weights and card at ``destination`` (.safetensors, .json), with what was measured.

    The card's name becomes the destination's. ``step``: pack the weights (``families/stored.py``) in steps of that
    share of their root mean square; None leaves them as they are.

    Returns the path of the weights; raises BadInput where ``run`` has none.
    """
    source = stored.find(run)
    card = {**stored.read_card(source), "name": Path(destination).stem}
    weights = Path(destination).with_suffix(".safetensors")
    with replacing(weights.with_suffix(".json")) as beside, replacing(weights) as copied:
        beside.write_text(json.dumps(card if test is None else with_measured(card, test), indent=2) + "\n")
        if step is None:
            shutil.copyfile(source, copied)
        else:
            _save_packed(source, copied, step)
    return weights


def _save_packed(source: Path, target: Path, step: float) -> None:
    """Write the parameters of ``source`` packed; a copy where they are, as a second rounding would change them."""
    if any(key.endswith(WORTH) for key in load_file(source)):
        shutil.copyfile(source, target)
    else:
        save_file(pack(read_parameters(source), step), target)


def pack(state: Mapping[str, Tensor], step: float) -> dict[str, Tensor]:
    """The parameters, the large ones in steps of ``step`` times the root mean square of each row.

    A row that reaches beyond ``LARGEST`` steps takes larger ones: nothing is clipped.
    """
    kept: dict[str, Tensor] = {}
    for key, values in state.items():
        if not values.is_floating_point() or values.ndim < 2 or values.numel() < SMALLEST:
            kept[key] = values
            continue
        rows = values.detach().float().flatten(1)
        worth = torch.maximum(step * rows.square().mean(dim=1).sqrt(), rows.abs().amax(dim=1) / LARGEST)
        worth = worth.clamp(min=torch.finfo(torch.float32).tiny)  # a row of zeros stays one
        whole = (rows / worth[:, None]).round().clamp(-LARGEST, LARGEST)
        kept[key] = whole.to(torch.int8).reshape(values.shape)
        kept[key + WORTH] = worth
    return kept
