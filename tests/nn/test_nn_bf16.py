"""Convolutions in bfloat16 on a CPU: their gradients are float32's, whatever the shape; ``make isa`` asks each ISA."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from itertools import product

import pytest
import torch
from torch import Tensor, nn

from m2diff.nn.blocks import conv

FORMATS = {2: torch.channels_last, 3: torch.channels_last_3d}
SIDES = range(1, 9)


def layer_and_images(spatial: int, kernel: int, stride: int, channels: int, sides: tuple[int, ...]):
    torch.manual_seed(0)
    layer = conv(spatial, channels, 16, kernel, stride).to(memory_format=FORMATS[spatial])
    return layer, torch.randn(2, channels, *sides).contiguous(memory_format=FORMATS[spatial])


def computed(layer: nn.Module, images: Tensor, *, bf16: bool) -> dict[str, Tensor]:
    """The answer and the gradients; memory that a faulty kernel reads unwritten holds NaN."""
    images = images.clone().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
        answer = layer(images)
    assert answer.dtype == (torch.bfloat16 if bf16 else torch.float32)
    up = torch.randn(answer.shape, generator=torch.Generator().manual_seed(1)).to(answer.dtype)
    junk = [torch.full((1 << size,), torch.nan) for size in range(6, 19)]
    del junk
    gradients = torch.autograd.grad(answer, [images, *layer.parameters()], up)
    return dict(zip(("answer", "images", "weight", "bias"), (answer.detach(), *gradients), strict=True))


@pytest.mark.parametrize(("kernel", "stride"), [(1, 1), (3, 1), (3, 2), (7, 1)])  # as the networks have them
@pytest.mark.parametrize("spatial", [2, 3])
def test_gradients_in_bfloat16_are_those_of_float32_for_every_size(spatial, kernel, stride):
    sizes = list(product(SIDES, repeat=spatial))
    wrong = []
    for sides in random.Random(0).sample(sizes, 64):
        for channels in (8, 40):
            layer, images = layer_and_images(spatial, kernel, stride, channels, sides)
            right, found = computed(layer, images, bf16=False), computed(layer, images, bf16=True)
            far = [name for name in right if not (found[name] - right[name]).norm() <= 0.03 * right[name].norm()]
            wrong += [(sides, channels, far)] * bool(far)
    assert not wrong


@pytest.mark.parametrize("spatial", [2, 3])
def test_only_training_computes_narrow_images_in_float32(spatial, monkeypatch):
    seen = []
    plain = {2: nn.Conv2d, 3: nn.Conv3d}[spatial]
    forward = plain.forward

    def watched(self, x):
        seen.append(torch.is_autocast_enabled("cpu"))
        return forward(self, x)

    monkeypatch.setattr(plain, "forward", watched)
    for side, stride in [(3, 1), (7, 2), (4, 1), (8, 2)]:
        layer, images = layer_and_images(spatial, 3, stride, 8, (*[8] * (spatial - 1), side))
        with torch.autocast("cpu", dtype=torch.bfloat16):
            layer(images)
            with torch.no_grad():
                layer(images)
    assert seen == [False, True, False, True, True, True, True, True]


def test_bfloat16_is_not_chosen_where_onednn_would_emulate_it():
    """Under AVX2 alone a scan would take many times as long as in float32."""
    script = "from m2diff.nn.precision import best_precision; print(best_precision('cpu'))"
    limited = os.environ | {"ONEDNN_MAX_CPU_ISA": "AVX2"}
    done = subprocess.run([sys.executable, "-c", script], env=limited, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "fp32"
