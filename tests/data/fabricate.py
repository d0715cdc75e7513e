"""A training cache of small made-up scans, for tests that need no physics."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from m2diff.data.cohort import FORMAT, Box, Meta, PreparedSubject, open_cohort

SHAPE = (12, 32, 28)  # d, h, w


def fabricate(folder: Path, persons: int = 3, doses: tuple[float, ...] = (4.0, 20.0)) -> list[PreparedSubject]:
    """Ellipsoid brains of random texture; noise grows with the dose reduction factor."""
    for number in range(persons):
        _one(folder / f"sub-{number:03d}", number, doses)
    return open_cohort(folder)


def _one(folder: Path, number: int, doses: tuple[float, ...]) -> None:
    rng = np.random.default_rng(number)
    folder.mkdir(parents=True)
    at = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    brain = (at**2).sum(axis=0) < 0.7
    texture = gaussian_filter(rng.standard_normal(SHAPE), 2.0)
    mri = np.where(brain, 1.0 + 2.0 * texture, 0.0)
    standard = gaussian_filter(np.where(brain, 1.0 + texture, 0.0), 1.0)
    ratio = {drf: 1.0 + 0.1 * k for k, drf in enumerate(doses)}
    for drf in doses:
        noise = 0.05 * np.sqrt(drf) * gaussian_filter(rng.standard_normal(SHAPE), 0.7)
        np.save(folder / f"low_drf{drf:g}.npy", ((standard + noise) * ratio[drf]).astype(np.float16))
    np.save(folder / "standard.npy", standard.astype(np.float16))
    np.save(folder / "noise_free.npy", standard.astype(np.float16))
    np.save(folder / "mri.npy", mri.astype(np.float16))
    np.save(folder / "mask.npy", brain)
    box = Box.around(brain)
    label = folder.name.removeprefix("sub-")
    meta = Meta(FORMAT, label, f"person-{number}", "healthy", 1.0, ratio, box, box, sizes={})
    (folder / "meta.json").write_text(meta.to_json())
