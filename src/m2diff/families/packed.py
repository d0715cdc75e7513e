"""Weights packed as small whole numbers, 9 MB less for each network in a clone or wheel (``reproduce/shipping.py``).

    KEY          int8      whole numbers, in the shape of the tensor
    KEY:worth    float32   (rows,): the value of one unit in each row (one output channel)

A file may also hold tensors that are not packed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

WORTH = ":worth"
"""Suffix of the scales' names; a parameter's own name has no colon."""


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
