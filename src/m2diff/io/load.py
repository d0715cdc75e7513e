"""Load a NIfTI file, a DICOM file or a DICOM folder as a Volume."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from m2diff.errors import BadInput
from m2diff.io import nifti
from m2diff.volume import Volume

Image: TypeAlias = Volume | Path | str  # an image in memory, or its path

ENDINGS = (".nii", ".nii.gz", ".img", ".hdr", ".img.gz", ".hdr.gz")


def load_image(
    path: Path | str,
    *,
    what: Literal["PET", "MRI"] = "PET",
    series: str | None = None,
    frame: int | None = None,
    keep_phi: bool = False,
) -> Volume:
    """Read ``path``. ``series`` picks a DICOM series, ``frame`` (from 1) a frame of a dynamic scan. Raises BadInput."""
    path = Path(path)
    if path.name.lower().endswith(ENDINGS) and not path.is_dir():
        if series is not None:
            raise BadInput(
                f"A series is picked in a folder of DICOM files, but the {what} {path} is a NIfTI file; leave "
                f"{'--series' if what == 'PET' else '--mri-series'} out."
            )
        return nifti.load(path, what=what, frame=frame)
    from m2diff.io import dicom  # pydicom is slow to import

    if dicom.is_dicom(path):
        return dicom.load_series(path, "PT" if what == "PET" else "MR", series=series, frame=frame, keep_phi=keep_phi)
    return nifti.load(path, what=what, frame=frame)


def as_volume(image: Image, *, what: Literal["PET", "MRI"] = "PET") -> Volume:
    """``image`` itself if it is in memory, otherwise read from that path; BadInput as ``load_image``."""
    return image if isinstance(image, Volume) else load_image(image, what=what)
