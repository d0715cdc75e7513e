"""How well the brain is found in an MRI alone: Dice with the true brain, with the head and without it.

python reproduce/registration/brain.py TEST_COHORT
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from m2diff.io import bids, nifti
from m2diff.preparation import grid
from m2diff.preparation.brain import brain_mask


def main(root: Path) -> None:
    """One line a scan, then the table."""
    scores: dict[str, list[float]] = {"head": [], "brain alone": []}
    for subject in bids.find_subjects(root):
        mri = nifti.load(subject.t1, what="MRI")
        truth = grid.onto(nifti.load(subject.mask, what="mask"), mri.affine, mri.shape) > 0.5
        for kind, found in scores.items():
            begun = time.process_time()
            image = mri if kind == "head" else mri.with_data(mri.data * truth, "stripped")
            brain = brain_mask(image).data > 0.5
            found.append(2 * float((brain & truth).sum()) / float(brain.sum() + truth.sum()))
            sys.stderr.write(f"{subject.label} {kind} {found[-1]:.4f} {time.process_time() - begun:.1f} s\n")
    lines = ["| MRI | scans | median Dice | worst |", "|---|---|---|---|"]
    for kind, found in scores.items():
        lines.append(f"| {kind} | {len(found)} | {np.median(found):.3f} | {min(found):.3f} |")
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
