"""Monash DaCRA / visfPET-fMRI (OpenNeuro ds003397): PET and MRI at once, FDG by bolus, infusion or both.

    sub-01/anat/sub-01_run-1_T1w.nii.gz
    sub-01/pet/sub-01_task-checkerboard_trc-18FFDG_rec-acdyn_run-1_pet.nii.gz     4D, frames of 16 s
    sub-01/pet/sub-01_task-checkerboard_trc-18FFDG_rec-acdyn_run-1_pet.json

Earlier versions of the data set name the scans without ``trc`` and ``rec``. The static scan is the mean of a run's
frames; a lower dose is the mean of some of them, spread evenly over the run: those counts were really all there was.
Each frame was reconstructed by itself, so that whatever OSEM does at few counts is in the standard scan as well.
Sidecars of some runs list the frames of the whole session; the image says how many there are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from m2diff.errors import BadInput
from m2diff.io import nifti
from m2diff.io.bids_scans import Scan, find_scans
from m2diff.layouts.visit import Visit
from m2diff.volume import Source, Volume

FACTORS = (4.0, 10.0, 20.0)
"""Doses made of frames where a run has enough of them."""


def recognises(root: Path) -> bool:
    """Whether ``root`` is laid out so: BIDS-like, with dynamic PET under a task."""
    return any(root.glob("sub-*/pet/sub-*_task-*_pet.nii*"))


def visits(root: Path, factors: Sequence[float] = ()) -> Iterator[Visit]:
    """Every run of every participant."""
    for scan in find_scans(root):
        frames = _frames(scan.pet)
        if frames < 2:
            continue
        wanted = [1.0, *(factors or FACTORS)]
        subsets = {factor: chosen(frames, factor) for factor in wanted if frames / factor >= 1}
        doses = {factor: partial(mean_frames, scan, subset) for factor, subset in subsets.items()}
        entities = {key: value for key, value in scan.entities.items() if key != "rec"} | {"trc": "18FFDG"}
        mri = None if scan.mri is None else partial(nifti.load, scan.mri, what="MRI")
        yield Visit(_ordered(entities), doses, mri, sidecar={"TracerName": "FDG", "TracerRadionuclide": "F18"})


def chosen(frames: int, factor: float) -> list[int]:
    """Indices of ``frames / factor`` frames (at least one), spread evenly; a lower dose's lie among a higher one's.

    Frames are taken in the order of a van der Corput sequence, so every beginning of it is spread evenly.
    """
    width = max(frames - 1, 1).bit_length()
    order = dict.fromkeys(int(f"{n:0{width}b}"[::-1], 2) * frames >> width for n in range(1 << width))
    return sorted(list(order)[: max(round(frames / factor), 1)])


def mean_frames(scan: Scan, subset: Sequence[int]) -> Volume:
    """The mean of these frames, one read at a time."""
    image: Any = nib.load(scan.pet)
    total = np.zeros(image.shape[:3], dtype=np.float64)
    try:
        for frame in subset:
            total += np.asarray(image.dataobj[..., frame], dtype=np.float64)
    except (OSError, EOFError, ValueError) as trouble:
        raise BadInput(f"The PET {scan.pet} breaks off or is damaged; download it again.") from trouble
    about = nifti.read_sidecar(scan.pet)
    duration = _duration(about)
    kept = {key: value for key, value in about.items() if key not in _PER_FRAME}
    kept |= {} if duration is None else {"FrameDuration": [duration * len(subset)]}
    source = Source(scan.pet, nifti.sha256(scan.pet), np.dtype(np.float32), kept | {"m2diffFrames": list(subset)})
    data = (total / len(subset)).astype(np.float32)
    return Volume(data, image.affine, nifti.unit_of(about), (f"mean of {len(subset)} frames",), source)


_PER_FRAME = ("FrameTimesStart", "FrameTimeStart", "FrameDuration", "DecayFactor", "ScatterFraction")


def _duration(about: Mapping[str, Any]) -> float | None:
    """Seconds of one frame, where all last as long."""
    durations = about.get("FrameDuration")
    if not isinstance(durations, list) or len(set(map(str, durations))) != 1:
        return None
    return float(durations[0]) if isinstance(durations[0], int | float) else None


def _frames(path: Path) -> int:
    """Frames of a 4D image; 1 for a static one."""
    try:
        shape = nib.load(path).shape  # type: ignore[attr-defined]
    except Exception as trouble:  # nibabel raises whatever damaged bytes provoke
        raise BadInput(f"The PET {path} is no readable NIfTI file; download it again.") from trouble
    return int(shape[3]) if len(shape) == 4 else 1


def _ordered(entities: Mapping[str, str]) -> dict[str, str]:
    """BIDS's order of the entities that a PET scan has."""
    order = ("sub", "ses", "task", "trc", "run")
    return {key: entities[key] for key in order if key in entities}
