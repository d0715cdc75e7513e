"""How a network computes: in bfloat16 where the machine has it in hardware, else float32; channels last."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeVar

import torch
from torch import nn

from m2diff.errors import BadInput

Precision = Literal["auto", "bf16", "fp32"]
Network = TypeVar("Network", bound=nn.Module)


def channels_last(model: Network) -> Network:
    """``model`` with 2D and 3D convolutions channels last, which is fastest; PyTorch's ``to`` takes only one kind."""
    formats = {4: torch.channels_last, 5: torch.channels_last_3d}
    for parameter in model.parameters():
        if parameter.ndim in formats:
            parameter.data = parameter.data.contiguous(memory_format=formats[parameter.ndim])
    return model


def best_device(name: str = "auto") -> str:
    """``name``, or for ``auto`` the GPU where there is one, else ``cpu``; BadInput for a device that is not here."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if name != "cpu":
        try:
            torch.zeros(1, device=name)
        except Exception as trouble:  # torch raises whatever a backend likes
            here = "auto, cpu or cuda" if torch.cuda.is_available() else "auto or cpu"
            raise BadInput(f"The device {name!r} is not on this machine; choose {here}.") from trouble
    return name


def best_precision(device: torch.device | str) -> Literal["bf16", "fp32"]:
    """``bf16`` where ``device`` has it in hardware (CPU: avx512_bf16 or amx, about twice as fast), else ``fp32``."""
    kind = torch.device(device).type
    if kind == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    if kind == "cpu":
        tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
        hardware = any(getattr(torch.cpu, test, lambda: False)() for test in tests)
        return "bf16" if hardware and _onednn_computes_bf16() else "fp32"
    return "fp32"


def autocast(device: torch.device | str, precision: Precision = "auto") -> AbstractContextManager[object]:
    """The context in which a network's forward pass runs at ``precision``; weights and losses stay float32."""
    chosen = best_precision(device) if precision == "auto" else precision
    if chosen == "fp32":
        return nullcontext()
    return torch.autocast(torch.device(device).type, dtype=torch.bfloat16)


def _onednn_computes_bf16() -> bool:
    """Whether oneDNN may use the processor's bfloat16 (ONEDNN_MAX_CPU_ISA can forbid it: it would be emulated)."""
    try:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    except (AttributeError, RuntimeError):  # a build without oneDNN, or one that does not tell
        return True
