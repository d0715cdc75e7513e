"""The training loop: it learns, it stops anywhere, and it goes on as if it had not."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch.nn.modules.module import register_module_forward_hook
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook

from m2diff.batch import Losses
from m2diff.data.cohort import open_cohort
from m2diff.errors import BadInput
from m2diff.families import build
from m2diff.nn import Decoder, Encoder
from m2diff.training import loop
from m2diff.training.checkpoint import load_latest, save_checkpoint
from m2diff.training.loop import train
from m2diff.training.schedule import learning_rate
from m2diff.training.validate import ScanScore, Validation, validate


def run(preset, cache: Path, out: Path, **options) -> Path:
    return train(preset, cache, out, device="cpu", progress=False, **options)


def state(out: Path):
    return load_latest(out / "checkpoints")


@pytest.mark.parametrize("name", ["m2diff-base", "regress-base"])
def test_twenty_steps_are_ten_steps_and_ten_more_bit_for_bit(small, cache, tmp_path, name):
    constant = ("train.schedule=constant",)
    run(small("train.steps=20", *constant, name=name), cache, tmp_path / "straight")
    run(small("train.steps=10", *constant, name=name), cache, tmp_path / "resumed")
    assert state(tmp_path / "resumed").step == 10
    run(small("train.steps=20", *constant, name=name), cache, tmp_path / "resumed")
    one, two = state(tmp_path / "straight"), state(tmp_path / "resumed")
    for part in ("model", "averaged"):
        mine, theirs = getattr(one, part), getattr(two, part)
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)
    moments = one.optimizer["state"]
    assert all(torch.equal(moments[k]["exp_avg"], two.optimizer["state"][k]["exp_avg"]) for k in moments)


def test_training_gains_on_the_input_on_a_person_it_never_saw(small, cache, tmp_path):
    longer = ("train.steps=100", "train.lr=0.003", "data.batch=4", "data.crop=[32, 24]", "model.network.dropout=0")
    run(small(*longer, name="regress-base"), cache, tmp_path)
    assert state(tmp_path).results["gain"] > 0.5  # dB


def test_a_run_leaves_weights_that_load_and_a_card_that_says_where_they_come_from(small, cache, tmp_path):
    weights = run(small("train.steps=4"), cache, tmp_path)
    card = json.loads((tmp_path / "card.json").read_text())
    model = build(card["model"])
    model.load_state_dict(load_file(weights))
    assert card["name"] == "m2diff-base" and card["tracers"] == [] and card["licence"]  # a cache says none
    assert card["training"]["steps"] == 4
    assert not set(card["training"]["train_persons"]) & set(card["training"]["held_out_persons"])
    assert set(card["results"]["by_drf"]) == {"4", "20"}
    assert {"psnr", "input_psnr"} <= set(card["results"]["by_drf"]["20"])


def test_the_weights_are_the_averaged_ones_in_half_precision(small, cache, tmp_path):
    weights = load_file(run(small("train.steps=4"), cache, tmp_path))
    averaged = state(tmp_path).averaged
    assert all(value.dtype == torch.float16 for value in weights.values() if value.is_floating_point())
    assert all(torch.equal(weights[key], averaged[f"module.{key}"].half()) for key in weights)


def test_the_best_weights_are_kept_with_their_own_card(small, cache, tmp_path):
    run(small("train.steps=4", "train.validate_every=2"), cache, tmp_path)
    card = json.loads((tmp_path / "best.json").read_text())
    assert card["results"]["gain"] == state(tmp_path).best
    assert load_file(tmp_path / "best.safetensors")


def test_the_resolved_preset_lies_beside_the_weights_and_trains_the_same(small, cache, tmp_path):
    from m2diff.training.config import load_preset

    preset = small("train.steps=3")
    run(preset, cache, tmp_path)
    saved = load_preset(tmp_path / "preset.yaml")
    assert (saved.data, saved.train) == (preset.data, preset.train) and saved.to_yaml() == preset.to_yaml()


def test_a_time_limit_leaves_a_checkpoint_and_weights_and_the_same_command_goes_on(small, cache, tmp_path):
    weights = run(small("train.steps=5"), cache, tmp_path, limit_minutes=0.0)
    assert weights.is_file() and state(tmp_path).step == 1
    run(small("train.steps=5"), cache, tmp_path)
    assert state(tmp_path).step == 5


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_leaves_a_checkpoint_and_ends_the_process(small, cache, tmp_path, number, monkeypatch):
    one, before = loop.Run._one, signal.getsignal(number)

    def interrupted(self, batch):
        if self.step == 3:
            os.kill(os.getpid(), number)
        return one(self, batch)

    monkeypatch.setattr(loop.Run, "_one", interrupted)
    with pytest.raises(SystemExit) as end:
        run(small("train.steps=50"), cache, tmp_path)
    assert end.value.code == 128 + number
    assert state(tmp_path).step == 4
    assert signal.getsignal(number) is before


def test_a_loss_that_is_no_number_stops_the_run_and_is_not_saved(small, cache, tmp_path, monkeypatch):
    from m2diff.families.regress import Regress

    monkeypatch.setattr(
        Regress, "loss", lambda self, batch, generator: Losses({"pet": self.absent.sum() * float("nan")}, {"pet": 1.0})
    )
    with pytest.raises(BadInput, match=r"the loss became nan by step 2.*train\.lr"):
        run(small("train.steps=10", name="regress-base"), cache, tmp_path)
    assert state(tmp_path) is None


@pytest.fixture
def optimised():
    """What each optimiser step finds: the gradients' norm, its settings, and whether the network was in training."""
    seen = []

    def look(optimizer, *_):
        (group,) = optimizer.param_groups
        gradients = [p.grad.norm() for p in group["params"] if p.grad is not None]
        seen.append({**group, "norm": float(torch.stack(gradients).norm())})

    hook = register_optimizer_step_pre_hook(look)
    yield seen
    hook.remove()


