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
    from m2diff.enhancement.run import Enhanced
    from m2diff.evaluation.regions import RegionTable
    from m2diff.shapes import LabelArray
    from m2diff.volume import Volume

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
        Path | None, typer.Option(help="Region labels on the PET's grid: the report lists every region's mean.")
    ] = None,
    region_names: Annotated[Path | None, typer.Option(help="Names of the regions (.json, .tsv, .csv).")] = None,
    keep_phi: KeepPhi = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Turn a low-dose PET scan (and its MRI) into the standard-dose scan, in the scan's own grid and unit."""
    from m2diff.enhancement.run import enhance as run
    from m2diff.evaluation import regions
    from m2diff.io import atomic
    from m2diff.io.load import load_image

    if mri is None and mri_series is not None:
        raise BadInput("--mri-series picks a series of the MRI's folder, and no --mri was given; add it.")
    atomic.check_folder(out)
    scan = load_image(pet, series=series, frame=frame, keep_phi=keep_phi)
    atlas = _atlas(labels, region_names, scan)
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
        progress=not (quiet or as_json),
    )
    means = None
    if atlas is not None:  # of every region, for the report
        labelled, names = atlas
        image = result.volume
        means = regions.table(image.data, labelled, voxel_size=image.voxel_size, names=names)
    made = _written(result, out, pet.name, means, keep_phi=keep_phi)
    for warning in result.warnings:
        console.note(warning)
    for path in made:
        console.made(path)


def _written(result: Enhanced, out: Path, name: str, regions: RegionTable | None, *, keep_phi: bool) -> list[Path]:
    """Write image, sidecars, DICOM series and report under ``out``, all or none; returns the paths to show."""
    from m2diff.enhancement.run import save_into
    from m2diff.io import atomic, nifti
    from m2diff.reporting.page import ReportInputs, write_page

    source = result.low.source
    from_scanner = source is not None and source.series is not None
    page = ReportInputs.of(result, "A DICOM series" if from_scanner else name, regions=regions)
    # Remove what an earlier result had more of: slices, or a spread.
    stem = glob.escape("pet" if source is None else nifti.stem(source.path).removesuffix("_pet"))
    parts = ("dicom/?????.dcm", "dicom-spread/?????.dcm", f"{stem}_desc-spread_pet.*")
    had_report = (out / REPORT).exists()
    with atomic.folder(out, replaces=parts if from_scanner else parts[2:]) as folder:
        written = save_into(result, folder, keep_phi=keep_phi)
        write_page(folder / REPORT, page)
    others = {path.name for path in out.glob("*_desc-enhanced_pet.nii.gz")} - {written.image.name}
    if had_report and others:
        console.note(f"{out / REPORT} now shows this scan alone: give each scan a folder of its own to keep both.")
    return [*(out / made.name for made in (written.image, *written.dicom)), out / REPORT]


def _atlas(labels: Path | None, names: Path | None, scan: Volume) -> tuple[LabelArray, dict[int, str]] | None:
    """The labels on the scan's grid and their names, where given; checked before the work."""
    from m2diff.evaluation.study import as_labels, load_names
    from m2diff.io import nifti
    from m2diff.io.axes import along

    if labels is None:
        if names is not None:
            raise BadInput("--region-names names the regions of a label volume, and none was given; add --labels.")
        return None
    atlas = along(nifti.load(labels, what="label"), scan)
    if not atlas.same_grid(scan):
        shapes = f"shape {atlas.shape} beside {scan.shape}" if atlas.shape != scan.shape else "another affine"
        raise BadInput(f"--labels must lie on the PET's grid, got {shapes}; resample them by nearest voxel.")
    return as_labels(atlas), {} if names is None else load_names(names)
