"""Train the region network on the people of ``prepare.py``; run again, it goes on.

    python reproduce/regions/train.py PREPARED OUT STEPS [--without PERSON ...]

Each step: one person, a random smooth warp, a new T1 contrast (real, or painted from the labels), a head or none.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from augment import Example, Examples
from m2diff.nn.precision import best_precision
from m2diff.parcellation.network import FOLD, RegionNet

CELLS = 5000  # cells of 4 mm in which each step takes its loss
RATE, WARM = 1.2e-3, 30
SAVE_EVERY = 100


def main(prepared: Path, out: Path, steps: int, without: list[str]) -> None:
    """Train to ``steps``; OUT holds the state and, at the end, ``region_net.pt`` (averaged weights)."""
    torch.manual_seed(0)
    files = [path for path in sorted(prepared.glob("*.npz")) if path.stem not in without]
    out.mkdir(parents=True, exist_ok=True)
    model = RegionNet().to(memory_format=torch.channels_last_3d)
    averaged = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99))
    optimiser = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=1e-2, betas=(0.9, 0.98))
    state, step = out / "state.pt", 0
    if state.is_file():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"]), averaged.load_state_dict(saved["averaged"])
        optimiser.load_state_dict(saved["optimiser"])
        step = saved["step"]
    low = best_precision("cpu") == "bf16"
    examples = torch.utils.data.DataLoader(Examples(files, step, steps), batch_size=None, num_workers=1)
    began, seen = time.monotonic(), []
    for example in examples:
        rate = RATE * min(1.0, (step + 1) / WARM) * max(0.02, (1 + np.cos(np.pi * step / steps)) / 2)
        for group in optimiser.param_groups:
            group["lr"] = float(rate)
        with torch.autocast("cpu", torch.bfloat16, enabled=low):
            features = model.features(example.image[None])
        loss = loss_of(model, features.float(), example)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()
        averaged.update_parameters(model)
        step += 1
        seen.append(float(loss.detach()))
        if step % 20 == 0:
            print(f"{step} loss {np.mean(seen[-20:]):.3f} {(time.monotonic() - began) / len(seen):.2f} s", flush=True)
        if step % SAVE_EVERY == 0 or step == steps:
            parts = {"model": model, "averaged": averaged, "optimiser": optimiser}
            torch.save({name: part.state_dict() for name, part in parts.items()} | {"step": step}, state)
            torch.save(averaged.module.state_dict(), out / "region_net.pt")


def loss_of(model: RegionNet, features: torch.Tensor, example: Example) -> torch.Tensor:
    """Cross-entropy and soft Dice of the classes, and cross-entropy of the sides, in cells drawn around the brain."""
    chosen = example.cells[torch.randperm(len(example.cells))[:CELLS]]
    cells = features.flatten(2)[0].T[chosen]
    logits = model.logits(cells).flatten(0, 1)
    classes, sides = (voxels(image)[chosen].flatten() for image in (example.classes.long(), example.sides))
    scores = logits[:, :-1]
    cross = F.cross_entropy(scores, classes)
    share = scores.softmax(1)
    truth = F.one_hot(classes, share.shape[1]).float()
    both, either = (share * truth).sum(0), share.sum(0) + truth.sum(0)
    there = truth.sum(0) > 0
    dice = 1 - (2 * both[there] / either[there]).mean()
    sided = sides != 0
    return cross + dice + 0.2 * F.binary_cross_entropy_with_logits(logits[sided, -1], (sides[sided] > 0).float())


def voxels(image: torch.Tensor) -> torch.Tensor:
    """(i, j, k) to (cells, 8): the voxels of each cell in the order in which the network folds them."""
    i, j, k = image.shape
    f = FOLD
    return image.reshape(i // f, f, j // f, f, k // f, f).permute(0, 2, 4, 1, 3, 5).reshape(-1, f**3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("prepared", type=Path), parser.add_argument("out", type=Path)
    parser.add_argument("steps", type=int), parser.add_argument("--without", nargs="*", default=[])
    given = parser.parse_args()
    main(given.prepared, given.out, given.steps, given.without)