@pytest.mark.parametrize("most", ["null", "0.001"])
def test_gradients_are_held_to_the_norm_that_the_settings_name(small, cache, tmp_path, optimised, most):
    run(small("train.steps=3", f"train.grad_clip={most}", name="regress-base"), cache, tmp_path)
    norms = [step["norm"] for step in optimised]
    assert len(norms) == 3
    assert min(norms) > 0.01 if most == "null" else norms == pytest.approx([0.001] * 3, rel=1e-3)


def test_every_step_takes_the_rate_of_the_schedule_and_the_optimisers_settings(small, cache, tmp_path, optimised):
    preset = small("train.steps=5", "train.weight_decay=0.07", "train.betas=[0.8, 0.95]", name="regress-base")
    run(preset, cache, tmp_path)
    assert [step["lr"] for step in optimised] == [learning_rate(step, preset.train) for step in range(5)]
    assert all((step["weight_decay"], step["betas"]) == (0.07, (0.8, 0.95)) for step in optimised)


def test_a_step_forgets_the_gradients_of_the_one_before(small, cache, tmp_path, optimised):
    """At a rate of next to nothing the same network meets other slabs: their gradients must not pile up."""
    still = ("train.steps=12", "train.lr=1e-12", "train.grad_clip=null", "train.warmup=0")
    run(small(*still, name="regress-base"), cache, tmp_path)
    norms = [step["norm"] for step in optimised]
    assert norms[-1] < 3 * norms[0]


