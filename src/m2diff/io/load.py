"""One door for every input: a NIfTI file, a DICOM file or a folder of DICOM files becomes a Volume."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeAlias

from m2diff.errors import BadInput
from m2diff.io import nifti
from m2diff.volume import Volume

Image: TypeAlias = Volume | Path | str
"""What the public functions take for an image: one in memory, or where it lies."""

ENDINGS = (".nii", ".nii.gz", ".img", ".hdr", ".img.gz", ".hdr.gz")


def load_image(
    path: Path | str,
    *,
    what: Literal["PET", "MRI"] = "PET",
    series: str | None = None,
    frame: int | None = None,
    keep_phi: bool = False,
) -> Volume:
    """The image at ``path``; ``series`` picks one of a DICOM folder, ``frame`` one of a dynamic scan.

    Raises BadInput as ``io.nifti.load`` and ``io.dicom.load_series`` do.
    """
    path = Path(path)
    if path.name.lower().endswith(ENDINGS) and not path.is_dir():
        if series is not None:
            raise BadInput(
                f"A series is picked in a folder of DICOM files, but the {what} {path} is a NIfTI file; leave "
                f"{'--series' if what == 'PET' else '--mri-series'} out."
            )
        return nifti.load(path, what=what, frame=frame)
    from m2diff.io import dicom  # pydicom is only paid for where a scanner's files come in

    if dicom.is_dicom(path):
        return dicom.load_series(path, "PT" if what == "PET" else "MR", series=series, frame=frame, keep_phi=keep_phi)
    return nifti.load(path, what=what, frame=frame)


def as_volume(image: Image, *, what: Literal["PET", "MRI"] = "PET") -> Volume:
    """``image`` itself where it is in memory, else what lies at that path; BadInput as ``load_image``."""
    return image if isinstance(image, Volume) else load_image(image, what=what)
