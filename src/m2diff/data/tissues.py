"""Tissue fractions of a simulated person, at the scanner's resolution, for networks to learn."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import numpy.typing as npt

from m2diff.batch import CLASSES
from m2diff.io import nifti
from m2diff.preparation import grid

_CENTRAL = ("caudate", "globus_pallidus", "thalamus")
_DEEP = ("brainstem", "pons", "hippocampus", "amygdala", "ventral_diencephalon")


def tissue_shares(labels: Path, record: Path) -> npt.NDArray[np.uint8]:
    """Fractions (classes, d, h, w) of ``batch.CLASSES`` in 255ths, on the working grid at the PET's resolution.

    ``labels``: the region map. ``record``: the simulation's JSON, for region names and scanner.
    """
    about = json.loads(record.read_text())
    codes = nifti.load(labels, what="label", allow_blank=True)
    by_code = np.zeros(256, dtype=np.int16)
    for code, name in about["regions"].items():
        by_code[int(code)] = CLASSES.index(tissue_of(name))
    tissue = by_code[codes.data.astype(np.int16)]
    # Two Gaussian blurs, the scanner's and the post-filter's, make one.
    fwhm = float(np.hypot(about["protocol"]["resolution_mm"], about["protocol"]["postfilter_mm"]))
    shares = []
    for number, name in enumerate(CLASSES[1:], start=1):
        member = codes.with_data((tissue == number).astype(np.float32), name)
        shares.append(np.transpose(grid.smoothed(grid.to_working(member).data, fwhm)))
    outside = np.maximum(1 - np.sum(shares, axis=0), 0)
    return np.rint(255 * np.clip([outside, *shares], 0, 1)).astype(np.uint8)


def tissue_of(region: str) -> str:
    """The tissue of a region by its name."""
    if "white_matter" in region:
        return "white_matter"
    if region == "csf":
        return "csf"
    if region.startswith("putamen"):
        return "putamen"
    if region.startswith(_CENTRAL):
        return "central_grey"
    return "deep_grey" if region.startswith(_DEEP) else "cortex"
