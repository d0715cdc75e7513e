"""Weights as small whole numbers. Without them a clone and a wheel would be 9 MB larger for each edition.

    KEY          int8      whole numbers, in the shape of the tensor
    KEY:worth    float32   (rows,): what one of them is worth in each row, which is all that one output reads

A row is rounded to steps of a given share of its own root mean square, so that the error is as even as its weights are.
Only large tensors are packed (``reproduce/shipping.py`` packs them); a file may hold both kinds.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

WORTH = ":worth"
"""Ends the names of what is no parameter; a parameter's own name has no colon."""


def read_parameters(path: Path) -> dict[str, Tensor]:
    """The parameters in the file at ``path``, unpacked; ``SafetensorError`` or ``OSError`` where it is damaged."""
    from safetensors.torch import load_file

    return unpack(load_file(path))


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
