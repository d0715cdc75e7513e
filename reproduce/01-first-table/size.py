"""How much a network minds the size of what it is shown: python size.py COHORT WEIGHTS OUT.md PERSONS

COHORT: a few simulated scans of people that the weights never saw, at DRF 20 and 100; the first PERSONS of it are used.
The weights answer each with one look: the head's whole box in slabs of their own number of slices, in thicker ones, and
in overlapping square tiles, as small as the crops that networks are trained on, faded into each other. PSNR, dB,
against the standard-dose scan and against the noise-free image.
"""

from __future__ import annotations

import copy
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from m2diff.data import views
from m2diff.enhancement import volume
from m2diff.enhancement.volume import MARGIN, Options
from m2diff.evaluation.case import Case
from m2diff.evaluation.metrics import score
from m2diff.families import build, packed, stored
from m2diff.io import bids
from m2diff.nn.precision import channels_last
from m2diff.preparation import mask, pair

DOSES, SLICES, TILES = (20.0, 100.0), (1.5, 2.0), (80, 96)
OVERLAP = 0.4
"""Least share of a tile that the next one covers too."""


def loaded(weights: str, times: float = 1.0) -> torch.nn.Module:
    """The model, with slabs so many times as thick as its own."""
    path = stored.find(weights)
    spec = copy.deepcopy(stored.read_card(path)["model"])
    spec["network"]["slices"] = int(times * spec["network"]["slices"])
    model = build(spec)
    model.load_state_dict(packed.load(path))
    return channels_last(model).eval()


def answered(model: torch.nn.Module, prepared: pair.Prepared, side: int | None) -> np.ndarray:
    """One look at the head's box, whole or in tiles of so many voxels; the scan itself elsewhere."""
    rows, columns, depth = mask.box(prepared.support, MARGIN)
    total, weight = np.zeros_like(prepared.low), np.zeros_like(prepared.low)
    for i in tiles(rows, side):
        for j in tiles(columns, side):
            place = (i, j, depth)
            image = views.from_stack(
                volume.answered(model, prepared, place, Options(steps=1), seed=0, first=prepared.low)
            )
            fade = np.multiply.outer(*(views.centre_heavy(s.stop - s.start).numpy() for s in (i, j)))[..., None]
            total[place] += fade * image
            weight[place] += fade
    return np.where(weight > 0, total / np.maximum(weight, 1e-6), prepared.low)


def tiles(span: slice, side: int | None) -> Iterator[slice]:
    """Evenly spaced pieces of a span."""
    length = span.stop - span.start
    if side is None or length <= side:
        yield span
        return
    number = 1 + int(np.ceil((length - side) / (side * (1 - OVERLAP))))
    for first in np.linspace(span.start, span.stop - side, number).round().astype(int):
        yield slice(int(first), int(first) + side)


def main(cohort: Path, weights: str, out: Path, persons: int) -> None:
    """Write the table."""
    own = loaded(weights)
    ways = {f"whole head, {own.needs.slices} slices": (own, None)}
    ways |= {f"whole head, {int(t * own.needs.slices)} slices": (loaded(weights, t), None) for t in SLICES}
    ways |= {f"tiles of {side} x {side}, {own.needs.slices} slices": (own, side) for side in TILES}
    found: dict[str, dict[float, list[tuple[float, float]]]] = defaultdict(lambda: defaultdict(list))
    for subject in bids.find_subjects(cohort)[:persons]:
        case = Case.load(cohort, subject)
        brain = case.mask.data > 0.5
        for drf in DOSES:
            prepared = pair.prepare(case.low[drf], case.t1, drf=drf, align=False)
            for name, (model, side) in ways.items():
                image = prepared.restore(answered(model, prepared, side), "size").data
                both = [score(image, best.data, brain).psnr for best in (case.standard, case.noise_free)]
                found[name][drf].append((both[0], both[1]))
    lines = [f"{persons} scans; PSNR dB against the standard-dose scan / the noise-free image", ""]
    lines += ["| shown | " + " | ".join(f"DRF {drf:g}" for drf in DOSES) + " |", "|---" * (1 + len(DOSES)) + "|"]
    for name, by_dose in found.items():
        cells = [" / ".join(f"{value:.2f}" for value in np.mean(by_dose[drf], axis=0)) for drf in DOSES]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    out.write_text("\n".join(lines) + "\n")
    sys.stdout.write(out.read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]), int(sys.argv[4]))
