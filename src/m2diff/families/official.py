"""The bridge to the paper's released network: its parameters by name, and a check against its numbers.

    python -m m2diff.families.official check WEIGHTS.safetensors IO.safetensors

loads parameters in the released format (any width, any number of levels: the configuration is read off the tensors'
shapes), repeats every computation that IO records, and writes the largest absolute difference of each: both heads, the
three loss terms, and a five-step ancestral chain. Exit 0 when all are under 1e-4, 1 when not, 2 when a file is bad.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from m2diff.batch import Conditions
from m2diff.diffusion import q_sample, sample
from m2diff.errors import BadInput
from m2diff.families.m2diff import M2Diff, M2DiffConfig, M2DiffNetwork

LARGEST_DIFFERENCE = 1e-4
UNUSED = "out."  # a third head that the release builds and never calls
SHAPES = Mapping[str, tuple[int, ...]]
IMAGES = ("x_t", "low", "mri", "target", "noise", "pet_head", "mri_head", "sample_pet", "sample_mri")
LOSSES = ("loss_pet", "loss_mri", "loss_agreement")

# Released layer -> ours, within a block; the tables below place the blocks.
_RESBLOCK = {
    "in_layers.0": "norm_in",
    "in_layers.2": "conv_in",
    "emb_layers.1": "modulation",
    "out_layers.0": "norm_out",
    "out_layers.3": "conv_out",
    "skip_connection": "shortcut",
}
_ATTENTION = {"norm": "norm", "qkv": "qkv", "proj_out": "project"}
_STAGE = {
    **{layer: f"block.{ours}" for layer, ours in _RESBLOCK.items()},
    **{layer: f"attention.{ours}" for layer, ours in _ATTENTION.items()},
}
_MIDDLE = {
    **{f"0.{layer}": f"first.block.{ours}" for layer, ours in _RESBLOCK.items()},
    **{f"1.{layer}": f"first.attention.{ours}" for layer, ours in _ATTENTION.items()},
    **{f"2.{layer}": f"second.{ours}" for layer, ours in _RESBLOCK.items()},
}
_ELSEWHERE = {
    "time_embed.0": "time.first",
    "time_embed.2": "time.second",
    "input_blocks.0.0": "pet.stem.conv",
    "mri_input_blocks.0.0": "mri.stem.conv",
    "pet_output_layer": "pet.head.conv",
    "mri_output_layer": "mri.head.conv",
}
_INPUT = re.compile(r"(mri_)?input_blocks\.(\d+)\.\d\.(.+)")
_OUTPUT = re.compile(r"(mri_)?output_blocks\.(\d+)\.\d\.(.+)")
_BOTTOM = re.compile(r"(mri_)?middle_block\.(.+)")


@dataclass(frozen=True)
class Import:
    """A released network as ours, and the names of the tensors that are left out."""

    model: M2Diff
    dropped: tuple[str, ...]

    @property
    def summary(self) -> str:
        """What was loaded and what was left out, in one line."""
        network = self.model.config.network
        count = sum(parameter.numel() for parameter in self.model.parameters())
        widths = ", ".join(map(str, network.shape.widths))
        left_out = ", ".join(self.dropped) if self.dropped else "nothing"
        return (
            f"{count:,} parameters; channels {widths}; {network.blocks} blocks a level; attention at levels "
            f"{list(network.attention)}; left out (a head that nothing uses): {left_out}"
        )


@dataclass(frozen=True)
class Difference:
    """The largest absolute difference of one recorded quantity."""

    name: str
    largest: float

    @property
    def passed(self) -> bool:
        """Whether it is small enough to be the same network."""
        return self.largest < LARGEST_DIFFERENCE  # NaN is not


def our_name(released: str) -> str:
    """The name in ``M2Diff`` of a released tensor; BadInput for one that the format does not have."""
    layer, _, kind = released.rpartition(".")
    place = _ELSEWHERE.get(layer) or _branch_place(layer)
    if place is None or kind not in ("weight", "bias"):
        raise BadInput(f"expected parameters in the released M2Diff format, got {released!r}: pass such a file.")
    return f"{place}.{kind}"


def _branch_place(layer: str) -> str | None:
    """Where a layer of one of the two U-Nets stands, None where it has no place."""
    branch = "mri" if layer.startswith("mri_") else "pet"
    if match := _INPUT.fullmatch(layer):
        number, inner = int(match[2]) - 1, match[3]  # ours counts from behind the stem
        found = "conv" if inner == "op" else _STAGE.get(inner)
        return found and f"{branch}.encoder.steps.{number}.{found}"
    if match := _OUTPUT.fullmatch(layer):
        number, inner = int(match[2]), match[3]
        found = "up.conv" if inner == "conv" else _STAGE.get(inner)
        return found and f"{branch}.decoder.steps.{number}.{found}"
    if match := _BOTTOM.fullmatch(layer):
        found = _MIDDLE.get(match[2])
        return found and f"{branch}.middle.{found}"
    return None


def configuration(shapes: SHAPES) -> M2DiffConfig:
    """The configuration read off these shapes; they do not show heads (4) and groups (32), which are the paper's."""
    if "input_blocks.0.0.weight" not in shapes:
        raise BadInput(
            "expected parameters in the released M2Diff format, got none called input_blocks: pass that file."
        )
    width, channels_in = shapes["input_blocks.0.0.weight"][:2]
    levels: list[list[int]] = [[]]
    attention: set[int] = set()
    for number in range(1, _count_inputs(shapes)):
        if f"input_blocks.{number}.0.op.weight" in shapes:
            levels.append([])
            continue
        levels[-1].append(shapes[f"input_blocks.{number}.0.in_layers.2.weight"][0])
        if f"input_blocks.{number}.1.qkv.weight" in shapes:
            attention.add(len(levels) - 1)
    network = M2DiffNetwork(
        slices=channels_in // 2,
        fold=1,
        width=width,
        multipliers=tuple(level[-1] / width for level in levels),
        blocks=len(levels[0]),
        attention=tuple(sorted(attention)),
        middle_attention="middle_block.1.qkv.weight" in shapes,
        dropout=0.2,
    )
    return M2DiffConfig(network=network)


