"""How far the plain reconstruction at few counts is biased, by scanner: python scanners.py COHORT OUT.md [DRF]

COHORT: a prepared cohort of `m2diff simulate --randomise` in its BIDS folder. Of every scan the cortex at the given
dose (voxels of which nine tenths are cortex at the scanner's resolution) over the noise-free reconstruction's, in
percent; by the number of subsets of the scan's OSEM.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from m2diff.batch import CLASSES
from m2diff.data.cohort import open_cohort
from m2diff.io import bids

CORTEX = CLASSES.index("cortex")


def main(root: Path, out: Path, drf: float) -> None:
    """Write the table."""
    found: dict[int, list[float]] = defaultdict(list)
    for subject in open_cohort(root / "derivatives" / "m2diff-prepared"):
        if drf not in subject.doses or subject.classes is None:
            continue
        protocol = json.loads(bids.record_path(root, subject.meta.label).read_text())["protocol"]
        inside = (np.asarray(subject.classes[CORTEX]) > 0.9 * 255) & (np.asarray(subject.mask) > 0)
        low = np.asarray(subject.low(drf))[inside].astype(np.float64).mean()
        clean = np.asarray(subject.noise_free)[inside].astype(np.float64).mean() * subject.meta.ratio[drf]
        found[protocol["subsets"]].append(100 * (low / clean - 1))
    lines = [f"Cortex at DRF {drf:g}, plain reconstruction", ""]
    lines += ["| subsets | scans | bias, mean and range % |", "|---|---|---|"]
    for subsets, each in sorted(found.items()):
        lines.append(f"| {subsets} | {len(each)} | {np.mean(each):+.2f} ({min(each):+.2f} to {max(each):+.2f}) |")
    out.write_text("\n".join(lines) + "\n")
    sys.stdout.write(out.read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3]) if len(sys.argv) > 3 else 100.0)
