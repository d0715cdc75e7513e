"""`m2diff models`: every name that --weights takes, with what its card says."""

from __future__ import annotations

import itertools
import json

import pytest
import yaml

import m2diff
from m2diff.cli.app import main
from m2diff.enhancement import cards
from m2diff.enhancement.results import measured
from m2diff.families import stored


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
    assert sum(path.stat().st_size for path in stored.folder().iterdir()) < 40e6


def block(out: str, name: str) -> str:
    """What the table says of a network: its line and the indented ones below."""
    lines = out.splitlines()
    first = next(n for n, line in enumerate(lines) if line.startswith(f"{name} "))
    rest = itertools.takewhile(lambda line: line.startswith("  "), lines[first + 1 :])
    return "\n".join([lines[first], *rest])


def test_the_table_shows_the_numbers_of_each_networks_own_card(capsys):
    code, out, _ = said(capsys)
    assert code == 0
    for model in m2diff.models():
        if model.kind == "network":
            shown = block(out, model.name)
            for fact in facts(model):
                assert fact in shown, (model.name, fact)


def facts(model) -> list[str]:
    """What the table says of a network, as its card has it."""
    card, test = model.card, measured(model.card)
    scores = [f"{drf}: {at.psnr:.2f} ({at.input_psnr:.2f})" for drf, at in test.by_drf.items()] if test else []
    persons = len(card["training"]["train_persons"])
    return [
        *(scores or ["not measured"]), f"{model.parameters:,}", f"{card['training']['steps']:,} steps",
        f"{persons} persons", card["licence"].partition(" (")[0],
    ]  # fmt: skip


def test_the_table_names_the_command_that_measured(capsys):
    out = said(capsys)[1]
    tests = [test for test in (measured(model.card) for model in m2diff.models()) if test is not None]
    assert tests and all(test.by in out for test in tests)


def test_the_table_has_a_line_for_every_name(capsys):
    out = said(capsys)[1].splitlines()
    assert all(sum(line.startswith(f"{name} ") for line in out) == 1 for name in cards.weight_names())


def test_one_card_is_shown_whole_with_what_was_measured(capsys):
    code, out, _ = said(capsys, "m2diff-base")
    card = stored.read_card(stored.find("m2diff-base"))
    assert code == 0 and card["licence"] in out
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
