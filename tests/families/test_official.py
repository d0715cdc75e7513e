"""The paper's network is ours: its released parameters load and give its released numbers."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from m2diff.batch import Conditions
from m2diff.errors import BadInput
from m2diff.families import official
from m2diff.families.m2diff import M2Diff, M2DiffConfig, M2DiffNetwork

SHARED = Path(os.environ.get("M2DIFF_SHARED", Path(__file__).parents[2] / "../shared"))
REFERENCE = SHARED / "reference"
WEIGHTS = REFERENCE / "official_128ch32_weights.safetensors"
IO = REFERENCE / "official_128ch32_io.safetensors"
KEYS = REFERENCE / "official_128ch128_keys.json"

needs_reference = pytest.mark.skipif(not WEIGHTS.exists(), reason="shared reference numbers are not here")


@needs_reference
def test_the_released_network_gives_its_released_numbers(capsys):
    assert official.check_command(["check", str(WEIGHTS), str(IO)]) == 0
    printed = capsys.readouterr().out
    for name in ("pet_head", "mri_head", "loss_pet", "loss_mri", "loss_agreement", "sample_pet", "sample_mri"):
        assert f"{name} " in printed
    for name in ("out.0.weight", "out.0.bias", "out.2.weight", "out.2.bias"):
        assert name in printed


@needs_reference
def test_another_network_does_not_pass(tmp_path, capsys):
    tensors = load_file(WEIGHTS)
    tensors["middle_block.1.proj_out.weight"] = -tensors["middle_block.1.proj_out.weight"]
    save_file(tensors, tmp_path / "other.safetensors")
    assert official.check_command(["check", str(tmp_path / "other.safetensors"), str(IO)]) == 1
    assert "DIFFERENT" in capsys.readouterr().out


@needs_reference
def test_the_full_size_network_maps_without_a_tensor_left_over():
    shapes = {name: tuple(shape) for name, shape in json.loads(KEYS.read_text()).items()}
    with torch.device("meta"):
        model = M2Diff(official.configuration(shapes))
    mapped = {official.our_name(name): shape for name, shape in shapes.items() if not name.startswith("out.")}
    assert len(mapped) == len(shapes) - 4
    assert mapped == {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}


@needs_reference
def test_a_half_of_the_parameters_is_refused_in_one_sentence(tmp_path, capsys):
    tensors = {name: tensor for name, tensor in load_file(WEIGHTS).items() if not name.startswith("mri_")}
    save_file(tensors, tmp_path / "half.safetensors")
    assert official.check_command(["check", str(tmp_path / "half.safetensors"), str(IO)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("content", [None, b"", b"not safetensors at all, by a long way"])
def test_a_file_that_cannot_be_read_is_refused_in_one_sentence(tmp_path, capsys, content):
    path = tmp_path / "weights.safetensors"
    if content is not None:
        path.write_bytes(content)
    assert official.check_command(["check", str(path), str(path)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "expected a safetensors file" in said


def test_parameters_of_something_else_are_refused():
    with pytest.raises(BadInput, match="released M2Diff format"):
        official.import_released({"conv.weight": torch.zeros(3, 3)})
    with pytest.raises(BadInput, match="released M2Diff format"):
        official.our_name("input_blocks.1.0.surprise.weight")


def test_missing_or_misshapen_recordings_are_refused():
    model = M2Diff(
        official.configuration(
            {"input_blocks.0.0.weight": (8, 2, 3, 3), "input_blocks.1.0.in_layers.2.weight": (8, 8, 3, 3)}
        )
    )
    with pytest.raises(BadInput, match="lacks x_t"):
        official.compare(model, {})


def small_record() -> dict[str, torch.Tensor]:
    """What a tiny network would be compared with: right in form."""
    image = torch.zeros(2, 1, 8, 8)
    tape = torch.zeros(3, *image.shape)
    steps = {"t": torch.tensor([3, 700]), "timestep_map": torch.tensor([0, 999]), "noise_tape": tape}
    return {**dict.fromkeys(official.IMAGES, image), **dict.fromkeys(official.LOSSES, torch.zeros(1)), **steps}


@pytest.fixture(scope="module")
def tiny() -> M2Diff:
    torch.manual_seed(0)
    return M2Diff(M2DiffConfig(network=M2DiffNetwork(slices=1, fold=1, width=8, multipliers=(1, 1), groups=4))).eval()


def test_a_recording_of_several_images_at_steps_of_their_own_is_compared(tiny):
    names = [difference.name for difference in official.compare(tiny, small_record())]
    assert set(names) == {"pet_head", "mri_head", *official.LOSSES, "timestep_map", "sample_pet", "sample_mri"}


def test_a_recorded_batch_has_a_loss_for_each_item_or_their_mean(tiny):
    record = small_record() | {"target": torch.stack([torch.zeros(1, 8, 8), torch.ones(1, 8, 8)])}
    ours = official._losses(tiny, record | dict.fromkeys(official.LOSSES, torch.zeros(2)), conditions(record))
    assert ours["loss_pet"].shape == (2,) and ours["loss_pet"][0] != ours["loss_pet"][1]
    alone = {name: value[1:] for name, value in record.items() if name in (*official.IMAGES, "t")}
    one = official._losses(tiny, {**record, **alone}, conditions(alone))
    torch.testing.assert_close(one["loss_pet"], ours["loss_pet"][1])
    mean = official._losses(tiny, record, conditions(record))
    torch.testing.assert_close(mean["loss_pet"], ours["loss_pet"].mean())
    found = {d.name: d for d in official.compare(tiny, {**record, **ours})}
    assert all(found[name].largest == 0 for name in official.LOSSES)


def conditions(record):
    return Conditions(low=record["low"], mri=record["mri"])


@pytest.mark.parametrize(
    ("name", "wrong", "match"),
    [
        ("t", torch.tensor([3, 1000]), r"t holds whole steps from 0 to 999.*\[3, 1000\]"),
        ("t", torch.tensor([3, -1]), "t holds whole steps"),
        ("t", torch.tensor([3.0, 4.0]), "t holds whole steps.*float32"),
        ("t", torch.tensor([3]), r"t holds whole steps.*shape \(1,\)"),
        ("t", torch.tensor([True, False]), "t holds whole steps.*bool"),
        ("timestep_map", torch.tensor([[0, 999]]), r"timestep_map holds whole steps.*shape \(1, 2\)"),
        ("timestep_map", torch.tensor([0.0, 999.0]), "timestep_map holds whole steps.*float32"),
        ("low", torch.zeros(2, 1, 8, 8, dtype=torch.float16), r"low is float16 of shape \(2, 1, 8, 8\)"),
        ("x_t", torch.zeros(2, 1, 8, 8, dtype=torch.float16), "x_t is float16"),
        ("sample_pet", torch.zeros(1, 1, 8, 8), r"sample_pet is float32 of shape \(1, 1, 8, 8\)"),
        ("noise_tape", torch.zeros(2, 2, 1, 8, 8), "noise_tape is float32"),
        ("loss_pet", torch.zeros(3), r"one for each of the 2 images; loss_pet is float32 of shape \(3,\)"),
    ],
)
def test_a_recording_that_would_be_broadcast_or_break_is_refused(tiny, name, wrong, match):
    with pytest.raises(BadInput, match=match):
        official.compare(tiny, {**small_record(), name: wrong})