def test_the_average_forgets_the_first_steps_faster_and_then_as_slowly_as_the_settings_say(small, cache, tmp_path):
    weights = []

    def keep(optimizer, *_):
        weights.append(optimizer.param_groups[0]["params"][0].detach().clone())

    hooks = register_optimizer_step_pre_hook(keep), register_optimizer_step_post_hook(keep)
    run(small("train.steps=4", "train.ema_decay=0.2", "train.lr=0.01", name="regress-base"), cache, tmp_path)
    for hook in hooks:
        hook.remove()
    average, name = weights[0], next(name for name, _ in build(small(name="regress-base").model).named_parameters())
    for decay, after in zip((1 / 10, 2 / 11, 0.2, 0.2), weights[1::2], strict=True):
        average = decay * average + (1 - decay) * after
    torch.testing.assert_close(state(tmp_path).averaged[f"module.{name}"], average)


def test_a_run_that_begins_from_weights_and_hardly_moves_ships_these_weights(small, cache, tmp_path):
    begun = run(small("train.steps=2", name="regress-base"), cache, tmp_path / "one")
    still = small("train.steps=1", "train.lr=1e-9", "train.seed=7", name="regress-base")
    before, after = load_file(begun), load_file(run(still, cache, tmp_path / "two", start=begun))
    for name, value in before.items():
        torch.testing.assert_close(after[name], value, rtol=2e-3, atol=1e-5)


def draws(small, cache, out, monkeypatch, *settings):
    """The seeds that each step draws from, and whether the network was in training."""
    seen, forward = [], loop._Loss.forward

    def listening(self, batch, generator, precision):
        seen.append((generator.initial_seed(), torch.initial_seed(), self.model.training))
        return forward(self, batch, generator, precision)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Loss, "forward", listening)
        run(small("train.steps=4", "train.validate_every=2", *settings, name="regress-base"), cache, out)
    return seen


def test_every_step_draws_anew_from_the_runs_seed_and_the_network_trains(small, cache, tmp_path, monkeypatch):
    one, again, other = (
        draws(small, cache, tmp_path / str(n), monkeypatch, f"train.seed={seed}") for n, seed in enumerate((0, 0, 1))
    )
    assert one == again and not {seeds[0] for seeds in one} & {seeds[0] for seeds in other}
    assert len({noise for noise, _, _ in one}) == len({dropout for _, dropout, _ in one}) == 4
    assert all(training for _, _, training in one)  # after a validation, too


def test_a_step_works_in_the_precision_that_the_settings_name(small, cache, tmp_path, monkeypatch):
    asked, forward = [], loop._Loss.forward

    def listening(self, batch, generator, precision):
        asked.append(precision)
        return forward(self, batch, generator, "fp32")

    monkeypatch.setattr(loop._Loss, "forward", listening)
    run(small("train.steps=2", "train.precision=bf16", "train.validate_scans=0", name="regress-base"), cache, tmp_path)
    assert asked == ["bf16", "bf16"]


def test_slabs_are_drawn_as_the_settings_say(small, cache, tmp_path, monkeypatch):
    made = []

    class Recording(loop.SlabDataset):
        def __init__(self, subjects, **settings):
            made.append(settings)
            super().__init__(subjects, **settings)

    monkeypatch.setattr(loop, "SlabDataset", Recording)
    data = ("data.target=noise_free", "data.augmentation.flip=0.1", "train.seed=5")
    preset = small("train.steps=1", *data, name="regress-base")
    run(preset, cache, tmp_path)
    (settings,) = made
    named = ("crop", "augmentation", "target", "batch")
    assert {name: settings[name] for name in named} == {name: getattr(preset.data, name) for name in named}
    assert settings["seed"] == 5 and settings["slices"] == 4


def test_the_scores_are_those_of_the_averaged_weights_on_so_many_scans(small, cache, tmp_path):
    preset = small("train.steps=3", "train.lr=0.05", "data.held_out_fraction=0.6", name="regress-base")
    run(preset, cache, tmp_path)
    kept, model = state(tmp_path), build(preset.model)
    model.load_state_dict(
        {key.removeprefix("module."): kept.averaged[key] for key in kept.averaged if key != "n_averaged"}
    )
    assert len(kept.results["scans"]) == 2  # one of the two who are held out, at two doses
    held_out = [subject for subject in open_cohort(cache) if subject.label == kept.results["scans"][0]["label"]]
    again = validate(model.eval(), held_out, device=torch.device("cpu"), precision="fp32")
    assert kept.results["gain"] == pytest.approx(again.gain, abs=1e-3)


