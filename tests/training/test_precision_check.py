"""Training in bfloat16 on a CPU: gradients are checked before the first step, and wrong ones lead to float32."""

from __future__ import annotations

import warnings

import pytest
import torch

from m2diff.errors import Notice
from m2diff.families import build
from m2diff.nn.blocks import Downsample, ResBlock
from m2diff.training import loop, precision_check
from m2diff.training.checkpoint import load_latest
from m2diff.training.loop import train


def trained(preset, cache, out):
    train(preset, cache, out, device="cpu", progress=False)
    return load_latest(out / "checkpoints")


def same(one, other) -> bool:
    return all(torch.equal(one.model[key], other.model[key]) for key in one.model) and one.results == other.results


def scaled(y, factor: float):
    """``y``, with a gradient ``factor`` times what it is, in bfloat16 alone."""
    if y.dtype == torch.bfloat16 and y.requires_grad:
        y.register_hook(lambda gradient: gradient * factor)
    return y


def broken(monkeypatch, factor: float) -> None:
    """Make the gradients of one kind of layer wrong."""
    right = Downsample.forward
    monkeypatch.setattr(Downsample, "forward", lambda self, x: scaled(right(self, x), factor))


def first_batch(preset, cache, out, monkeypatch):
    given = []
    monkeypatch.setattr(loop, "wrong_gradient", lambda *all_of_it: given.append(all_of_it))
    trained(preset, cache, out)
    return given[0][1]


@pytest.mark.parametrize(
    ("name", "factor"),
    [("m2diff-base", float("nan")), ("regress-base", float("inf")), ("regress-base", 2.0), ("regress-base", 0.0)],
)
def test_a_layer_with_wrong_gradients_leads_to_a_note_and_float32(small, cache, tmp_path, monkeypatch, name, factor):
    broken(monkeypatch, factor)
    with pytest.warns(Notice, match=r"bfloat16 gradients of this network are wrong on this CPU \(most at .*float32"):
        fell_back = trained(small("train.steps=2", "train.precision=bf16", name=name), cache, tmp_path / "bf16")
    assert same(fell_back, trained(small("train.steps=2", name=name), cache, tmp_path / "fp32"))


@pytest.mark.parametrize("name", ["m2diff-base", "regress-base", "mdaa-base", "m2diff-paper-128"])
def test_a_healthy_network_stays_in_bfloat16_and_the_check_changes_nothing(small, cache, tmp_path, monkeypatch, name):
    network = ["model.network.slices=1", "model.network.attention=[]"] if name == "m2diff-paper-128" else []
    preset = small("train.steps=2", "train.precision=bf16", *network, name=name)
    with warnings.catch_warnings():
        warnings.simplefilter("error", Notice)
        checked = trained(preset, cache, tmp_path / "checked")
    monkeypatch.setattr(loop, "wrong_gradient", lambda *_: None)
    assert same(checked, trained(preset, cache, tmp_path / "unchecked"))
    assert not same(checked, trained(small("train.steps=2", *network, name=name), cache, tmp_path / "fp32"))


def test_a_resumed_run_is_checked_too(small, cache, tmp_path, monkeypatch):
    trained(small("train.steps=1", "train.precision=bf16"), cache, tmp_path)
    broken(monkeypatch, float("nan"))
    with pytest.warns(Notice, match="bfloat16"):
        assert trained(small("train.steps=2", "train.precision=bf16"), cache, tmp_path).step == 2


@pytest.mark.parametrize("precision", ["fp32", "auto"])
def test_where_bfloat16_is_not_used_nothing_is_computed(small, cache, tmp_path, monkeypatch, precision):
    monkeypatch.setattr(precision_check, "best_precision", lambda device: "fp32")
    monkeypatch.setattr(precision_check, "_gradients", lambda *_: pytest.fail("computed"))
    trained(small("train.steps=1", f"train.precision={precision}"), cache, tmp_path)


def test_data_that_are_no_numbers_are_not_the_precisions_fault(small, cache, tmp_path, monkeypatch):
    preset = small("train.steps=1")
    batch = first_batch(preset, cache, tmp_path, monkeypatch)
    batch.target.fill_(torch.nan)
    assert precision_check.wrong_gradient(build(preset.model), batch, "bf16") is None


def test_layers_behind_those_that_start_at_zero_are_checked(small, cache, tmp_path, monkeypatch):
    preset = small("train.steps=1", name="regress-base")
    batch, network = first_batch(preset, cache, tmp_path, monkeypatch), build(preset.model)
    assert precision_check.wrong_gradient(network, batch, "bf16") is None
    for block in network.modules():
        if isinstance(block, ResBlock):
            block.conv_in.register_forward_hook(lambda layer, given, y: scaled(y, 2.0))
    assert precision_check.wrong_gradient(network, batch, "bf16") is not None
