"""Checks bfloat16 gradients against float32 on one batch: some CPUs' kernels get some shapes wrong."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import torch
from torch import Tensor, nn

from m2diff.batch import Batch
from m2diff.nn.precision import Precision, autocast, best_precision

TOLERANCE = 0.25
"""Largest relative error of a parameter's gradient. Rounding gave at most 0.07 over the presets, fresh and trained; a
faulty kernel gives NaN, or numbers far off."""
FLOOR = 1e-3
"""Gradients below this share of the whole network's are compared with that share: they are mostly rounding."""
STIRRED = 0.02
"""Standard deviation of the checked copy's parameters that start at zero."""


def wrong_gradient(model: nn.Module, batch: Batch, precision: Precision) -> str | None:
    """The parameter whose bfloat16 gradient is furthest off where ``model`` trains on ``batch`` on a CPU, or None.

    Also None where float32 gradients are not finite, and for another precision or device. Neither the model nor any
    random stream changes. It takes about the time of three steps.
    """
    device = batch.target.device
    chosen = best_precision(device) if precision == "auto" else precision
    if device.type != "cpu" or chosen != "bf16":
        return None
    with torch.random.fork_rng(devices=[]):
        copy = _stirred(deepcopy(model).train())
        right, found = _gradients(copy, batch, "fp32"), _gradients(copy, batch, "bf16")
    if not all(gradient.isfinite().all() for gradient in right.values()):
        return None
    errors = _errors(right, found)
    worst = max(errors, key=lambda name: errors[name])
    return worst if errors[worst] > TOLERANCE else None


def _stirred(model: nn.Module) -> nn.Module:
    """``model`` with small random numbers for zero parameters, behind which layers would have no gradient."""
    torch.manual_seed(0)
    for parameter in model.parameters():
        if not parameter.any():
            nn.init.normal_(parameter, std=STIRRED)
    return model


def _gradients(model: Any, batch: Batch, precision: Precision) -> dict[str, Tensor]:
    """The gradient of each parameter that the loss of ``batch`` depends on; same draws in both precisions."""
    torch.manual_seed(0)
    with autocast("cpu", precision):
        loss = model.loss(batch, generator=torch.Generator().manual_seed(0)).total
    # Unwritten memory holds NaN, so that a faulty kernel does not read zeros by luck.
    junk = [torch.full((1 << size,), torch.nan) for size in range(6, 19) for _ in range(4)]
    del junk
    names, parameters = zip(*model.named_parameters(), strict=True)
    found = torch.autograd.grad(loss, parameters, allow_unused=True)
    return {name: gradient for name, gradient in zip(names, found, strict=True) if gradient is not None}


def _errors(right: dict[str, Tensor], found: dict[str, Tensor]) -> dict[str, float]:
    """The relative error of each gradient, infinite where one is not finite."""
    floor = FLOOR * torch.stack([gradient.norm() for gradient in right.values()]).norm()
    errors = {name: (found[name] - right[name]).norm() / (right[name].norm() + floor) for name in right}
    return {name: torch.nan_to_num(error, nan=torch.inf, posinf=torch.inf).item() for name, error in errors.items()}
