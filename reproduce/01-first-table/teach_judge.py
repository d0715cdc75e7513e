"""Teach the judges of a network (``nn/judge.py``) on, by what the otherwise frozen network says.

    python reproduce/01-first-table/teach_judge.py COHORT WEIGHTS OUT.safetensors --about SCANS \
        [--items N] [--keep LAMBDA]

The network answers N training slabs as in a training step; of each head the judge's evidence at some voxels is kept,
and the judges learn what the heads' answers and their mean lack there, going on from what they say now.

``--keep``: the weight, beside a slab's squared error, of what part of it goes with the truth itself
(``terms.shrinkage_error``); the truth is here the standard scan to be expected, which at DRF 2 has half of the low-dose
scan's noise.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from tqdm import tqdm

from m2diff.data.dataset import SlabDataset, collate, open_cohort
from m2diff.families import build, packed, stored
from m2diff.families.terms import INSIDE, item_weights, shrinkage
from m2diff.io.atomic import replacing
from m2diff.nn import FitHead
from m2diff.nn.judge import Judge, contrast
from m2diff.nn.precision import autocast
from m2diff.training.config import preset_of
from m2diff.training.export import commit

NEVER_SEEN = "1036"
SEED, BATCH, CROP, DOSE_POWER = 1, 2, (104, 96), 0.5
"""Of the draws; slabs at once, their size, and how much more often high DRFs are drawn."""
VOXELS = 2500, 500
"""Kept of a slab, inside (of an uptake above ``INSIDE``) and outside."""
FEWEST = 300
"""Voxels inside, below which a slab tells nothing of the brain's contrast and is left out."""
STEPS, AT_ONCE, RATE = 2000, 8, 2e-3
"""Of the teaching: slabs a step, and the highest rate."""


@dataclass(frozen=True)
class Drawn:
    """Some voxels of one slab; those of ``truth`` come first."""

    heads: list[tuple[Tensor, Tensor, Tensor]]
    """Of each head: what its judge knows (v, n), what it may add (v, c), what the judged answer lacks before (v,)."""
    truth: Tensor
    """(w, 3), of the voxels inside: what the answer should be (the standard scan to be expected, ``data.dataset``), its
    level and its contrast at two widths."""
    weight: float
    """Of the slab's squared error."""


def judges(model: nn.Module) -> list[Judge]:
    """The judges of a model, head by head."""
    heads = [module for module in model.modules() if isinstance(module, FitHead)]
    return [head.judge for head in heads if head.judge is not None]


def asked(model: nn.Module, dataset: SlabDataset, items: int) -> list[Drawn]:
    """What the judges are given of so many slabs, at the voxels drawn."""
    given: dict[int, tuple[Tensor, ...]] = {}
    for number, judge in enumerate(judges(model)):
        judge.register_forward_pre_hook(lambda _, shown, number=number: given.update({number: shown}))
    generator, found = torch.Generator().manual_seed(SEED), []
    for first in tqdm(range(0, items, BATCH), "ask"):
        batch = collate([dataset[n] for n in range(first, first + BATCH)])
        given.clear()  # a branch whose images are hidden has no head
        with torch.no_grad(), autocast("cpu", "auto"):
            model.loss(batch, generator=generator)
        seen = [(*judges(model)[number].seen(*shown), batch.target - shown[0]) for number, shown in given.items()]
        weights = item_weights(batch.conditions.low, batch.target, balance=True)
        truth = torch.cat([batch.target[:, None], contrast(batch.target)], dim=1)
        for n in range(BATCH):
            at, inside = drawn(batch.target[n], generator)
            heads = [
                (known[n].flatten(0, 2)[at], added[n].flatten(1).T[at], lacking[n].flatten()[at])
                for known, added, lacking in seen
            ]
            if inside >= FEWEST:
                found.append(Drawn(heads, truth[n].flatten(1).T[at[:inside]], float(weights[n])))
    return found


def drawn(target: Tensor, generator: torch.Generator) -> tuple[Tensor, int]:
    """Voxels of a slab, by number, those inside first; how many these are."""
    chosen = []
    for where, count in zip((target > INSIDE, target <= INSIDE), VOXELS, strict=True):
        there = where.flatten().nonzero().squeeze(1)
        chosen.append(there[torch.randperm(len(there), generator=generator)[:count]])
    return torch.cat(chosen), len(chosen[0])


def error(of: list[Judge], slab: Drawn, keep: float) -> Tensor:
    """The weighted squared error of a slab: half of the heads' mean, half of each; and ``keep`` times what of the
    mean's goes with the truth, the mean over its columns.
    """
    lacks = [
        lacking - (judge.weigh(judge.inner(known)) * added).sum(dim=1)
        for judge, (known, added, lacking) in zip(of, slab.heads, strict=False)  # PET alone has the first head only
    ]
    mean = torch.stack(lacks).mean(dim=0)
    squared = (mean.square().mean() + torch.stack(lacks).square().mean()) / 2
    along = shrinkage(mean[None, : len(slab.truth)], slab.truth.T[None])[0]
    return slab.weight * (squared + keep * along / len(slab.truth))


def teach(of: list[Judge], slabs: list[Drawn], keep: float) -> None:
    """Go on with the judges together, slab by slab."""
    generator = torch.Generator().manual_seed(SEED)
    optimizer = torch.optim.AdamW([each for judge in of for each in judge.parameters()], weight_decay=1e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS)
    for _ in tqdm(range(STEPS), "teach"):
        chosen = torch.randint(len(slabs), (AT_ONCE,), generator=generator).tolist()
        loss = torch.stack([error(of, slabs[n], keep) for n in chosen]).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()


def main(cohort: Path, weights: str, out: Path, items: int, keep: float, about: str) -> None:
    """Ask the network, teach its judges, write the weights and their card."""
    source = stored.find(weights)
    card, state = stored.read_card(source), packed.load(source)
    model = build(preset_of(weights).model).eval()
    model.load_state_dict(state)
    subjects = [each for each in open_cohort(cohort) if each.person != NEVER_SEEN]
    dataset = SlabDataset(
        subjects, slices=model.needs.slices, crop=CROP, target="expected", seed=SEED, dose_power=DOSE_POWER
    )
    slabs = asked(model, dataset, items)
    teach(judges(model), slabs, keep)
    told = card["training"]
    told["data"] = f"{told['data']}; its judges on {about}"
    told["judges"] = {"slabs": len(slabs), "keep": keep, "scans": len(subjects), "commit": commit()}
    taught = {key: value.contiguous() for key, value in model.state_dict().items() if ".judge." in key}
    with replacing(out) as file, replacing(out.with_suffix(".json")) as beside:
        beside.write_text(json.dumps({**card, "results": {}}, indent=2) + "\n")
        save_file({**state, **taught}, file)  # the rest bit for bit as it was


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", type=Path)
    parser.add_argument("weights")
    parser.add_argument("out", type=Path)
    parser.add_argument("--items", type=int, default=800)
    parser.add_argument("--keep", type=float, default=0.0)
    parser.add_argument("--about", required=True, help="the scans of COHORT, for the card")
    given = parser.parse_args()
    main(given.cohort, given.weights, given.out, given.items, given.keep, given.about)