def test_the_best_weights_are_those_of_the_best_score_and_not_of_the_last(small, cache, tmp_path, monkeypatch):
    gains = iter((1.0, 3.0, 2.0))

    def scored(*_, **__):
        return Validation((ScanScore("000", 20.0, 20.0 + next(gains), 20.0),))

    monkeypatch.setattr(loop, "validate", scored)
    run(small("train.steps=6", "train.validate_every=2", name="regress-base"), cache, tmp_path)
    best = json.loads((tmp_path / "best.json").read_text())
    assert (best["training"]["steps"], best["results"]["gain"], state(tmp_path).best) == (4, 3.0, 3.0)


def test_a_truncated_checkpoint_costs_its_steps_and_no_more(small, cache, tmp_path):
    run(small("train.steps=6", "train.checkpoint_every=2"), cache, tmp_path)
    newest = sorted((tmp_path / "checkpoints").glob("step-*.pt"))[-1]
    newest.write_bytes(newest.read_bytes()[:5000])
    with pytest.warns(UserWarning, match="cannot be read"):
        assert state(tmp_path).step == 4
    with pytest.warns(UserWarning, match="cannot be read"):
        run(small("train.steps=6", "train.checkpoint_every=2"), cache, tmp_path)
    assert state(tmp_path).step == 6


def test_another_models_run_is_not_resumed_by_accident(small, cache, tmp_path):
    run(small("train.steps=1"), cache, tmp_path)
    with pytest.raises(BadInput, match=r"another model.*\(--out\), or remove that one"):
        run(small("train.steps=1", "model.network.width=16"), cache, tmp_path)


def test_a_run_of_before_a_setting_existed_is_resumed(small, cache, tmp_path):
    run(small("train.steps=1"), cache, tmp_path)
    begun = state(tmp_path)
    older = json.loads(begun.spec)
    del older["sampling"]["clip"]  # which the preset leaves at its default
    save_checkpoint(replace(begun, spec=json.dumps(older)), tmp_path / "checkpoints")
    run(small("train.steps=2"), cache, tmp_path)
    assert state(tmp_path).step == 2


def test_not_resuming_starts_afresh(small, cache, tmp_path):
    run(small("train.steps=4"), cache, tmp_path)
    run(small("train.steps=2"), cache, tmp_path, resume=False)
    assert state(tmp_path).step == 2


def test_a_crop_that_the_network_cannot_halve_is_refused(small, cache, tmp_path):
    with pytest.raises(BadInput, match=r"data\.crop must divide by"):
        run(small("data.crop=[18, 18]"), cache, tmp_path)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"jobs": 0}, r"-1 for all cores, got 0"),
        ({"device": "meta"}, r"cpu or on the best device .*got 'meta'.*CUDA_VISIBLE_DEVICES"),
        ({"device": "cuda:1"}, r"'cuda:1' is not on this machine"),
    ],
)
def test_what_a_run_would_not_take_is_refused_before_anything_is_prepared(small, cache, tmp_path, options, match):
    with pytest.raises(BadInput, match=match):
        train(small(), cache, tmp_path / "out", progress=False, **{"device": "cpu", **options})
    assert not (tmp_path / "out").exists()


def test_a_model_that_cannot_be_is_refused_before_anything_is_prepared(small, tmp_path):
    with pytest.raises(BadInput, match=r"network\.attention"):
        run(small("model.network.attention=[7]"), tmp_path / "nowhere", tmp_path / "out")


