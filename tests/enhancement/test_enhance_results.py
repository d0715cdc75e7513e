"""What was measured of weights: one form, checked, and written when they are shipped."""

import json

import pytest
import torch

from m2diff import families
from m2diff.enhancement import cards
from m2diff.enhancement.results import CardScores, Measured, measured
from m2diff.errors import BadInput
from m2diff.families import stored
from m2diff.families.stored import unpack
from shipping import pack, ship, with_measured

SPEC = {"family": "regress", "network": {"slices": 4, "fold": 2, "width": 8, "multipliers": [1, 2], "groups": 4}}
TEST = Measured(
    on="4 scans",
    by="a command",
    by_drf={"100": CardScores(psnr=27, input_psnr=18), "20": CardScores(psnr=31, input_psnr=25)},
)


def test_a_shipped_run_answers_to_its_new_name_and_has_its_numbers(tmp_path):
    torch.manual_seed(0)
    run = tmp_path / "run" / "weights.safetensors"
    run.parent.mkdir()
    cards.save_weights(families.build(SPEC), SPEC, {"name": "regress-base", "results": {"gain": 2.0}}, run)
    weights = ship(tmp_path / "run", tmp_path / "regress-tiny", TEST)
    loaded = cards.load_weights(weights)
    assert weights.name == "regress-tiny.safetensors" and loaded.card["name"] == "regress-tiny"
    assert loaded.card["results"]["gain"] == 2.0 and measured(loaded.card) == TEST
    assert list(loaded.card["results"]["test"]["by_drf"]) == ["20", "100"]
    assert "ssim" not in json.dumps(loaded.card)  # what was not taken is not there


def test_weights_ship_without_numbers_too(tmp_path):
    weights = cards.save_weights(families.build(SPEC), SPEC, {}, tmp_path / "a.safetensors")
    assert measured(cards.load_weights(ship(weights, tmp_path / "b")).card) is None


@pytest.mark.parametrize(
    "test",
    [
        {"on": "x", "by": "y", "by_drf": {"20": {"psnr": 30.0}}},
        {"on": "x", "by": "y", "by_drf": {"0.5": {"psnr": 30.0, "input_psnr": 20.0}}},
        {"on": "x", "by_drf": {}},
        {"on": "x", "by": "y", "by_drf": {"DRF 20": {"psnr": 30.0, "input_psnr": 20.0}}},
    ],
)
def test_numbers_of_another_form_are_refused(test):
    with pytest.raises(BadInput, match=r"results\.test"):
        measured({"results": {"test": test}})


@pytest.mark.parametrize("name", stored.shipped())
def test_the_shipped_cards_have_their_numbers_in_this_form(name):
    card = stored.read_card(stored.weights_folder() / f"{name}.safetensors")
    assert card["name"] == name
    found = measured(card)
    assert found is None or with_measured(card, found) == card


def test_shipped_weights_may_be_packed(tmp_path):
    model, spec = families.build(SPEC), families.resolve(SPEC)
    source = cards.save_weights(model, spec, {"licence": "CC0"}, tmp_path / "run" / "weights.safetensors")
    shipped = ship(source, tmp_path / "b", step=0.1)
    assert shipped.stat().st_size < 0.75 * source.stat().st_size
    loaded = cards.load_weights(shipped)
    expected = unpack(pack({key: value.half() for key, value in model.state_dict().items()}, 0.1))
    for key, value in loaded.model.state_dict().items():
        assert torch.equal(value, expected[key].float())


def test_packed_weights_ship_again_with_new_numbers_and_do_not_change(tmp_path):
    spec = families.resolve(SPEC)
    source = cards.save_weights(families.build(SPEC), spec, {}, tmp_path / "run" / "weights.safetensors")
    once = ship(source, tmp_path / "b", step=0.1)
    before = once.read_bytes()
    assert ship(once, once, TEST, step=0.1).read_bytes() == before and measured(stored.read_card(once)) == TEST
