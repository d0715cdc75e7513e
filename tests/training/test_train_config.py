"""The configuration: resolved, frozen, and strict about keys."""

from __future__ import annotations

import pytest
import yaml
from pydantic import ValidationError

from m2diff.errors import BadInput
from m2diff.training.config import Preset, load_preset, preset_names
from m2diff.training.schedule import learning_rate


@pytest.mark.parametrize("name", ["m2diff-base", "regress-base", "m2diff-paper-128", "m2diff-paper-256"])
def test_every_shipped_preset_loads(name):
    assert name in preset_names()
    preset = load_preset(name)
    assert preset.name == name and preset.model["family"]


@pytest.mark.parametrize("pixels", [128, 256])
def test_the_papers_presets_train_as_the_paper_does(pixels):
    preset = load_preset(f"m2diff-paper-{pixels}")
    data, how, model = preset.data, preset.train, preset.model
    assert data.crop == (pixels, pixels) and data.target == "standard" and not data.augmentation.enabled
    assert (how.lr, how.betas, how.weight_decay) == (1e-4, (0.9, 0.999), 0.0)  # Adam
    assert (how.schedule, how.warmup, how.cooldown) == ("constant", 0, 0)
    assert {learning_rate(step, how) for step in (0, 1, how.steps - 1)} == {1e-4}
    assert how.ema_decay == 0.0 and how.grad_clip is None
    assert model["diffusion"] == {"steps": 1000, "first_beta": 1e-4, "last_beta": 0.02, "first_step_share": 0.0}
    assert [model["loss"][term] for term in ("pet", "mri", "agreement", "mean")] == [0.4, 0.4, 0.2, 0.0]
    again = yaml.safe_load(preset.to_yaml())  # what --dry-run prints
    assert again["data"]["crop"] == [pixels, pixels] and again["train"]["lr"] == 1e-4


def test_an_override_changes_one_value():
    plain, changed = load_preset("m2diff-base"), load_preset("m2diff-base", ["train.steps=7", "data.batch=3"])
    assert changed.train.steps == 7 and changed.data.batch == 3
    assert changed.train.lr == plain.train.lr and changed.model == plain.model


def test_persons_called_by_a_number_can_be_held_out():
    assert load_preset("m2diff-base", ["data.held_out=[1002, 1003]"]).data.held_out == ("1002", "1003")


def test_what_the_dry_run_prints_loads_to_the_same_preset(tmp_path):
    preset = load_preset("m2diff-base", ["train.lr=1e-3", "train.workers=2"])
    path = tmp_path / "mine.yaml"
    path.write_text(preset.to_yaml())
    again = load_preset(path)
    assert (again.data, again.train) == (preset.data, preset.train) and again.to_yaml() == preset.to_yaml()
    assert "exchange: true" in preset.to_yaml()  # a default of the model's, too


def test_the_dry_run_refuses_a_model_that_nobody_knows():
    for wrong in ("model.family=foo", "model.family=[m2diff]", "model.network.colour=3"):
        with pytest.raises(BadInput, match=r"foo|family|colour"):
            load_preset("m2diff-base", [wrong]).to_yaml()


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        (["model.network.attention=[7]"], r"levels 0 to 2, got 7"),
        (["model.network.attention=[-1]"], r"levels 0 to 2, got -1"),
        (["model.network.attention=[0]", "model.network.heads=5"], r"divide by network\.heads, got 48 and 5"),
        (["model.network.middle_attention=true", "model.network.heads=7"], r"divide by network\.heads"),
        (["model.network.multipliers=[-1, 1]"], r"multipliers\.0: .*greater than 0"),
        (["model.network.multipliers=[0.001, 1]"], r"number of channels, got 0\.001 of 48"),
        (["model.sampling.variance=large"], r"belongs to sampling\.eta=1, got 0"),
        (["model.sampling.clip=-1"], r"sampling\.clip: .*greater than 0"),
        (["model.diffusion.first_beta=0.5"], r"first_beta must not lie above last_beta"),
        (["model.sampling.steps=1001"], r"sampling\.steps must not exceed the chain's 1000 steps, got 1001"),
        (["model.diffusion.steps=10", "model.sampling.steps=11"], r"the chain's 10 steps, got 11"),
    ],
)
def test_the_dry_run_refuses_a_model_that_could_not_be_built_or_would_not_be_read(overrides, complaint):
    with pytest.raises(BadInput, match=complaint) as refusal:
        load_preset("m2diff-base", overrides).to_yaml()
    assert "\n" not in str(refusal.value)


def test_what_is_no_yaml_and_no_text_is_refused(tmp_path):
    with pytest.raises(BadInput, match="is not YAML"):
        load_preset("m2diff-base", ["data.held_out=[1036"])
    (tmp_path / "a.yaml").write_bytes(b"model: \xff\xfe")
    with pytest.raises(BadInput, match="UTF-8"):
        load_preset(tmp_path / "a.yaml")


def test_a_frozen_preset_cannot_be_changed():
    with pytest.raises(ValidationError):
        load_preset("m2diff-base").train.steps = 3  # type: ignore[misc]


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match=r"no preset is called m2dif;.*m2diff-base.*regress-base"):
        load_preset("m2dif")
    with pytest.raises(BadInput, match=r"nothing\.yaml is no file"):
        load_preset("nothing.yaml")


@pytest.mark.parametrize(
    ("override", "complaint"),
    [
        ("train.stesp=7", r"train\.stesp: is no known key"),
        ("optimiser.lr=1", "optimiser: is no known key"),
        ("train.steps=many", r"train\.steps: .*valid integer"),
        ("train.steps=0", r"train\.steps: .*greater"),
        ("train.cooldown=5", "cooldown belongs to"),
        ("train.betas=[2, 3]", r"train\.betas\.0: .*less than 1"),
        ("train.betas=[0.9, 1]", r"train\.betas\.1: .*less than 1"),
        ("train.seed=99999999999999999999", r"train\.seed: .*less than"),
        ("train.lr=.inf", r"train\.lr: .*finite"),
        ("train.grad_clip=0", r"train\.grad_clip: .*greater than 0"),
        ("train.validate_steps=0", r"train\.validate_steps: .*greater"),
        ("data.crop=[0, 0]", r"data\.crop\.0: .*greater"),
        ("data.crop=[-16, -16]", r"data\.crop\.0: .*greater"),
        ("train.lr=.nan", r"train\.lr: .*finite"),
        ("data.augmentation.scale_sd=.inf", r"data\.augmentation\.scale_sd: .*finite"),
        ("train.steps", "an override looks like"),
        ("train.steps.more=1", "is a value, not a section"),
    ],
)
def test_what_nobody_reads_is_refused_in_one_sentence(override, complaint):
    with pytest.raises(BadInput, match=complaint) as refusal:
        load_preset("m2diff-base", [override])
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("text", ["- a\n- b\n", "model: [", "model: 3\n", "train: {steps: 3}\n"])
def test_a_file_that_is_no_preset_is_refused(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match="bad"):
        load_preset(path)


def test_a_preset_may_leave_out_data_and_train():
    preset = Preset(name="x", model={"family": "regress"})
    assert preset.train.steps > 0 and preset.data.batch > 0