def _count_inputs(shapes: SHAPES) -> int:
    """How many input blocks a released network has, its stem included."""
    return 1 + max(int(match[2]) for name in shapes if (match := _INPUT.match(name)) and not match[1])


def import_released(tensors: Mapping[str, Tensor]) -> Import:
    """The released network as an ``M2Diff`` in evaluation mode, float32."""
    dropped = tuple(sorted(name for name in tensors if name.startswith(UNUSED)))
    kept = {name: tensor for name, tensor in tensors.items() if name not in dropped}
    try:
        model = M2Diff(configuration({name: tuple(tensor.shape) for name, tensor in kept.items()}))
        model.load_state_dict({our_name(name): tensor.float() for name, tensor in kept.items()})
    except BadInput:
        raise
    except (KeyError, IndexError, RuntimeError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise BadInput(
            f"expected the parameters of one whole released M2Diff, got others ({first}): pass that file."
        ) from error
    return Import(model.eval(), dropped)


@torch.no_grad()
def compare(model: M2Diff, recorded: Mapping[str, Tensor]) -> list[Difference]:
    """The largest absolute difference of every recorded result: heads, losses, chain; BadInput for bad recordings."""
    _require(recorded, len(model.schedule))
    conditions = Conditions(low=recorded["low"], mri=recorded["mri"])
    results = {
        **_heads(model, recorded, conditions),
        **_losses(model, recorded, conditions),
        **_chain(model, recorded, conditions),
    }
    return [
        Difference(name, float((ours.double() - recorded[name].double()).abs().max())) for name, ours in results.items()
    ]


def _require(recorded: Mapping[str, Tensor], steps: int) -> None:
    """Refuse recordings that a network with a chain of so many ``steps`` cannot be compared with."""
    missing = [name for name in (*IMAGES, *LOSSES, "t", "noise_tape", "timestep_map") if name not in recorded]
    if missing:
        raise BadInput(f"the file of recorded numbers lacks {', '.join(missing)}: pass the one that has them.")
    _require_images(recorded)
    _require_steps(recorded, steps)
    items = len(recorded["x_t"])
    for name in LOSSES:
        loss = recorded[name]
        if (loss.numel() != 1 and loss.shape != (items,)) or not loss.is_floating_point():
            raise BadInput(
                f"a recorded loss is one number, or one for each of the {items} images; {name} is {_described(loss)}: "
                "mend the file."
            )


def _require_images(recorded: Mapping[str, Tensor]) -> None:
    """All images (b, s, h, w) of one shape in float32, and one more noise than steps in the tape."""
    shape, kept = tuple(recorded["x_t"].shape), recorded["timestep_map"].numel()
    shapes = {**dict.fromkeys(IMAGES, shape), "noise_tape": (kept + 1, *shape)}
    for name, wanted in shapes.items():
        image = recorded[name]
        if len(shape) != 4 or image.shape != wanted or image.dtype != torch.float32:
            raise BadInput(
                f"the recorded images are float32 of one shape (b, s, h, w), and noise_tape holds one more than "
                f"timestep_map has steps; {name} is {_described(image)}: mend the file."
            )


def _require_steps(recorded: Mapping[str, Tensor], steps: int) -> None:
    """One step for each image, and the list of the steps kept, all of the chain's ``steps``."""
    for name, count in (("t", len(recorded["x_t"])), ("timestep_map", recorded["timestep_map"].numel())):
        at = recorded[name]
        whole = at.dtype in (torch.int32, torch.int64)
        if at.shape != (count,) or not count or not whole or not bool(((at >= 0) & (at < steps)).all()):
            raise BadInput(
                f"{name} holds whole steps from 0 to {steps - 1} in one row, and t one for each image; got "
                f"{_described(at)}, {at.flatten()[:5].tolist()}: mend the file."
            )


def _described(tensor: Tensor) -> str:
    """Type and shape of a tensor, for a sentence."""
    return f"{str(tensor.dtype).removeprefix('torch.')} of shape {tuple(tensor.shape)}"


def _heads(model: M2Diff, recorded: Mapping[str, Tensor], conditions: Conditions) -> dict[str, Tensor]:
    heads = model.heads(recorded["x_t"], recorded["t"], conditions)
    return {"pet_head": heads.pet, "mri_head": _present(heads.mri)}


def _losses(model: M2Diff, recorded: Mapping[str, Tensor], conditions: Conditions) -> dict[str, Tensor]:
    """The three loss terms at the image noised with the recorded noise: of each item, or their mean, as recorded."""
    target, t = recorded["target"], recorded["t"]
    heads = model.heads(q_sample(target, t, recorded["noise"], model.schedule), t, conditions)
    mri = _present(heads.mri)
    pairs = {"loss_pet": (heads.pet, target), "loss_mri": (mri, target), "loss_agreement": (heads.pet, mri)}
    items = {name: (one - other).square().flatten(1).mean(dim=1) for name, (one, other) in pairs.items()}
    return {name: each if recorded[name].numel() > 1 else each.mean() for name, each in items.items()}


def _chain(model: M2Diff, recorded: Mapping[str, Tensor], conditions: Conditions) -> dict[str, Tensor]:
    """Ancestral sampling on the recorded noise: the PET head carries the chain, the MRI head answers at its end."""
    tape, steps = recorded["noise_tape"], len(recorded["timestep_map"])
    second = torch.empty(0)

    def denoise(x_t: Tensor, t: int) -> Tensor:
        nonlocal second
        heads = model.heads(x_t, torch.full((len(x_t),), t), conditions)
        second = _present(heads.mri).clamp(-1.0, 1.0)
        return heads.pet

    pet = sample(
        denoise,
        model.schedule,
        tape[0],
        steps=steps,
        eta=1.0,
        variance="large",
        spacing="linspace",
        noise_for_step=lambda number: tape[number],
        clip=1.0,
    )
    visited = torch.tensor(model.schedule.respaced(steps).timesteps)
    return {"timestep_map": visited, "sample_pet": pet, "sample_mri": second}


def _present(image: Tensor | None) -> Tensor:
    if image is None:
        raise BadInput("the recorded numbers need an MRI, and none came: pass a file that has one.")
    return image


def _read(path: Path) -> dict[str, Tensor]:
    """All tensors of a safetensors file; BadInput where it cannot be read."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(
            f"expected a safetensors file at {path}, could not read one ({error}): check the path."
        ) from error


def check_recorded(weights: Path, io: Path) -> int:
    """Write the import's summary and every difference to standard output; the exit code (0 the same, 1 not)."""
    imported = import_released(_read(weights))
    differences = compare(imported.model, _read(io))
    passed = all(difference.passed for difference in differences)
    lines = [imported.summary]
    lines += [f"{d.name:16s} {d.largest:.2e}  {'same' if d.passed else 'DIFFERENT'}" for d in differences]
    lines.append(f"{'all' if passed else 'not all'} under {LARGEST_DIFFERENCE:g}")
    sys.stdout.write("\n".join(lines) + "\n")
    return 0 if passed else 1


def check_command(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's first lines."""
    parser = argparse.ArgumentParser(
        prog="python -m m2diff.families.official", description="The paper's network, checked."
    )
    verbs = parser.add_subparsers(dest="verb", required=True)
    verb = verbs.add_parser("check", help="load released parameters and compare every recorded number")
    verb.add_argument("weights", type=Path, help="released parameters, safetensors")
    verb.add_argument("io", type=Path, help="recorded inputs and outputs, safetensors")
    chosen = parser.parse_args(arguments)
    try:
        return check_recorded(chosen.weights, chosen.io)
    except BadInput as error:
        sys.stderr.write(f"{error}\n")
        return 2


if __name__ == "__main__":
    sys.exit(check_command())
