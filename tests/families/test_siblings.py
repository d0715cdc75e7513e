"""What each sibling adds does what its paper says it is for."""

from __future__ import annotations

import pytest
import torch

from m2diff import families
from m2diff.errors import BadInput
from m2diff.families.config import UNetConfig
from m2diff.families.mdaa import DoseAttention, WaveletAttention
from m2diff.families.mfdiff import Fusion

CHAINS = [name for name in families.FAMILIES if name != "regress"]


def test_the_wavelet_gate_starts_closed_and_flat_guides_say_nothing_when_it_is_open():
    torch.manual_seed(0)
    attention = WaveletAttention(UNetConfig(slices=4, fold=2, width=8), channels=8)
    features, guide = torch.rand(2, 8, 8, 8), torch.rand(2, 4, 16, 16)
    assert torch.equal(attention(features, guide), features)
    torch.nn.init.constant_(attention.gate, 1.0)
    opened = attention(features, guide)
    assert not torch.allclose(opened, features)
    flat, brighter = (attention(features, torch.full((2, 4, 16, 16), level)) for level in (1.0, 5.0))
    torch.testing.assert_close(flat, brighter)  # details only: how bright a guide is says nothing


def test_dose_attention_starts_at_one_and_then_goes_with_the_dose():
    torch.manual_seed(0)
    attention = DoseAttention(channels=8, embedding=16, reduction=2, spatial=2)
    skip, one, other = torch.rand(2, 8, 6, 6), torch.rand(2, 16), torch.rand(2, 16)
    torch.testing.assert_close(attention(skip, one), skip)
    for parameter in attention.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    assert not torch.allclose(attention(skip, one), attention(skip, other), atol=1e-4)


@pytest.mark.parametrize("open_", [True, False])
def test_a_closed_fusion_gate_keeps_the_mri_out(open_):
    torch.manual_seed(0)
    fusion = Fusion(UNetConfig(slices=4, fold=2, width=8), channels=8)
    torch.nn.init.constant_(fusion.gate.bias, 0.0 if open_ else -50.0)
    low, mri = torch.rand(1, 4, 16, 16), torch.rand(1, 4, 16, 16)
    same = torch.allclose(fusion(low, mri), fusion(low, None), atol=1e-5)
    assert same is not open_


@pytest.mark.parametrize(
    ("family", "section", "match"),
    [
        ("ddpm", {"loss": {"first": 0.2}}, "forms no first version"),
        ("ddpet3d", {"loss": {"first": 0.2}}, "forms no first version"),
        ("ddpet3d", {"diffusion": {"last_beta": 0.01}}, "this one is a cosine"),
        ("regress", {"network": {"attention": [3]}}, "names levels 0 to 2, got 3"),
        ("ddpet3d", {"sampling": {"start": 1000}}, r"sampling\.start must lie below diffusion\.steps \(1000\)"),
        ("ddpet3d", {"sampling": {"start": 20, "steps": 22}}, "must not exceed the chain's 21 steps, got 22"),
        *((name, {"sampling": {"steps": 1001}}, "the chain's 1000 steps, got 1001") for name in CHAINS),
        *((name, {"diffusion": {"first_beta": 0.03}}, "above last_beta") for name in CHAINS if name != "ddpet3d"),
    ],
)
def test_settings_that_a_family_would_not_read_are_refused(family, section, match):
    with pytest.raises(BadInput, match=match):
        families.build({"family": family, **section})
