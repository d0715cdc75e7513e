"""How much contrast OSEM loses at few counts, by how it was done: python scanners.py OUT.md COHORT...

COHORT: BIDS folders of `m2diff simulate`. In each scan and at each dose, low - noise-free is fitted by a constant and a
share of the noise-free image, over the brain and three voxels around it. Noise is independent of the image: that
share is what the reconstruction adds at that dose to the image's contrast or (negative) takes from it, so that hot
structures come out too cold and cold ones too hot while the mean over the brain is kept. The second table says how much
of it is known from what a sidecar tells: R2 of a quadratic in log2 of the updates (iterations x subsets), subsets and
counts, each scan left out in turn.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed
from scipy import ndimage

from m2diff.io import bids, nifti

DOSES = (20.0, 100.0)
GROUPS = ((0, 32), (33, 48), (49, 63), (64, 100))
"""Numbers of updates, from and to."""
Scan = dict[str, float]


def measured(subject: bids.Subject) -> Scan:
    """The share (percent) by dose, and what may explain it."""
    assert subject.record is not None and subject.noise_free is not None and subject.mask is not None
    record = json.loads(subject.record.read_text())
    protocol = record["protocol"]
    clean = nifti.load(subject.noise_free).data.astype(np.float64)
    brain = nifti.load(subject.mask, what="mask").data > 0.5
    around = ndimage.binary_dilation(brain, iterations=3)
    level = clean[brain].mean()
    columns = np.stack([np.ones(around.sum()), clean[around] / level], axis=1)
    found: Scan = {
        "updates": protocol["iterations"] * protocol["subsets"],
        "subsets": protocol["subsets"],
        "counts": protocol["counts"],
        "fdg": float(record["uptake"]["pattern"] == "fdg"),
    }
    for drf in DOSES:
        low = nifti.load(subject.low[drf]).data.astype(np.float64)
        off = (low[around] - clean[around]) / level
        found[f"{drf:g}"] = 100 * float(np.linalg.lstsq(columns, off, rcond=None)[0][1])
        found[f"brain {drf:g}"] = 100 * float(low[brain].mean() / level - 1)
    return found


def explained(scans: list[Scan], names: tuple[str, ...], drf: float) -> float:
    """R2 of the share from the logarithms of ``names`` and their products, by ridge regression, leaving one out."""
    wanted = np.array([scan[f"{drf:g}"] for scan in scans])
    logs = np.log2([[scan[name] for name in names] for scan in scans])
    logs = (logs - logs.mean(axis=0)) / logs.std(axis=0)
    products = [logs[:, i] * logs[:, j] for i in range(len(names)) for j in range(i, len(names))]
    table = np.column_stack([np.ones(len(scans)), logs, *products])
    ridge = 0.3 * np.diag([0.0] + [1.0] * (table.shape[1] - 1))
    hat = table @ np.linalg.solve(table.T @ table + ridge, table.T)
    left_out = (wanted - hat @ wanted) / (1 - np.diag(hat))
    return float(1 - (left_out**2).sum() / ((wanted - wanted.mean()) ** 2).sum())


def main(out: Path, roots: list[Path]) -> None:
    """Write the tables."""
    lines = []
    for root in roots:
        description = json.loads((root / "dataset_description.json").read_text())
        scans = Parallel(2)(delayed(measured)(subject) for subject in bids.find_subjects(root))
        lines += [f"## {_title(description)}: {len(scans)} scans", ""]
        lines += ["| updates | scans | share at DRF 20, % | at DRF 100, % | the brain's mean at DRF 100, % |"]
        lines += ["|---|---|---|---|---|"]
        for least, most in GROUPS:
            group = [scan for scan in scans if least <= scan["updates"] <= most]
            if group:
                cells = [_range([scan[name] for scan in group]) for name in ("20", "100", "brain 100")]
                lines.append(f"| {least} to {most} | {len(group)} | " + " | ".join(cells) + " |")
        lines.append("")
        fdg = [scan for scan in scans if scan["fdg"]]
        if len({scan["updates"] for scan in scans}) > 5:
            lines += ["| R2 at DRF 100 | all scans | FDG's pattern only |", "|---|---|---|"]
            for names in (("updates",), ("updates", "subsets"), ("updates", "subsets", "counts")):
                both = [f"{explained(each, names, 100.0):.2f}" for each in (scans, fdg)]
                lines.append(f"| {', '.join(names)} | " + " | ".join(both) + " |")
            lines.append("")
    out.write_text("\n".join(lines))
    sys.stdout.write(out.read_text())


def _title(description: dict) -> str:
    recipe = description["M2diffRecipe"]
    return f"seed {recipe['seed']}, " + ("random scanners" if recipe["randomise"] else "the default scanner")


def _range(values: list[float]) -> str:
    return f"{np.mean(values):+.2f} ({min(values):+.2f} to {max(values):+.2f})"


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(each) for each in sys.argv[2:]])
