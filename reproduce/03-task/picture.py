"""One lesion of each kind, with and without it, by dose and method: python picture.py ANATOMIES WORK OUT.png."""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

import methods
import people
from study import FILTERS, SEEDS

HALF = 14  # voxels around the lesion


def main(anatomies: Path, work: Path, out: Path, drf: float = 20.0) -> None:
    """Rows: the first person's lesions, one a kind; columns: with and without, in the standard scan and by method."""
    named, seed = methods.compared(work / FILTERS), SEEDS["run"]
    person = people.make(anatomies, people.NAMES, seed, 0)
    shown: dict[bool, dict[str, np.ndarray]] = {}
    for number in (0, 1):
        images = dict(people.scan(person, people.present(seed, 0, number), seed, number, [drf]))
        answers = {name: method(images[drf], person.t1, drf) for name, method in named.items()}
        shown[bool(number)] = {"standard dose": images[1.0].data, **{n: a.data for n, a in answers.items()}}
    first = people.present(seed, 0, 0)
    places = [next(n for n, s in enumerate(person.sites) if (s.diameter, s.hot) == kind) for kind in people.KINDS]
    columns = [(name, there) for name in shown[False] for there in (True, False)]
    figure, axes = plt.subplots(len(places), len(columns), figsize=(1.3 * len(columns), 1.4 * len(places)))
    for row, n in zip(axes, places, strict=True):
        site = person.sites[n]
        i, j, k = site.voxel
        for axis, (name, there) in zip(row, columns, strict=True):
            image = shown[there != first[n]][name]  # the second scan has the lesions that the first lacks
            top = np.percentile(shown[False]["standard dose"][person.brain], 99.5)
            axis.imshow(
                image[i - HALF : i + HALF + 1, j - HALF : j + HALF + 1, k].T,
                cmap="gray_r",
                vmin=0,
                vmax=top,
                origin="lower",
            )
            axis.set(xticks=[], yticks=[])
            axis.set_title(f"{name}\n{'lesion' if there else 'none'}", fontsize=6)
        row[0].set_ylabel(f"{'hot' if site.hot else 'cold'} {site.diameter:g} mm", fontsize=7)
    figure.tight_layout(pad=0.3)
    figure.savefig(out, dpi=90)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:4]))
