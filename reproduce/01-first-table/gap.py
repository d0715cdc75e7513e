"""How well a network tells the tissues of people whom it never saw: python gap.py WEIGHTS DRF COHORT [COHORT ...]

Of each cohort (simulated, prepared beside itself if it is not yet) 48 slabs at one dose, with their MRI and otherwise
as in training (varied, at a random step, doses and reconstructions hidden from some). Of each tissue the divergence, in
nats, of the shares that the first head sees from the true ones, over the brain's voxels in proportion to their true
share.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from m2diff.batch import CLASSES
from m2diff.data.cohort import open_cohort, prepare_cohort
from m2diff.data.dataset import SlabDataset, collate
from m2diff.families import build, packed, stored
from m2diff.nn import FitHead
from m2diff.nn.precision import autocast
from m2diff.training.config import preset_of

ITEMS, BATCH, CROP, SEED = 48, 2, (120, 104), 5


def divergences(model: Any, cohort: Path, drf: float) -> Tensor:
    """(classes,) means over the slabs of ``cohort`` at ``drf``."""
    cache = prepare_cohort(cohort, cohort / "derivatives/m2diff-prepared")
    subjects = [
        replace(each, meta=replace(each.meta, ratio={drf: each.meta.ratio[drf]}))
        for each in open_cohort(cache)
        if drf in each.doses
    ]
    dataset = SlabDataset(subjects, slices=model.needs.slices, crop=CROP, target="expected", classes=True, seed=SEED)
    said: list[Tensor] = []
    head = next(module for module in model.modules() if isinstance(module, FitHead))
    hook = head.register_forward_hook(lambda _, __, out: said.append(out[1]))
    total, weight = torch.zeros(len(CLASSES)), torch.zeros(len(CLASSES))
    for first in range(0, ITEMS, BATCH):
        batch = collate([dataset[n] for n in range(first, first + BATCH)])
        with torch.no_grad(), autocast("cpu", "auto"):
            model.loss(batch, generator=torch.Generator().manual_seed(first))
        true = batch.classes.clamp(min=1e-6)
        apart = (true * (true.log() - said.pop().float().log_softmax(dim=1))).sum(dim=1, keepdim=True)
        inside = batch.classes * (batch.classes[:, :1] < 0.5)
        total += (apart * inside).sum(dim=(0, 2, 3, 4))
        weight += inside.sum(dim=(0, 2, 3, 4))
    hook.remove()
    return total / weight


def main(weights: str, drf: float, cohorts: list[Path]) -> None:
    """Print one line a cohort."""
    found = stored.find(weights)
    model = build(preset_of(weights, ["model.loss.dropout.mri=0"]).model).eval()
    model.load_state_dict(packed.load(found))
    print("| cohort |", " | ".join(CLASSES), "|")
    for cohort in cohorts:
        print(f"| {cohort.name} |", " | ".join(f"{value:.3f}" for value in divergences(model, cohort, drf)), "|")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(sys.argv[1], float(sys.argv[2]), [Path(each) for each in sys.argv[3:]])
