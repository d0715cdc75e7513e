"""The README's picture: the demo's person at DRF 20, low-dose, enhanced, standard and the difference of the last two.

m2diff demo --out demo && python reproduce/looks/demo.py demo docs/pictures/demo.png
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib
import nibabel as nib
import numpy as np

from m2diff.io import bids

matplotlib.use("Agg")

DRF = 20.0


def main(demo: Path, out: Path) -> None:
    """Draw one axial slice of each image on one grey scale, and the difference in colours."""
    from matplotlib import pyplot as plt

    person = bids.find_subjects(demo / "bids")[0]
    (enhanced,) = demo.glob("*_desc-enhanced_pet.nii.gz")
    low, made, standard, mask = (
        nib.as_closest_canonical(nib.load(path)).get_fdata()
        for path in (person.low[DRF], enhanced, person.standard, person.mask)
    )
    level = int(np.argmax(mask.sum(axis=(0, 1))))
    inside = np.argwhere(mask.any(axis=2))
    (a, b), (c, d) = inside.min(0) - 4, inside.max(0) + 5
    top = np.percentile(standard[mask > 0], 99.5)
    panels = [
        ("low dose (DRF 20)", low),
        ("enhanced", made),
        ("standard dose", standard),
        ("enhanced - standard", made - standard),
    ]
    figure, axes = plt.subplots(1, 4, figsize=(10, 3.6), facecolor="black")
    for axis, (title, image) in zip(axes, panels, strict=True):
        cut = image[max(a, 0) : c, max(b, 0) : d, level].T
        colours = (
            {"cmap": "RdBu_r", "vmin": -top / 2, "vmax": top / 2}
            if "-" in title
            else {"cmap": "gray", "vmin": 0, "vmax": top}
        )
        axis.imshow(cut, origin="lower", interpolation="nearest", **colours)
        axis.set_title(title, color="white", fontsize=11)
        axis.axis("off")
    figure.subplots_adjust(left=0.005, right=0.995, bottom=0.01, top=0.9, wspace=0.02)
    figure.savefig(out, dpi=110, facecolor="black")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
