"""``m2diff enhance``."""

from __future__ import annotations

import glob
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from m2diff.cli.console import console
from m2diff.cli.options import AsJson, Device, FrameNumber, KeepPhi, MriSeries, PetSeries, Quiet
from m2diff.errors import BadInput

if TYPE_CHECKING:
    from m2diff.enhancement.enhanced import Enhanced

REPORT = "report.html"


def enhance_command(
    pet: Annotated[Path, typer.Argument(help="The low-dose PET scan: a NIfTI file or a folder of DICOM files.")],
    out: Annotated[Path, typer.Option(help="Folder for the result, its sidecar and report.html.")],
    mri: Annotated[
        Path | None, typer.Option(help="T1-weighted MRI of the same person (NIfTI or DICOM); without it PET alone.")
    ] = None,
    series: PetSeries = None,
    mri_series: MriSeries = None,
    frame: FrameNumber = None,
    weights: Annotated[str, typer.Option(help="Weights by name or path, or a filter's name.")] = "m2diff-base",
    steps: Annotated[
        int | None, typer.Option(help="Network calls a draw; default: the weights' own (several draws: 5 for 1).")
    ] = None,
    samples: Annotated[int, typer.Option(help="Draws that are averaged; above 1 a spread map is written.")] = 1,
    drf: Annotated[
        float | None, typer.Option(help="Dose reduction factor, 20 for a twentieth; default: unknown.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same image.")] = 0,
    align: Annotated[bool, typer.Option(help="Register the MRI to the PET; --no-align trusts the headers.")] = True,
    device: Device = "auto",
    labels: Annotated[
        Path | None, typer.Option(help="Your own regions on the PET's grid, in place of those that m2diff finds.")
    ] = None,
    region_names: Annotated[Path | None, typer.Option(help="Names of the regions (.json, .tsv, .csv).")] = None,
    suvr_reference: Annotated[
        str, typer.Option(help="What SUVR is relative to: cerebellar-grey, whole-cerebellum or pons.")
    ] = "cerebellar-grey",
    balance: Annotated[
        bool, typer.Option(help="Correct regional means by the scan; --no-balance leaves the network's answer.")
    ] = True,
    keep_phi: KeepPhi = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Turn a low-dose PET scan (and its MRI) into the standard-dose scan, in the scan's own grid and unit."""
    from m2diff.enhancement.run import enhance as run
    from m2diff.io import atomic, nifti
    from m2diff.io.labels import load_names
    from m2diff.io.load import load_image

    if mri is None and mri_series is not None:
        raise BadInput("--mri-series picks a series of the MRI's folder, and no --mri was given; add it.")
    if labels is None and region_names is not None:
        raise BadInput("--region-names names the regions of a label volume, and none was given; add --labels.")
    atomic.check_folder(out)
    scan = load_image(pet, series=series, frame=frame, keep_phi=keep_phi)
    result = run(
        scan,
        None if mri is None else load_image(mri, what="MRI", series=mri_series),
        weights=weights,
        steps=steps,
        samples=samples,
        drf=drf,
        seed=seed,
        align=align,
        device=device,
        labels=None if labels is None else nifti.load(labels, what="label"),
        region_names=None if region_names is None else load_names(region_names),
        suvr_reference=suvr_reference,
        balance=balance,
        progress=not (quiet or as_json),
    )
    made = _written(result, out, pet.name, keep_phi=keep_phi)
    for warning in result.warnings:
        console.note(warning)
    for path in made:
        console.made(path)


def _written(result: Enhanced, out: Path, name: str, *, keep_phi: bool) -> list[Path]:
    """Write image, sidecars, DICOM series and report under ``out``, all or none; returns the paths to show."""
    from m2diff.enhancement.enhanced import OPTIONAL, save_into, stem_of
    from m2diff.io import atomic
    from m2diff.reporting.page import ReportInputs, write_page

    source = result.low.source
    from_scanner = source is not None and source.series is not None
    page = ReportInputs.of(result, "A DICOM series" if from_scanner else name)
    # Remove what an earlier result had more of: slices, or maps.
    stem = glob.escape(stem_of(result.low))
    parts = ("dicom/?????.dcm", "dicom-spread/?????.dcm", *(f"{stem}{ending}.*" for ending in OPTIONAL))
    had_report = (out / REPORT).exists()
    with atomic.folder(out, replaces=parts if from_scanner else parts[2:]) as folder:
        written = save_into(result, folder, keep_phi=keep_phi)
        write_page(folder / REPORT, page)
    others = {path.name for path in out.glob("*_desc-enhanced_pet.nii.gz")} - {written.image.name}
    if had_report and others:
        console.note(f"{out / REPORT} now shows this scan alone: give each scan a folder of its own to keep both.")
    tables = () if written.regions is None else (written.regions,)
    return [*(out / made.name for made in (written.image, *tables, *written.dicom)), out / REPORT]
