"""Weights as small whole numbers."""

import pytest
import torch
from safetensors.torch import save_file

from m2diff.families.stored import WORTH, read_parameters, unpack
from shipping import LARGEST, pack


@pytest.fixture
def state():
    torch.manual_seed(0)
    scale = torch.logspace(-6, 2, 40)[:, None, None]
    return {
        "conv.weight": scale * torch.randn(40, 12, 9),
        "conv.bias": torch.randn(40),
        "small.weight": torch.randn(3, 3),
        "steps": torch.arange(2000).reshape(40, 50),
    }


@pytest.mark.parametrize("step", [0.05, 0.15, 0.4])
def test_every_row_is_within_half_a_step_whatever_its_size(state, step):
    kept = unpack(pack(state, step))["conv.weight"]
    rms = state["conv.weight"].square().mean(dim=(1, 2), keepdim=True).sqrt()
    assert ((kept - state["conv.weight"]).abs() / (step * rms)).max() <= 0.5001
    error = ((kept - state["conv.weight"]) / (step * rms)).square().mean().sqrt()
    assert float(error) == pytest.approx(12**-0.5, rel=0.03)  # of a rounding, evenly spread


def test_only_large_tensors_of_fractions_are_packed(state):
    kept = pack(state, 0.1)
    assert kept["conv.weight"].dtype == torch.int8 and kept["conv.weight" + WORTH].shape == (40,)
    for key in ("conv.bias", "small.weight", "steps"):
        assert torch.equal(kept[key], state[key]) and key + WORTH not in kept
    assert unpack(kept).keys() == state.keys()


def test_a_row_with_an_outlier_takes_larger_steps_and_clips_nothing():
    rows = torch.randn(2, 2000)
    rows[1, 7] = 1e4
    kept = unpack(pack({"w": rows}, 0.01))["w"]
    assert float(kept[1, 7]) == pytest.approx(1e4)
    assert (kept[1] - rows[1]).abs().max() <= 0.5001 * 1e4 / LARGEST


def test_packing_again_and_a_row_of_zeros_change_nothing(state):
    state["conv.weight"][3] = 0
    once = unpack(pack(state, 0.1))
    assert not once["conv.weight"][3].any()
    assert all(torch.equal(value, unpack(once)[key]) for key, value in once.items())


def test_a_file_of_either_kind_is_read(state, tmp_path):
    save_file(state, tmp_path / "plain.safetensors")
    save_file(pack(state, 0.1), tmp_path / "packed.safetensors")
    assert all(torch.equal(value, state[key]) for key, value in read_parameters(tmp_path / "plain.safetensors").items())
    torch.testing.assert_close(read_parameters(tmp_path / "packed.safetensors"), unpack(pack(state, 0.1)))