def test_without_tensorboard_the_extra_to_install_is_named(small, cache, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(BadInput, match=r"tensorboard, which is not installed; pip install 'm2diff\[train\]'"):
        run(small(), cache, tmp_path / "out")


@pytest.mark.parametrize("name", ["m2diff-base", "regress-base"])
def test_a_step_is_one_forward_pass(small, cache, tmp_path, name):
    passes: Counter[int] = Counter()

    def count(module, *_):
        if isinstance(module, Encoder | Decoder):
            passes[id(module)] += 1

    hook = register_module_forward_hook(count)
    try:
        run(small("train.steps=3", "train.validate_scans=0", "model.loss.dropout.mri=0", name=name), cache, tmp_path)
    finally:
        hook.remove()
    branches = 2 if name == "m2diff-base" else 1
    assert list(passes.values()) == [3] * (2 * branches)  # an encoder and a decoder each


def test_the_bar_shows_loss_throughput_and_the_psnr_of_each_validation(small, cache, tmp_path, capsys):
    train(small("train.steps=4", "train.validate_every=2"), cache, tmp_path, device="cpu", progress=True)
    said = capsys.readouterr()
    card = json.loads((tmp_path / "card.json").read_text())
    last = np.mean([scan["psnr"] for scan in card["results"]["scans"]])
    assert all(f"{what}=" in said.err for what in ("loss", "slabs_per_s", "psnr"))
    assert "Step 2: PSNR " in said.err
    assert f"Step 4: PSNR {last:.2f} dB by 1 network call, of the input " in said.err
    assert said.out == ""


def test_a_quiet_run_shows_nothing(small, cache, tmp_path, capsys):
    run(small("train.steps=2"), cache, tmp_path)
    assert capsys.readouterr() == ("", "")


CHAIN = ("model.sampling.steps=3", "model.sampling.eta=0.5")


def test_the_best_weights_of_a_chain_are_those_of_its_few_steps(small, cache, tmp_path):
    run(small("train.steps=2", *CHAIN), cache, tmp_path)
    best = json.loads((tmp_path / "best.json").read_text())
    assert best["results"]["calls"] == state(tmp_path).results["calls"] == 3
    run(small("train.steps=2", *CHAIN, "train.validate_steps=1"), cache, tmp_path / "one")
    assert state(tmp_path / "one").results["calls"] == 1
    assert state(tmp_path / "one").best != state(tmp_path).best


def test_a_score_by_other_calls_is_no_measure_for_a_resumed_run(small, cache, tmp_path):
    run(small("train.steps=2", *CHAIN), cache, tmp_path)
    save_checkpoint(replace(state(tmp_path), best=1000.0), tmp_path / "checkpoints")
    run(small("train.steps=3", *CHAIN), cache, tmp_path)
    assert state(tmp_path).best == 1000.0
    run(small("train.steps=4", *CHAIN, "train.validate_steps=2"), cache, tmp_path)
    assert state(tmp_path).best < 100.0


def test_more_calls_than_the_chain_has_are_refused_before_the_first_step(small, cache, tmp_path):
    with pytest.raises(BadInput, match=r"validate_steps must not exceed the chain's 1000 steps, got 1001"):
        run(small("train.validate_steps=1001"), cache, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_data_that_are_no_cohort_are_refused(small, tmp_path):
    with pytest.raises(BadInput, match="m2diff simulate"):
        run(small(), tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="is no cohort"):
        run(small(), tmp_path / "empty", tmp_path / "out")


def test_losses_and_scores_are_logged_for_tensorboard(small, cache, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run(small("train.steps=4", "train.validate_every=2"), cache, tmp_path)
    events = EventAccumulator(str(tmp_path / "logs"))
    events.Reload()
    assert {"loss", "loss/pet", "lr", "slabs_per_s", "psnr/drf20", "gain/mean"} <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("loss")] == [2, 4]


def test_training_works_outside_the_main_thread(small, cache, tmp_path):
    results = []
    worker = threading.Thread(target=lambda: results.append(run(small("train.steps=1"), cache, tmp_path)))
    worker.start()
    worker.join()
    assert results and results[0].is_file()
