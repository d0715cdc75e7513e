"""Give weights that fit wider windows and a new judge of their answers (``nn/judge.py``), taught on what the otherwise
frozen network says.

    python reproduce/01-first-table/teach_judge.py COHORT WEIGHTS OUT.safetensors [ITEMS]

OUT is where ``m2diff train --from OUT.safetensors`` begins; nothing in them is told how a scan was reconstructed. The
network answers ITEMS training slabs as in a training step; of each head the judge's evidence at some voxels is kept,
and the judge learns what the answer lacks there.
"""

from __future__ import annotations

import sys
from pathlib import Path

import torch
from torch import Tensor, nn
from tqdm import tqdm

from m2diff.data.dataset import SlabDataset, collate, open_cohort
from m2diff.families import build, packed, resolve, stored
from m2diff.families.terms import item_weights
from m2diff.nn import FitHead
from m2diff.nn.judge import Judge, evidence
from m2diff.nn.precision import autocast
from m2diff.train.config import preset_of
from m2diff.train.export import export

NEVER_SEEN = "1036"
WINDOWS = (1, 2, 4, 8)
"""The fits to judge; a network that has fewer gets those that it lacks, the widest ones."""
UNUSED = -6.0
"""Logit of a fit that is new to a network's own mixture: a four hundredth of a share."""
SEED, BATCH, CROP, VOXELS = 4, 4, (80, 80), (2500, 500)
"""Of the draws; slabs at once, and their size; voxels kept of a slab inside and outside the brain."""
STEPS, VOXELS_A_STEP, RATE = 5000, 16_384, 5e-3


def kept(model: nn.Module, dataset: SlabDataset, items: int) -> dict[str, list[tuple[Tensor, ...]]]:
    """Of each head's judge: evidence, what may be added, what is lacking and its weight, at the voxels drawn."""
    seen: dict[str, list[tuple[Tensor, ...]]] = {name: [] for name, _ in judges(model)}
    now: dict[str, tuple[Tensor, ...]] = {}
    for name, judge in judges(model):
        judge.register_forward_pre_hook(lambda _, given, name=name: now.update({name: given}))
    generator = torch.Generator().manual_seed(0)
    for first in tqdm(range(0, items, BATCH), "ask"):
        batch = collate([dataset[n] for n in range(first, first + BATCH)])
        now.clear()
        with torch.no_grad(), autocast("cpu", "auto"):
            model.loss(batch, generator=generator)
        weights = item_weights(batch.conditions.low, batch.target, balance=True)
        for name, given in now.items():
            told, added = evidence(*given[:4])
            lacking = batch.target - given[0]
            for item, weight in enumerate(weights):
                at = drawn(batch.target[item], generator)
                parts = (told[item].flatten(0, 2)[at], added[item].flatten(1).T[at], lacking[item].flatten()[at])
                seen[name].append((*parts, weight.expand(len(at))))
    return seen


def judges(model: nn.Module) -> list[tuple[str, Judge]]:
    """The judges of a model, by the name of their head."""
    heads = [(name, module) for name, module in model.named_modules() if isinstance(module, FitHead)]
    return [(name, head.judge) for name, head in heads if head.judge is not None]


def widened(state: dict[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """The weights without their judge, and with places in the mixtures for fits that they lack."""
    kept_on = {key: value for key, value in state.items() if ".judge." not in key}
    for key, value in model.state_dict().items():
        if ".blend." in key and len(kept_on[key]) < len(value):
            more = value.new_full((len(value) - len(kept_on[key]), *value.shape[1:]), 0.0)
            kept_on[key] = torch.cat([kept_on[key].to(value), more + UNUSED * key.endswith("bias")])
    return kept_on


def drawn(target: Tensor, generator: torch.Generator) -> Tensor:
    """Voxels of a slab, by number: some where there is uptake, some where there is next to none."""
    chosen = []
    for where, count in zip((target > 0.25, target <= 0.25), VOXELS, strict=True):
        there = where.flatten().nonzero().squeeze(1)
        chosen.append(there[torch.randperm(len(there), generator=generator)[:count]])
    return torch.cat(chosen)


def teach(judge: Judge, parts: list[tuple[Tensor, ...]]) -> None:
    """Least squares, every item's error over its input's."""
    told, added, lacking, weight = (torch.cat(each) for each in zip(*parts, strict=True))
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(judge.parameters(), weight_decay=1e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, STEPS)
    before = float((weight * lacking.square()).mean())
    for _ in range(STEPS):
        at = torch.randint(len(told), (VOXELS_A_STEP,), generator=generator)
        weights = judge.weigh(judge.inner(told[at]))
        loss = (weight[at] * ((weights * added[at]).sum(dim=1) - lacking[at]).square()).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    sys.stderr.write(f"{before:.5f} before, {float(loss.detach()):.5f} in the last step\n")


def main(cohort: Path, weights: Path, out: Path, items: int) -> None:
    """Ask the network, teach each judge, write the weights and their card."""
    fit = ["model.network.fit.judged=true", f"model.network.fit.windows={list(WINDOWS)}"]
    preset = preset_of(weights, [*fit, "model.network.recon=false"])
    model = build(preset.model)
    state = widened(packed.load(stored.find(weights)), model)
    missing = model.load_state_dict(state, strict=False).missing_keys
    assert all(".judge." in key for key in missing), missing
    subjects = [each for each in open_cohort(cohort) if each.person != NEVER_SEEN]
    dataset = SlabDataset(subjects, slices=model.needs.slices, crop=CROP, target="standard", seed=SEED)
    for name, parts in kept(model.eval(), dataset, items).items():
        teach(dict(judges(model))[name], parts)
    card = stored.read_card(stored.find(weights))
    told = {**card, "model": resolve(preset.model)}
    export(model, told, out.parent, weights=out.name, name=out.with_suffix(".json").name)


if __name__ == "__main__":
    torch.set_num_threads(1)
    cohort, weights, out = map(Path, sys.argv[1:4])
    main(cohort, weights, out, int(sys.argv[4]) if len(sys.argv) > 4 else 800)
