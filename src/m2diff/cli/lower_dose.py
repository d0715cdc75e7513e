"""``m2diff lower-dose``: low-dose counterparts of a standard-dose scan."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m2diff.cli.console import console
from m2diff.cli.options import AsJson, FrameNumber, KeepPhi, PetSeries, Quiet, check_width, numbers


def lower_dose_command(
    pet: Annotated[Path, typer.Argument(help="A standard-dose PET scan (NIfTI or DICOM).")],
    out: Annotated[Path, typer.Option(help="Folder for the low-dose scans.")],
    drf: Annotated[str, typer.Option(help="Dose reduction factors, comma-separated; the doses are nested.")] = "20",
    counts: Annotated[float, typer.Option(help="The scan's own counts, 1 for a clinical brain scan's.")] = 1.0,
    postfilter_mm: Annotated[
        float | None, typer.Option(help="FWHM (mm) of the filter after reconstruction.", callback=check_width)
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same counts.")] = 0,
    series: PetSeries = None,
    frame: FrameNumber = None,
    keep_phi: KeepPhi = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make low-dose counterparts of a standard-dose scan: project, thin the counts, reconstruct."""
    from m2diff.io import atomic
    from m2diff.io.load import load_image
    from m2diff.simulation.lower_dose import lower_dose as run
    from m2diff.simulation.lower_dose import write_lower

    factors = numbers(drf, "--drf")
    atomic.check_folder(out)
    scan = load_image(pet, series=series, frame=frame, keep_phi=keep_phi)
    made = run(scan, factors, counts=counts, postfilter_mm=postfilter_mm, seed=seed, progress=not (quiet or as_json))
    for path in write_lower(made, out, counts=counts, seed=seed, keep_phi=keep_phi):
        console.made(path)
    console.note("The noise that the scan already had stays in.")
