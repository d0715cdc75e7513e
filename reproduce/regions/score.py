"""Dice of the regions on people the network never saw: report groups and fine classes, at 2 mm on the person's own
grid.

python reproduce/regions/score.py ANATOMIES PERSON ... [--weights region_net.pt]
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from scipy import ndimage

from m2diff.io import nifti
from m2diff.parcellation import atlas, segment
from m2diff.preparation import grid
from m2diff.simulation.tissue_maps import largest_component
from prepare import filled


def main(anatomies: Path, people: list[str], weights: Path | None) -> None:
    """Print the median Dice of each person and over all, and the worst regions."""
    if weights is not None:
        use(weights)
    regions, fine = {}, {}
    for person in people:
        t1, labels, tissues = (nifti.load(anatomies / f"{person}_{what}.nii.gz") for what in ("SS", "glm", "tissues"))
        inside = largest_component(tissues.data > 0)
        began = time.monotonic()
        parcels = segment.find(t1.with_data(t1.data * inside, "brain"))
        took = time.monotonic() - began
        classes, sides = filled(labels.data, tissues.data, inside)
        truth = classes.astype(np.int32) * 2 + (sides > 0)
        small = grid.to_working(t1)
        step = np.linalg.inv(t1.affine) @ small.affine
        there = ndimage.affine_transform(truth, step[:3, :3], step[:3, 3], small.data.shape, order=0, prefilter=False)
        mine = parcels.fine_on(small.affine, small.data.shape)
        fine[person] = dice(mine, there, range(6, 2 * len(atlas.classes())))
        regions[person] = dice(table()[mine], table()[there], atlas.regions())
        print(
            person,
            f"{took:.1f} s",
            *(f"{np.nanmedian(list(d[person].values())):.3f}" for d in (regions, fine)),
            flush=True,
        )
    for name, found in (("regions", regions), ("fine", fine)):
        mean = {n: np.nanmean([found[p].get(n, np.nan) for p in people]) for n in found[people[0]]}
        print(
            name,
            len(mean),
            f"median {np.nanmedian(list(mean.values())):.3f} mean {np.nanmean(list(mean.values())):.3f}",
        )
        if name == "regions":
            worst = sorted(mean, key=lambda n: mean[n])[:12]
            print(", ".join(f"{atlas.regions()[n]} {mean[n]:.2f}" for n in worst))


def table() -> np.ndarray:
    """Fine number -> region, without the cut of the pons, which is the same on both."""
    return segment.grouped(np.arange(2 * len(atlas.classes()), dtype=np.int16)[:, None, None]).ravel()


def dice(a: np.ndarray, b: np.ndarray, numbers: object) -> dict[int, float]:
    """Dice by number, of those that ``b`` holds."""
    size = max(int(a.max()), int(b.max())) + 1
    both = np.bincount(a[a == b].ravel(), minlength=size)
    either = np.bincount(a.ravel(), minlength=size) + np.bincount(b.ravel(), minlength=size)
    held = set(np.unique(b).tolist())
    return {n: 2 * both[n] / either[n] for n in numbers if n in held}  # type: ignore[attr-defined]


def use(weights: Path) -> None:
    """Score weights of a training run in place of the shipped ones."""
    import torch

    from m2diff.parcellation.network import RegionNet

    model = RegionNet()
    model.load_state_dict(torch.load(weights, weights_only=True))
    segment._network = lambda: model.eval().to(memory_format=torch.channels_last_3d)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("anatomies", type=Path), parser.add_argument("people", nargs="+")
    parser.add_argument("--weights", type=Path)
    given = parser.parse_args()
    main(given.anatomies, given.people, given.weights)
