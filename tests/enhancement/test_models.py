"""`m2diff models`: every name that --weights takes, with what its card says."""

from __future__ import annotations

import json

import pytest
import torch

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
    assert tuple(found) == cards.names()
    for name in stored.shipped():
        model, loaded = found[name], cards.load(name)
        assert model.parameters == sum(p.numel() for p in loaded.model.parameters())
        assert model.sha256 == loaded.sha256 and model.card == loaded.card
        assert (model.mri != "not read") is loaded.model.needs.mri
    assert found["gaussian"].mri == "not read" and found["bowsher"].mri == "optional"


def test_what_ships_stays_small_enough_to_ship():
    assert sum(path.stat().st_size for path in stored.folder().iterdir()) < 40e6


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
    assert "reproduce/01-first-table/table.py" in out


@pytest.mark.parametrize("name", cards.names())
def test_the_page_of_one_fits_too(name, capsys):
    assert max(map(len, said(capsys, name)[1].splitlines())) <= 100


def test_one_card_is_shown_whole(capsys):
    code, out, _ = said(capsys, "m2diff-base")
    assert code == 0
    for text in ("31.23 to 32.19", "CC BY-NC 4.0 (non-commercial", "held_out_persons", "commit:", "windows:"):
        assert text in out
    assert "parameters_by_drf" in said(capsys, "nlm")[1]


@pytest.mark.parametrize("told", [None, {"train_persons": None, "batch": None, "began_from": None, "steps": None}])
def test_a_card_that_tells_nothing_of_its_training_is_shown_all_the_same(told, tmp_path, capsys):
    weights = tmp_path / "mine.safetensors"
    weights.write_bytes(stored.find("regress-base").read_bytes())
    card = stored.read_card(stored.find("regress-base")) | {"training": told}
    weights.with_suffix(".json").write_text(json.dumps(card))
    code, out, _ = said(capsys, str(weights))
    assert code == 0 and "0 steps of ? slabs, ? scans of ? persons" in out
    assert not stored.training(card).tells_all


def test_a_card_tells_whom_its_runs_saw_down_to_the_first():
    first = {"train_persons": ["a"], "began_from": None}
    whole = stored.training({"training": {"train_persons": ["b"], "began_from": first}})
    assert whole.seen == {"a", "b"} and whole.tells_all
    part = stored.training({"training": {"train_persons": ["b"], "began_from": {"steps": 3}}})
    assert part.seen == {"b"} and not part.tells_all and part.steps == 3


def test_json_holds_the_cards_whole(capsys):
    code, out, _ = said(capsys, "--json")
    models = json.loads(out)
    assert code == 0 and [model["name"] for model in models] == list(cards.names())
    assert models[0]["card"]["training"]["seed"] is not None
    (one,) = json.loads(said(capsys, "regress-base", "--json")[1])
    assert one["family"] == "regress" and one["trained_steps"] == 17786


def test_a_network_that_needs_an_mri_and_one_that_reads_none_say_so(tmp_path):
    from m2diff import families

    size = {"slices": 4, "fold": 2, "width": 8, "multipliers": [1, 2], "groups": 4}
    for family, mri in (("m2diff", "needed"), ("mapdiff", "not read"), ("mfdiff", "optional")):
        spec = {"family": family, "network": size}
        path = cards.save(families.build(spec), spec, {}, tmp_path / f"{family}.safetensors")
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
    path = cards.save(families.build(spec), spec, {}, tmp_path / "a.safetensors")
    code, out, _ = said(capsys, str(path))
    assert code == 0 and "Not measured on unseen people." in out
