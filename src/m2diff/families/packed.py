"""Weights as small whole numbers. Without them a clone and a wheel would be 9 MB larger for each edition.

    KEY          int8      whole numbers, in the shape of the tensor
    KEY:worth    float32   (rows,): what one of them is worth in each row, which is all that one output reads

A row is rounded to steps of a given share of its own root mean square, so that the error is as even as its weights are.
Only large tensors are packed; a file may hold both kinds, and ``read_parameters`` reads any.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

WORTH = ":worth"
"""Ends the names of what is no parameter; a parameter's own name has no colon."""
_SMALLEST = 1000
"""Numbers in the smallest tensor that is packed: below, nothing is won."""
_LARGEST = 127


def read_parameters(path: Path) -> dict[str, Tensor]:
    """The parameters in the file at ``path``, unpacked; ``SafetensorError`` or ``OSError`` where it is damaged."""
    from safetensors.torch import load_file

    return unpack(load_file(path))


def pack(state: Mapping[str, Tensor], step: float) -> dict[str, Tensor]:
    """The parameters, the large ones in steps of ``step`` times the root mean square of each row.

    A row that reaches beyond ``_LARGEST`` steps takes larger ones: nothing is clipped.
    """
    kept: dict[str, Tensor] = {}
    for key, values in state.items():
        if not values.is_floating_point() or values.ndim < 2 or values.numel() < _SMALLEST:
            kept[key] = values
            continue
        rows = values.detach().float().flatten(1)
        worth = torch.maximum(step * rows.square().mean(dim=1).sqrt(), rows.abs().amax(dim=1) / _LARGEST)
        worth = worth.clamp(min=torch.finfo(torch.float32).tiny)  # a row of zeros stays one
        whole = (rows / worth[:, None]).round().clamp(-_LARGEST, _LARGEST)
        kept[key] = whole.to(torch.int8).reshape(values.shape)
        kept[key + WORTH] = worth
    return kept


def unpack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The parameters themselves: float32 where they were packed, the others as they are."""
    parameters: dict[str, Tensor] = {}
    for key, values in state.items():
        if key.endswith(WORTH):
            continue
        worth = state.get(key + WORTH)
        if worth is not None:
            values = values.float() * worth.reshape(-1, *[1] * (values.ndim - 1))
        parameters[key] = values
    return parameters
