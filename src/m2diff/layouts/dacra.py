"""Monash DaCRA / visfPET-fMRI (OpenNeuro ds003397): PET and MRI at once, FDG by bolus, infusion or both.

    sub-01/anat/sub-01_run-1_T1w.nii.gz
    sub-01/pet/sub-01_task-checkerboard_trc-18FFDG_rec-acdyn_run-1_pet.nii.gz     4D, frames of 16 s
    sub-01/pet/sub-01_task-checkerboard_trc-18FFDG_rec-acdyn_run-1_pet.json

Earlier versions lack ``trc`` and ``rec``. The standard scan is the mean of a run's frames, a lower dose that of some,
spread evenly. Each frame was reconstructed by itself, so OSEM's bias at few counts is in the standard scan too. Some
sidecars list the whole session's frames, so their count comes from the image. Frames of several lengths are refused.
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
from m2diff.io.bids_scans import PetSession, find_scans
from m2diff.layouts.visit import Visit
from m2diff.volume import Source, Volume

FACTORS = (4.0, 10.0, 20.0)
"""Doses made of frames, where a run has enough."""


def recognises(root: Path) -> bool:
    """Whether ``root`` is laid out so: BIDS-like, with dynamic PET under a task."""
    return any(root.glob("sub-*/pet/sub-*_task-*_pet.nii*"))


def visits(root: Path, factors: Sequence[float] = ()) -> Iterator[Visit]:
    """Every run of every participant."""
    for scan in find_scans(root):
        try:
            frames = _frames(scan.pet)
        except BadInput:
            frames = 0  # reading it raises the error
        if frames == 1:
            continue
        wanted = [1.0, *(factors or FACTORS)]
        subsets = {factor: chosen(frames, factor) for factor in wanted if frames / factor >= 1 or factor == 1.0}
        doses = {factor: partial(mean_frames, scan, subset) for factor, subset in subsets.items()}
        entities = {"trc": "18FFDG"} | {key: value for key, value in scan.entities.items() if key != "rec"}
        mri = None if scan.mri is None else partial(nifti.load, scan.mri, what="MRI")
        about = {"TracerName": "FDG", "TracerRadionuclide": "F18"} if entities["trc"] == "18FFDG" else {}
        yield Visit(f"dacra {scan.pet.name}", entities, doses, mri, sidecar=about)


def chosen(frames: int, factor: float) -> list[int]:
    """Indices of ``frames / factor`` frames (at least one), spread evenly (van der Corput); the doses are nested."""
    width = max(frames - 1, 1).bit_length()
    order = dict.fromkeys(int(f"{n:0{width}b}"[::-1], 2) * frames >> width for n in range(1 << width))
    return sorted(list(order)[: max(round(frames / factor), 1)])


def mean_frames(scan: PetSession, subset: Sequence[int]) -> Volume:
    """The mean of these frames, read one after the other; the file is first checked to its end."""
    _frames(scan.pet)
    about = nifti.read_sidecar(scan.pet)
    duration = _duration(about, scan)
    try:
        nifti.check_whole(scan.pet)
        image: Any = nib.load(scan.pet, keep_file_open=True)  # reads a packed file once, not once a frame
        total = np.zeros(image.shape[:3], dtype=np.float64)
        for frame in subset:
            total += np.asarray(image.dataobj[..., frame], dtype=np.float64)
    except Exception as trouble:  # nibabel and zlib raise whatever damaged bytes provoke
        raise BadInput(f"The PET {scan.pet.name} breaks off or is damaged; download it again.") from trouble
    if not np.isfinite(total).all():
        raise BadInput(f"The PET {scan.pet.name} holds NaN or infinity; download it again.")
    kept = {key: value for key, value in about.items() if key not in _PER_FRAME}
    kept |= {} if duration is None else {"FrameDuration": [duration * len(subset)]}
    source = Source(scan.pet, nifti.sha256(scan.pet), np.dtype(np.float32), kept | {"m2diffFrames": list(subset)})
    data = (total / len(subset)).astype(np.float32)
    return Volume(data, image.affine, nifti.unit_of(about), (f"mean of {len(subset)} frames",), source)


_PER_FRAME = ("FrameTimesStart", "FrameTimeStart", "FrameDuration", "DecayFactor", "ScatterFraction")


def _duration(about: Mapping[str, Any], scan: PetSession) -> float | None:
    """Seconds of one frame, None where not stated; refuses frames of several lengths."""
    durations = about.get("FrameDuration")
    if not isinstance(durations, list) or not all(isinstance(each, int | float) for each in durations):
        return None
    if len(set(durations)) > 1:
        raise BadInput(
            f"The frames of {scan.pet.name} must all last as long to be averaged, got {min(durations):g} to "
            f"{max(durations):g} s; average them yourself and use m2diff lower-dose."
        )
    return float(durations[0]) if durations else None


def _frames(path: Path) -> int:
    """Frames of a 4D image; 1 for a static one."""
    try:
        shape = nib.load(path).shape  # type: ignore[attr-defined]
    except Exception as trouble:  # nibabel raises whatever damaged bytes provoke
        raise BadInput(f"The PET {path.name} is no readable NIfTI file; download it again.") from trouble
    return int(shape[3]) if len(shape) == 4 else 1
