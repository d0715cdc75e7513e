"""Weights by name, with their card; what does not fit is refused."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from m2diff import families
from m2diff.enhancement import cards
from m2diff.errors import BadInput

SPEC = {
    "family": "regress",
    "network": {"slices": 4, "fold": 2, "width": 8, "multipliers": [1, 2], "groups": 4},
}


@pytest.fixture
def saved(tmp_path):
    torch.manual_seed(0)
    model = families.build(SPEC)
    return model, cards.save_weights(model, SPEC, {"tracers": ["FDG"], "licence": "CC0"}, tmp_path / "tiny.safetensors")


def test_saved_weights_come_back_to_half_precision(saved):
    model, path = saved
    loaded = cards.load_weights(path)
    assert loaded.name == "tiny"
    assert loaded.card["tracers"] == ["FDG"]
    assert len(loaded.sha256) == 64
    for key, value in model.state_dict().items():
        assert torch.allclose(loaded.model.state_dict()[key], value, rtol=1e-3, atol=1e-6)
    assert all(value.dtype == torch.float16 for value in load_file(path).values() if value.is_floating_point())


def test_loaded_weights_only_answer(saved):
    model = cards.load_weights(saved[1]).model
    assert not model.training
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_a_runs_folder_is_enough(saved, tmp_path):
    _, path = saved
    (tmp_path / "run").mkdir()
    path.rename(tmp_path / "run" / "weights.safetensors")
    path.with_suffix(".json").rename(tmp_path / "run" / "card.json")
    assert cards.load_weights(tmp_path / "run").card["licence"] == "CC0"


@pytest.mark.parametrize("name", ["gaussian", "nlm", "bowsher", "mr-guided"])
def test_filters_answer_to_their_names(name):
    loaded = cards.load_weights(name, drf=20)
    assert loaded.model.needs.view == "volume"
    assert loaded.sha256 is None
    assert name in cards.weight_names()


def test_an_unknown_name_is_refused_with_the_known_ones():
    with pytest.raises(BadInput, match=r"no-such-weights.*mr-guided"):
        cards.load_weights("no-such-weights")


def test_weights_without_a_card_are_refused(saved):
    saved[1].with_suffix(".json").unlink()
    with pytest.raises(BadInput, match="card"):
        cards.load_weights(saved[1])


@pytest.mark.parametrize("text", ["{", "[]", '{"licence": "CC0"}'])
def test_a_card_without_a_model_is_refused(saved, text):
    saved[1].with_suffix(".json").write_text(text)
    with pytest.raises(BadInput, match="card"):
        cards.load_weights(saved[1])


def test_truncated_weights_are_refused(saved):
    content = saved[1].read_bytes()
    saved[1].write_bytes(content[: len(content) // 2])
    with pytest.raises(BadInput, match="damaged"):
        cards.load_weights(saved[1])


def test_weights_of_another_model_are_refused(saved):
    path = saved[1]
    card = json.loads(path.with_suffix(".json").read_text())
    card["model"]["network"]["width"] = 16
    path.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(BadInput, match="do not fit"):
        cards.load_weights(path)
    save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(BadInput, match="do not fit"):
        cards.load_weights(path)
