"""`m2diff models`: every name that --weights takes, with what its card says."""

from __future__ import annotations

import json

import pytest
import torch
import yaml

import m2diff
from m2diff.cli.app import main
from m2diff.enhancement import cards
from m2diff.enhancement.models import FILTER_FACTS, mri_of
from m2diff.enhancement.results import measured
from m2diff.families import FAMILIES, stored
from m2diff.families.filters import FILTERS


def said(capsys, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as end:
        main(["models", *arguments])
    captured = capsys.readouterr()
    return end.value.code, captured.out, captured.err


def test_every_name_that_enhance_takes_is_listed_and_its_numbers_are_the_loaded_models():
    found = {model.name: model for model in m2diff.models()}
    assert tuple(found) == cards.weight_names()
    for name in stored.shipped():
        model, loaded = found[name], cards.load_weights(name)
        assert model.parameters == sum(p.numel() for p in loaded.model.parameters())
        assert model.sha256 == loaded.sha256 and model.card == loaded.card
        assert (model.mri != "not read") is loaded.model.needs.mri
    assert found["gaussian"].mri == "not read" and found["bowsher"].mri == "optional"


def test_what_ships_stays_small_enough_to_ship():
    assert sum(path.stat().st_size for path in stored.weights_folder().iterdir()) < 40e6


def test_the_table_has_a_line_for_each_and_fits_a_terminal(capsys):
    code, out, _ = said(capsys)
    assert code == 0 and max(map(len, out.splitlines())) <= 100
    for model in m2diff.models():
        (line,) = (line for line in out.splitlines() if line.startswith(f"{model.name} "))
        assert model.mri in line
        if model.kind == "network":
            assert model.family in line and model.licence.partition(" (")[0] in line
            at = measured(model.card).by_drf
            assert f"{at['20'].psnr:.2f} ({at['20'].input_psnr:.2f})" in line and f"{at['100'].psnr:.2f}" in line
    tests = [measured(model.card) for model in m2diff.models()]
    assert all(test.by in out for test in tests if test is not None)


@pytest.mark.parametrize("name", cards.weight_names())
def test_the_page_of_one_fits_too(name, capsys):
    assert max(map(len, said(capsys, name)[1].splitlines())) <= 100


def test_one_card_is_shown_whole(capsys):
    code, out, _ = said(capsys, "m2diff-base")
    card = stored.read_card(stored.find("m2diff-base"))
    assert code == 0 and card["licence"] in " ".join(out.split())
    for drf, at in measured(card).by_drf.items():
        (line,) = (line for line in out.splitlines() if line.split()[:2] == [drf, f"{at.psnr:.2f}"])
        assert "{:.2f} to {:.2f}".format(*at.psnr_interval) in line and f"{at.input_psnr:.2f}" in line
    assert yaml.safe_load(out[out.index("\nname: ") :]) == card
    assert "parameters_by_drf" in said(capsys, "nlm")[1]


@pytest.mark.parametrize("told", [None, {"train_persons": None, "batch": None, "began_from": None, "steps": None}])
def test_a_card_that_tells_nothing_of_its_training_is_shown_all_the_same(told, tmp_path, capsys):
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(stored.find("regress-base").read_bytes())
    card = stored.read_card(stored.find("regress-base")) | {"training": told}
    weights.with_suffix(".json").write_text(json.dumps(card))
    code, out, _ = said(capsys, str(weights))
    assert code == 0 and "0 steps, ? scans of ? persons" in out
    assert not stored.tells_all(card)


def test_a_card_tells_whom_the_weights_and_those_before_them_saw():
    whole = {"training": {"train_persons": ["b"], "seen_persons": ["a", "b"], "steps": 3, "steps_before": 4}}
    assert stored.seen_persons(whole) == {"a", "b"} and stored.tells_all(whole) and stored.steps_of(whole) == 7
    part = {"training": {"train_persons": ["b"], "seen_persons": None, "steps": 3}}
    assert stored.seen_persons(part) == {"b"} and not stored.tells_all(part) and stored.steps_of(part) == 3
    assert stored.seen_persons({"training": None}) == frozenset() and stored.steps_of({}) == 0


def test_json_holds_the_cards_whole(capsys):
    code, out, _ = said(capsys, "--json")
    models = json.loads(out)
    assert code == 0 and [model["name"] for model in models] == list(cards.weight_names())
    assert models[0]["card"]["training"]["seed"] is not None
    (one,) = json.loads(said(capsys, "regress-base", "--json")[1])
    assert one["family"] == "regress" and one["trained_steps"] == stored.steps_of(one["card"])


def test_a_network_that_needs_an_mri_and_one_that_reads_none_say_so(tmp_path):
    from m2diff import families

    size = {"slices": 4, "fold": 2, "width": 8, "multipliers": [1, 2], "groups": 4}
    for family, mri in (("m2diff", "needed"), ("mapdiff", "not read"), ("mfdiff", "optional")):
        spec = {"family": family, "network": size}
        path = cards.save_weights(families.build(spec), spec, {}, tmp_path / f"{family}.safetensors")
        (model,) = m2diff.models(path)
        assert model.mri == mri and model.licence == "not stated"


def test_what_is_said_of_a_family_is_what_its_network_needs():
    from m2diff import families

    for family in FAMILIES:
        spec = families.resolve({"family": family})
        with torch.device("meta"):
            needs = families.build(spec).needs
        assert (mri_of(family, spec["network"]) != "not read") is needs.mri, family
        assert (mri_of(family, {}) != "not read") is needs.mri, family


def test_what_is_said_of_a_filter_is_what_it_needs():
    assert tuple(FILTER_FACTS) == tuple(FILTERS)
    for name, facts in FILTER_FACTS.items():
        assert (facts.mri != "not read") is FILTERS[name].needs.mri


def test_an_unknown_name_and_damaged_weights_are_one_sentence(tmp_path, capsys):
    code, _, err = said(capsys, "m3diff")
    assert code == 2 and len(err.splitlines()) == 1 and "m2diff-base" in err and "gaussian" in err
    (tmp_path / "a.safetensors").write_bytes(b"nothing")
    (tmp_path / "a.json").write_text(json.dumps({"model": {"family": "regress"}}))
    code, _, err = said(capsys, str(tmp_path / "a.safetensors"))
    assert code == 2 and "damaged" in err and len(err.splitlines()) == 1


def test_a_card_that_says_little_is_shown(tmp_path, capsys):
    from m2diff import families

    spec = {"family": "regress", "network": {"slices": 4, "fold": 2, "width": 8, "multipliers": [1, 2], "groups": 4}}
    path = cards.save_weights(families.build(spec), spec, {}, tmp_path / "a.safetensors")
    code, out, _ = said(capsys, str(path))
    assert code == 0 and "Not measured on unseen people." in out
