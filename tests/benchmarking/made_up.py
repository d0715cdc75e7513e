"""Tiny made-up cohorts in the layout of `m2diff simulate`, and a network that trains in a second."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from m2diff.io import bids, nifti
from m2diff.volume import Volume

SHAPE = (28, 32, 26)
AFFINE = np.array([[2.0, 0, 0, -28], [0, 2, 0, -32], [0, 0, 2, -26], [0, 0, 0, 1]])
REGIONS = {
    7: "paracentral_lobule_left",
    11: "dorsolateral_parietal_cortex_left",
    13: "precuneus_left",
    21: "lateral_temporal_cortex_left",
    35: "cerebellar_cortex_left",
    53: "cerebral_white_matter_left",
}
DISEASED = (11, 13, 21)
TINY = (
    "model.network.slices=4",
    "model.network.width=8",
    "model.network.groups=4",
    "model.network.multipliers=[1, 1.5]",
    "data.crop=[16, 16]",
    "data.batch=2",
    "train.warmup=1",
    "train.precision=fp32",
    "train.threads=1",
)


def simulated(root: Path, people: dict[str, tuple[str, str]], doses: tuple[float, ...]) -> Path:
    """A cohort of ``people`` (label -> person, group): a ball of regions, lower where the disease is."""
    root.mkdir(parents=True)
    for label, (person, group) in people.items():
        _person(root, label, person, group, doses)
    lines = ["participant_id\tanatomy\tgroup", *(f"sub-{k}\t{p}\t{g}" for k, (p, g) in people.items())]
    (root / "participants.tsv").write_text("\n".join(lines) + "\n")
    return root


def _person(root: Path, label: str, person: str, group: str, doses: tuple[float, ...]) -> None:
    rng = np.random.default_rng(int(label))
    at = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    radius = np.sqrt((at**2).sum(axis=0))
    brain = radius < 0.8
    cortex = np.array(list(REGIONS))[np.clip(((np.arctan2(at[1], at[0]) / np.pi + 1) * 2.5).astype(int), 0, 4)]
    labels = np.where(brain, np.where(radius < 0.4, 53, cortex), 0)
    level = 1.0 + 0.05 * rng.standard_normal()
    uptake = np.where(labels == 53, 0.4, np.where(brain, level, 0.05))
    if group == "ad":
        uptake = np.where(np.isin(labels, DISEASED), 0.7 * uptake, uptake)
    lesions = np.zeros(SHAPE, dtype=np.int16)
    lesions[13:16, 24:27, 12:15], lesions[20:23, 8:11, 12:15] = 1, 2
    t1 = np.where(brain, np.where(labels == 53, 2.0, 1.0), 0.1) * np.where(lesions == 2, 0.5, 1.0)
    uptake = 20_000 * uptake * np.where(lesions == 1, 2.0, 1.0)
    clean = gaussian_filter(uptake, 0.8)

    def save(data: np.ndarray, path: Path, unit: str = "unknown") -> None:
        nifti.save(Volume(data.astype(np.float32), AFFINE, unit), path)

    save(t1 + 0.01 * rng.standard_normal(SHAPE), bids.t1_path(root, label))
    for drf in (1.0, *doses):
        noise = gaussian_filter(rng.standard_normal(SHAPE), 0.7) * 800 * np.sqrt(drf)
        save(np.maximum(clean + noise * np.sqrt(clean / 20_000), 0), bids.pet_path(root, label, drf), "Bq/mL")
    for what, data in (("truth", uptake), ("noisefree", clean), ("regions", labels), ("brain", brain)):
        save(data, bids.derived_path(root, label, what), "Bq/mL" if what in ("truth", "noisefree") else "unknown")
    save(lesions, bids.derived_path(root, label, "lesions"))
    record = {
        "anatomy": person,
        "group": group,
        "regions": {str(code): name for code, name in REGIONS.items()},
        "protocol": {"resolution_mm": 2.0, "postfilter_mm": 2.0},
        "lesions": [{"code": 1, "kind": "pet_hot", "factor": 2.0}, {"code": 2, "kind": "mri_only", "factor": 0.5}],
    }
    bids.record_path(root, label).write_text(json.dumps(record))
