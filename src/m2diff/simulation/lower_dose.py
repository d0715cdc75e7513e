"""A low-dose counterpart of any standard-dose scan: `m2diff lower-dose PET --drf 20`.

The scan, taken as the activity, is projected; counts are drawn and thinned (``simulation.scanner``). The difference of
the two reconstructions is added to the scan. With counts like the scan's own, the noise variance becomes DRF times what
it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from m2diff.errors import BadInput
from m2diff.io import atomic, bids, nifti
from m2diff.io.load import Image, as_volume
from m2diff.io.reconstruction import without_reconstruction
from m2diff.io.sidecar import without_phi
from m2diff.preparation import grid, mask
from m2diff.simulation import scanner
from m2diff.volume import Volume

_ATTENUATION = 0.0099  # 1/mm at 511 keV, uniform: a PET scan does not show bone

_MARGIN = 6  # voxels of the working grid around the head that are projected too

MOST = 100_000  # dose reduction factor beyond which hardly a count is left


def lower_dose(
    pet: Image,
    drf: float | Sequence[float],
    *,
    counts: float = 1.0,
    postfilter_mm: float | None = None,
    seed: int = 0,
    progress: bool = False,
) -> dict[float, Volume]:
    """The scan at each dose reduction factor ``drf``, on its own grid and in its own unit; the doses are nested.

    ``counts``: the scan's own, in units of ``simulation.scanner.STANDARD_TRUES``. ``postfilter_mm``: FWHM of the
    Gaussian after reconstruction; None takes the default protocol's. Raises BadInput for factors of 1 and below.
    """
    pet = as_volume(pet)
    factors = [drf] if isinstance(drf, int | float) else list(drf)
    wanted = sorted({float(factor) for factor in factors})
    if not wanted or not all(1 < factor <= MOST for factor in wanted):
        raise BadInput(f"Dose reduction factors lie above 1, up to {MOST:,}, got {factors}; give 20 for a twentieth.")
    if not 1e-4 <= counts <= 1e4:
        raise BadInput(f"The counts are in units of a standard scan's (0.0001 to 10000), got {counts:g}; correct them.")
    if seed < 0:
        raise BadInput(f"--seed expects a whole number from 0 on, got {seed}.")
    working = grid.to_working(pet)
    head = mask.support(working.data)
    box = mask.box(head, _MARGIN)
    activity, place = _square(np.maximum(working.data, 0)[box])
    attenuation, _ = _square(head[box].astype(np.float32) * np.float32(_ATTENUATION))
    protocol = replace(
        scanner.PET_MR,
        pixels=activity.shape[0],
        slices=activity.shape[2],
        counts=counts * _share_in_view(working.data, box),
        postfilter_mm=scanner.PET_MR.postfilter_mm if postfilter_mm is None else postfilter_mm,
    )
    acquisition = scanner.acquire(activity, attenuation, protocol)
    full: np.ndarray | None = None
    made: dict[float, Volume] = {}
    drawings = scanner.dose_ladder(acquisition, wanted, np.random.default_rng(seed))
    bar = tqdm(drawings, total=len(wanted) + 1, desc="lower-dose", unit="dose", disable=not progress)
    for factor, drawn in bar:
        image = scanner.reconstruct(acquisition, drawn, factor)[place]
        if full is None:
            full = image
            continue
        added = np.zeros_like(working.data)
        added[box] = image - full
        made[factor] = pet.with_data(
            pet.data + working.undo(added), f"lowered to DRF {factor:g}; the scan's own noise stays in"
        )
    return made


def write_lower(
    made: dict[float, Volume], out: Path | str, *, counts: float, seed: int, keep_phi: bool = False
) -> list[Path]:
    """Write every dose as NIfTI with a sidecar; all or none."""
    out, names = Path(out), []
    with atomic.folder(out) as folder:
        for factor, volume in made.items():
            source = volume.source
            kept = {} if source is None else source.sidecar if keep_phi else without_phi(source.sidecar)
            stem = "pet" if source is None else nifti.stem(source.path).removesuffix("_pet")
            name = f"{stem}_desc-{bids.rec(factor)}_pet.nii.gz"
            about = {
                **{key: value for key, value in without_reconstruction(kept).items() if key != "Units"},
                "Description": f"simulated 1/{factor:g} of the dose; the noise that the scan already had stays in",
                "DoseReductionFactor": factor,
                "m2diff": {"counts": counts, "seed": seed, "source_sha256": source.sha256 if source else None},
            }
            nifti.save(volume, folder / name, dtype=np.float32, sidecar=about)
            names.append(out / name)
    return names


def _square(box: np.ndarray) -> tuple[np.ndarray, tuple[slice, slice, slice]]:
    """Pad a box (i, j, k) to an even square in plane; return it and where the box lies in it."""
    side = 2 * ((max(box.shape[:2]) + 1) // 2)
    before = [(side - n) // 2 for n in box.shape[:2]]
    padded = np.zeros((side, side, box.shape[2]), dtype=np.float32)
    place = (slice(before[0], before[0] + box.shape[0]), slice(before[1], before[1] + box.shape[1]), slice(None))
    padded[place] = box
    return padded, place


def _share_in_view(data: np.ndarray, box: tuple[slice, slice, slice]) -> float:
    """Share of the scan's activity inside ``box``."""
    positive = np.maximum(data, 0)
    total = float(positive.sum())
    return float(positive[box].sum()) / total if total > 0 else 1.0
