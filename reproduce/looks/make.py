"""Before and after on two scans that somebody else made: BrainWeb-based PET with its T1, and a real florbetapir scan.

    python reproduce/looks/make.py DATA OUT

DATA holds brainweb06/ (brainweb06_pet_osem.nii.gz, brainweb06_t1.nii.gz) and av45/ (pet.nii.gz); OUT gets one PNG each.
Neither scan was seen in training, and neither comes from this project's simulator.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import matplotlib
import numpy as np

from m2diff.enhancement.enhanced import Enhanced
from m2diff.enhancement.run import enhance

matplotlib.use("Agg")

CASES = {
    "brainweb06": ("brainweb06/brainweb06_pet_osem.nii.gz", "brainweb06/brainweb06_t1.nii.gz"),
    "brainweb06-pet-alone": ("brainweb06/brainweb06_pet_osem.nii.gz", None),
    "av45": ("av45/pet.nii.gz", None),
}


def picture(result: Enhanced, path: Path) -> None:
    """Three planes of MRI (where there is one), input, output and their difference, on the PET's grid."""
    import matplotlib.pyplot as plt

    low, high = result.low.data, result.volume.data
    top = float(np.percentile(high[high > high.max() * 0.05], 99.5))
    panels = [("input", low, "gray_r", 0, top), ("enhanced", high, "gray_r", 0, top)]
    panels.append(("enhanced - input", high - low, "RdBu_r", -top / 2, top / 2))
    if result.mri is not None:
        panels.insert(0, ("MRI", result.mri.data, "gray", 0, 2.5))
    weight = np.clip(high, 0, None)
    centre = [int((weight.sum(tuple(a for a in range(3) if a != k)) @ np.arange(n)) / weight.sum())
              for k, n in enumerate(high.shape)]  # fmt: skip
    cuts = [lambda v: v[:, :, centre[2]], lambda v: v[:, centre[1], :], lambda v: v[centre[0], :, :]]
    size = result.low.voxel_size
    aspects = [size[1] / size[0], size[2] / size[0], size[2] / size[1]]
    figure, axes = plt.subplots(3, len(panels), figsize=(3.2 * len(panels), 9), squeeze=False)
    for row, cut, aspect in zip(axes, cuts, aspects, strict=True):
        for axis, (name, data, colours, least, most) in zip(row, panels, strict=True):
            axis.imshow(cut(data).T, cmap=colours, vmin=least, vmax=most, origin="lower", aspect=aspect)
            axis.set_title(name)
            axis.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=70)
    plt.close(figure)


def main(data: Path, out: Path) -> None:
    """Enhance each case at the default setting and draw it."""
    out.mkdir(parents=True, exist_ok=True)
    for name, (pet, mri) in CASES.items():
        begin = time.perf_counter()
        result = enhance(data / pet, None if mri is None else data / mri)
        sys.stdout.write(f"{name}: {time.perf_counter() - begin:.1f} s, shape {result.low.shape}; {result.warnings}\n")
        picture(result, out / f"{name}.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
