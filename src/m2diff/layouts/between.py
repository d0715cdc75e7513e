"""One conversion: which formats are meant, and the conversion itself."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2diff.errors import BadInput
from m2diff.layouts import bids_out, sliced
from m2diff.layouts.convert import convert, recognise
from m2diff.layouts.visit import Visit

_NIFTI = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Request:
    """What `m2diff convert` was told; see its options."""

    source: Path
    out: Path
    form: str | None = None
    layout: str | None = None
    factors: tuple[float, ...] = ()
    subject: str = "01"
    session: str | None = None
    mri: Path | None = None
    modality: str = "PET"
    series: str | None = None
    mri_series: str | None = None
    frame: int | None = None
    like: Path | None = None
    voxel_mm: tuple[float, ...] = ()
    size: int = 128
    keep_phi: bool = False


def convert_between(request: Request, *, progress: bool = False) -> list[tuple[str, str]]:
    """Convert; returns the name and reason of each scan that failed. BadInput where nothing can be done."""
    source, out = request.source, request.out
    if not source.exists():
        raise BadInput(f"{source} does not exist; check the path.")
    bad = [factor for factor in request.factors if not (math.isfinite(factor) and factor > 1)]
    if bad:
        raise BadInput(f"Dose reduction factors lie above 1 (20 for a twentieth), got {bad[0]:g}; correct --drf.")
    if request.mri is None and request.mri_series is not None:
        raise BadInput("--mri-series picks a series of the MRI's folder, and no --mri was given; add it.")
    form = request.form or ("nifti" if out.name.endswith(_NIFTI) else "bids" if request.like is None else "dicom")
    if form != "nifti" and out.exists() and not out.is_dir():
        raise BadInput(f"{out} is a file; name a folder for what is made.")
    if form == "nifti":
        _to_nifti(request)
    elif form == "dicom":
        _to_dicom(request)
    elif form == "mat":
        if len(request.factors) != 1:
            raise BadInput("Slices are written for one dose: name it, as in --drf 20.")
        if not 16 <= request.size <= 1024:
            raise BadInput(f"A slice's side lies between 16 and 1024 voxels, got {request.size}; correct --size.")
        sliced.write_slices(source, out, drf=request.factors[0], size=request.size)
    elif request.layout or (source.is_dir() and recognise(source)):
        x = request.voxel_mm
        if x and (len(x) != 3 or not all(0.1 <= edge <= 20 for edge in x)):
            raise BadInput(f"--voxel-mm expects three edges in mm, as in 2,2,2, got {x}; correct it.")
        _, failures = convert(
            source, out, layout=request.layout, factors=request.factors,
            voxel_mm=(x[0], x[1], x[2]) if x else None, keep_phi=request.keep_phi, progress=progress,
        )  # fmt: skip
        return failures
    else:
        _to_bids(request)
    return []


def _to_bids(request: Request) -> None:
    """One person's PET series, and MRI, as a BIDS data set, new or with others in it; BadInput where one fails."""
    from m2diff.io.load import load_image

    labels = {"sub": request.subject} | ({"ses": request.session} if request.session is not None else {})
    for key, label in labels.items():
        bids_out.check_label(key, label)
    keep_phi, mri = request.keep_phi, request.mri
    scan = load_image(request.source, series=request.series, frame=request.frame, keep_phi=keep_phi)
    anatomy = None if mri is None else load_image(mri, what="MRI", series=request.mri_series, keep_phi=keep_phi)
    tracer = _trc(scan.source.sidecar if scan.source else {})
    visit = Visit(
        f"dicom {scan.source.sha256 if scan.source else request.source}",
        labels | ({"trc": tracer} if tracer else {}),
        {1.0: lambda: scan},
        None if anatomy is None else lambda: anatomy,
    )
    _, failures = bids_out.write_bids([visit], request.out, source="DICOM", factors=request.factors, keep_phi=keep_phi)
    if failures:
        raise BadInput(failures[0][1])


def _trc(sidecar: Mapping[str, Any]) -> str:
    """The label of ``trc-``: nuclide, mass first, and the tracer's name, as in 18FFDG; letters and digits only."""
    nuclide = re.sub(r"^([A-Za-z]+)-?(\d+)$", r"\2\1", str(sidecar.get("TracerRadionuclide", "")))
    name = re.sub(r"[^A-Za-z0-9]", "", str(sidecar.get("TracerName", "")))
    short = "FDG" if re.search(r"fluorodeoxyglucose|fludeoxyglucose|fdg", name, re.IGNORECASE) else name
    return re.sub(r"[^A-Za-z0-9]", "", nuclide) + short if short else ""


def _to_nifti(request: Request) -> None:
    """An image of any format as NIfTI with its sidecar."""
    from m2diff.io import nifti
    from m2diff.io.load import load_image
    from m2diff.io.sidecar import without_phi

    if request.modality not in ("PET", "MRI"):
        raise BadInput(f"--modality is PET or MRI, got {request.modality!r}; choose one.")
    volume = load_image(
        request.source, what="PET" if request.modality == "PET" else "MRI", series=request.series, frame=request.frame,
        keep_phi=request.keep_phi,
    )  # fmt: skip
    said = volume.source.sidecar if volume.source else {}
    about = {key: value for key, value in said.items() if key != "Units"}
    nifti.save(volume, request.out, sidecar=about if request.keep_phi else without_phi(about))


def _to_dicom(request: Request) -> None:
    """A NIfTI on the grid of a DICOM series as a series derived from it."""
    from importlib.metadata import version

    from m2diff.io import atomic, dicom, nifti
    from m2diff.io.axes import along
    from m2diff.io.load import load_image

    if request.like is None:
        raise BadInput("A DICOM series needs the one it came from: name its folder with --like.")
    original = load_image(request.like, series=request.series, frame=request.frame)
    image = along(nifti.load(request.source), original)
    if not image.same_grid(original):
        raise BadInput(f"{request.source} must lie on the grid of the series in --like, but does not; resample it.")
    if "unknown" not in (image.unit, original.unit) and image.unit != original.unit:
        raise BadInput(
            f"{request.source} is in {image.unit}, the series in --like in {original.unit}; convert the values first."
        )
    if request.out.is_dir() and any(request.out.iterdir()):
        raise BadInput(f"{request.out} is not empty; a series needs a folder of its own.")
    made = version("m2diff")
    derivation = dicom.Derivation(
        f"m2diff {request.source.name[:40]}",
        f"m2diff {made}: an image of the same grid, written as DICOM. {dicom.NOT_FOR_DIAGNOSIS}.",
        nifti.sha256(request.source),
        made,
    )
    with atomic.folder(request.out) as folder:
        dicom.write(original.with_data(image.data, "converted to DICOM"), folder, derivation)
