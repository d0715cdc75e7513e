"""The second stage: weights of a simulation, trained further on own scans that know no truth."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from fabricate import fabricate
from safetensors.torch import load_file, save_file
from scipy.ndimage import gaussian_filter

from m2diff import enhance, families
from m2diff.cli.app import main
from m2diff.errors import BadInput
from m2diff.families import stored
from m2diff.layouts import bids_out
from m2diff.layouts.visit import Visit
from m2diff.training.config import preset_of
from m2diff.training.export import load_start
from m2diff.training.loop import train
from m2diff.volume import Volume

SHAPE = (40, 44, 36)
STAGE_TWO = ("train.steps=2", "train.lr=0.0005", "data.crop=[16, 16]", "data.batch=2", "train.validate_scans=1")


def scan(person: int, drf: float) -> Volume:
    """A head of 2 mm voxels in Bq/mL, noisier at a lower dose."""
    rng = np.random.default_rng([person, int(drf)])
    at = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    texture = 1 + 0.3 * np.sign(gaussian_filter(np.random.default_rng(person).standard_normal(SHAPE), 2))
    clean = ((at**2).sum(axis=0) < 0.6) * texture
    noise = 0.04 * np.sqrt(drf * clean) * rng.standard_normal(SHAPE)
    return Volume((9000 * (clean + noise)).astype(np.float32), np.diag([2.0, 2, 2, 1]), "Bq/mL")


@pytest.fixture(scope="module")
def own(tmp_path_factory) -> Path:
    """What ``m2diff convert`` makes of scans without an MRI: standard and low dose, and nothing else."""
    visits = [
        Visit(
            entities={"sub": f"0{person}", "trc": "18FAV45"},
            doses={drf: lambda person=person, drf=drf: scan(person, drf) for drf in (1.0, 20.0)},
            mri=None,
            about={},
            sidecar={"TracerName": "florbetapir"},
            key=f"person {person}",
        )
        for person in (1, 2, 3)
    ]
    out = tmp_path_factory.mktemp("own") / "bids"
    assert bids_out.write_bids(visits, out, source="test") == (3, [])
    return out


@pytest.fixture
def stage_one(small, cache, tmp_path) -> Path:
    """The run of the first stage, on a cohort that knows the noise-free image."""
    preset = small("train.steps=2", name="mfdiff-base")
    assert preset.data.target == "noise_free"
    train(preset, cache, tmp_path / "one", device="cpu", progress=False)
    return tmp_path / "one"


def second_stage(weights: str, own: Path, out: Path) -> int:
    """The command of the recipe."""
    options = [word for each in STAGE_TWO for word in ("--set", each)]
    command = ["train", "--from", weights, "--data", own, "--out", out, "--device", "cpu", "--quiet", *options]
    with pytest.raises(SystemExit) as end:
        main([str(word) for word in command])
    return end.value.code


def test_the_second_stage_trains_the_first_ones_weights_on_own_scans(stage_one, own, tmp_path, capsys):
    assert second_stage(str(stage_one), own, tmp_path / "two") == 0
    said = capsys.readouterr()
    assert "Note: The cohort has no noise-free images" in said.err and "data.target=standard" in said.err
    card = json.loads((tmp_path / "two" / "card.json").read_text())
    assert card["name"] == "mfdiff-base" and card["training"]["settings"]["data"]["target"] == "standard"
    training = card["training"]
    assert training["began_from"]["name"] == "mfdiff-base" and "licence" in training["began_from"]
    assert training["steps_before"] == 2 and set(training["seen_persons"]) > set(training["train_persons"])
    assert card["training"]["train_scans"] == 2
    assert card["tracers"] == ["florbetapir"]  # what the scans' sidecars say; the first stage's cache said none
    assert "simulate" not in card["training"]["data"]  # nobody said so
    one, two = (load_file(folder / "weights.safetensors") for folder in (stage_one, tmp_path / "two"))
    assert one.keys() == two.keys() and any((one[key] != two[key]).any() for key in one)
    result = enhance(scan(3, 20.0), weights=tmp_path / "two", drf=20)
    assert np.isfinite(result.volume.data).all()


def test_weights_that_ship_are_started_from_by_name(stage_one, own, tmp_path, monkeypatch):
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "mfdiff-tiny.safetensors").write_bytes((stage_one / "weights.safetensors").read_bytes())
    (shelf / "mfdiff-tiny.json").write_text((stage_one / "card.json").read_text())
    monkeypatch.setattr(stored, "weights_folder", lambda: shelf)
    assert second_stage("mfdiff-tiny", own, tmp_path / "two") == 0
    by_path = tmp_path / "by-path"
    assert second_stage(str(stage_one / "weights.safetensors"), own, by_path) == 0
    one, other = (load_file(folder / "weights.safetensors") for folder in (tmp_path / "two", by_path))
    assert all((one[key] == other[key]).all() for key in one)


def test_a_card_names_the_tracers_of_both_stages(stage_one, own, tmp_path):
    beside = stage_one / "card.json"
    beside.write_text(json.dumps({**json.loads(beside.read_text()), "tracers": ["FDG"]}))
    assert second_stage(str(stage_one), own, tmp_path / "two") == 0
    assert json.loads((tmp_path / "two" / "card.json").read_text())["tracers"] == ["FDG", "florbetapir"]


def test_an_unknown_name_to_start_from_is_refused_before_anything_is_prepared(small, own, tmp_path):
    with pytest.raises(BadInput, match=r"No weights are called mfdiff-huge.*m2diff-base"):
        train(small(), own, tmp_path / "out", start="mfdiff-huge", device="cpu", progress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("damage", ["cut off", "of another shape"])
def test_weights_that_cannot_be_started_from_are_refused(damage, stage_one, tmp_path):
    weights = stage_one / "weights.safetensors"
    model = families.build(json.loads((stage_one / "card.json").read_text())["model"])
    assert load_start(weights, model)["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    if damage == "cut off":
        weights.write_bytes(weights.read_bytes()[:-100])
    else:
        save_file({key: value[:1].clone() for key, value in load_file(weights).items()}, weights)
    with pytest.raises(BadInput, match={"cut off": "damaged", "of another shape": "the same preset"}[damage]):
        load_start(weights, model)


def test_weights_without_a_preset_of_their_name_bring_their_network_and_the_defaults(stage_one):
    card = json.loads((stage_one / "card.json").read_text())
    (stage_one / "card.json").write_text(json.dumps({**card, "name": "somebodys-own"}))
    preset = preset_of(stage_one, ["train.steps=7"])
    assert preset.name == "somebodys-own" and preset.model == card["model"] and preset.train.steps == 7


def test_a_preset_or_weights_are_needed(own, tmp_path, capsys):
    with pytest.raises(SystemExit) as end:
        main(["train", "--data", str(own), "--out", str(tmp_path / "out")])
    assert end.value.code == 2 and "--from" in capsys.readouterr().err


@pytest.mark.parametrize("target", ["noise_free", "expected"])
def test_a_cohort_where_some_lack_the_noise_free_image_says_what_to_set(target, small, tmp_path):
    subjects = fabricate(tmp_path / "cache")
    (subjects[1].folder / "noise_free.npy").unlink()
    with pytest.raises(BadInput, match=r"1 of the cohort's 3 sessions \(such as sub-001\).*data\.target=standard"):
        train(small("train.steps=1", f"data.target={target}"), tmp_path / "cache", tmp_path / "out", device="cpu")
    train(small("train.steps=1", "data.target=standard"), tmp_path / "cache", tmp_path / "out", device="cpu")
