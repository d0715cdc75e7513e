"""``m2diff convert``: between DICOM, NIfTI, BIDS and the data sets that people have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from m2diff.cli.console import console
from m2diff.cli.options import AsJson, FrameNumber, KeepPhi, MriSeries, PetSeries, Quiet, numbers


def convert_command(
    source: Annotated[Path, typer.Argument(help="DICOM, NIfTI, a BIDS cohort, or a data set in a known layout.")],
    out: Annotated[Path, typer.Argument(help="A .nii.gz file, or the folder of what is made.")],
    to: Annotated[
        Literal["bids", "nifti", "dicom", "mat"] | None,
        typer.Option(help="Default: nifti where OUT is such a file, dicom with --like, else bids."),
    ] = None,
    layout: Annotated[
        str | None, typer.Option(help="dacra, adni, udpet or mat; default: recognised (docs/recipes).")
    ] = None,
    drf: Annotated[str, typer.Option(help="Doses to keep, to make of frames, or to simulate, such as 4,20.")] = "",
    subject: Annotated[str, typer.Option(help="DICOM to BIDS: the participant's label.")] = "01",
    session: Annotated[str | None, typer.Option(help="DICOM to BIDS: the session's label.")] = None,
    mri: Annotated[Path | None, typer.Option(help="DICOM to BIDS: the MRI of the same person.")] = None,
    modality: Annotated[str, typer.Option(help="DICOM to NIfTI: PET or MRI.")] = "PET",
    series: PetSeries = None,
    mri_series: MriSeries = None,
    frame: FrameNumber = None,
    like: Annotated[Path | None, typer.Option(help="NIfTI to DICOM: the series that the scan came from.")] = None,
    voxel_mm: Annotated[str, typer.Option(help="mat to BIDS: voxel edges, such as 2,2,2.")] = "",
    size: Annotated[int, typer.Option(help="BIDS to mat: side of a slice, voxels of 2 mm.")] = 128,
    keep_phi: KeepPhi = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Convert between DICOM, NIfTI, BIDS, the data sets that people have, and slices as .mat files."""
    from m2diff.layouts import between

    request = between.Request(
        source=source,
        out=out,
        form=to,
        layout=layout,
        factors=numbers(drf, "--drf"),
        subject=subject,
        session=session,
        mri=mri,
        modality=modality,
        series=series,
        mri_series=mri_series,
        frame=frame,
        like=like,
        voxel_mm=numbers(voxel_mm, "--voxel-mm"),
        size=size,
        keep_phi=keep_phi,
    )
    failures = between.convert_between(request, progress=not (quiet or as_json))
    for name, reason in failures:
        console.note(f"{name}: {reason}")
    console.made(out)
    if failures:
        raise typer.Exit(1)
