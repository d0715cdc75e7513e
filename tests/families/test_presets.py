"""Every preset builds the network that its name promises."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml

import m2diff
from m2diff import families
from m2diff.batch import Batch, Conditions
from m2diff.families import stored
from m2diff.nn.precision import channels_last
from m2diff.training.config import load_preset

PRESETS = Path(m2diff.__file__).parent / "presets"
SPECS = {
    path.stem: content["model"]
    for path in sorted(PRESETS.glob("*.yaml"))
    if "model" in (content := yaml.safe_load(path.read_text()))
}


def on_meta(name):
    with torch.device("meta"):
        return families.build(SPECS[name])


def count(model):
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("name", SPECS)
def test_every_preset_with_a_model_builds_and_says_all_its_settings_or_defaults(name):
    model = on_meta(name)
    assert count(model) > 500_000
    assert families.resolve(SPECS[name])["family"] == SPECS[name]["family"]
    assert model.needs.slices == SPECS[name]["network"]["slices"]


def test_the_papers_network_has_the_released_number_of_parameters():
    unused_head = 2 * 128 + 128 * 9 + 1
    assert count(on_meta("m2diff-paper-128")) == 202_683_779 - unused_head


def test_the_papers_larger_network_has_its_269_million():
    assert count(on_meta("m2diff-paper-256")) == pytest.approx(269.0e6, abs=0.05e6)


BASE = [name for name in SPECS if name.endswith("-base")]


def test_the_practical_networks_and_their_controls_are_of_equal_size():
    assert {"m2diff-base", "ddpm-base", "regress-base"} <= set(BASE)
    ours = count(on_meta("m2diff-base"))
    assert 3_000_000 < ours < 15_000_000
    for name in BASE:
        assert abs(count(on_meta(name)) / ours - 1) < 0.05, name


def test_both_shipped_networks_fit_in_forty_megabytes_at_half_precision():
    assert 2 * (count(on_meta("m2diff-base")) + count(on_meta("regress-base"))) < 40e6


@pytest.mark.parametrize("name", stored.shipped())
def test_the_preset_of_a_name_is_the_model_that_ships_under_it(name):
    assert families.resolve(SPECS[name]) == stored.read_card(stored.find(name))["model"]


def test_both_base_networks_are_trained_alike():
    ours, control = (load_preset(name) for name in ("m2diff-base", "regress-base"))
    assert ours.data == control.data and ours.train == control.train
    shared = ("classes", "levels", "shrinkage", "balance", "dropout")
    one, other = (families.resolve(preset.model)["loss"] for preset in (ours, control))
    assert {key: one[key] for key in shared} == {key: other[key] for key in shared}


@pytest.mark.parametrize("name", BASE)
def test_the_practical_presets_train_under_bfloat16(name):
    torch.manual_seed(0)
    model = channels_last(families.build(SPECS[name]))
    low, mri, target = torch.rand(3, 1, model.needs.slices, 16, 16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        batch = Batch(Conditions(low, mri, torch.tensor([20.0])), target)
        total = model.loss(batch, generator=torch.Generator().manual_seed(0)).total
    total.backward()
    assert torch.isfinite(total)
    assert total.dtype == torch.float32
