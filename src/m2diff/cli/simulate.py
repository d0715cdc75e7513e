"""``m2diff simulate``: a cohort by physics."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from m2diff.cli.console import console
from m2diff.cli.options import AsJson, Quiet, split_names


def simulate_command(
    out: Annotated[Path, typer.Argument(help="Folder of the BIDS data set to make (or finish).")],
    subjects: Annotated[int, typer.Option(help="Number of persons.")] = 10,
    drf: Annotated[
        str, typer.Option(help="Dose reduction factors: 4,10,20 or a draw such as 4-100:3.")
    ] = "4,10,20,50,100",
    group: Annotated[Literal["healthy", "ad", "both"], typer.Option(help="Diagnostic group.")] = "both",
    seed: Annotated[int, typer.Option(help="The same seed makes the same cohort, whatever --jobs.")] = 0,
    anatomies: Annotated[
        Path | None, typer.Option(help="Folder of real anatomies (T1 + labels + tissues); default: MNI152, warped.")
    ] = None,
    persons: Annotated[str, typer.Option(help="Anatomies to use, comma-separated; default all.")] = "",
    without: Annotated[str, typer.Option(help="Anatomies to leave out, comma-separated.")] = "",
    heads: Annotated[Path | None, typer.Option(help="Folder of whole-head label maps for --head map.")] = None,
    head: Annotated[
        Literal["none", "grown", "map", "mixed"], typer.Option(help="Skull and scalp; map: of --heads.")
    ] = "grown",
    randomise: Annotated[
        bool, typer.Option("--randomise", help="Random scanners and some random uptake: a cohort to train on.")
    ] = False,
    tracer: Annotated[
        Literal["fdg", "amyloid"], typer.Option(help="FDG, or florbetapir: healthy is then amyloid-negative.")
    ] = "fdg",
    scanner: Annotated[
        Literal["pet-mr", "pet-ct"], typer.Option(help="A PET/MR, or an older PET/CT: coarser, blurrier, fewer counts.")
    ] = "pet-mr",
    jobs: Annotated[int, typer.Option(help="Persons made at once.")] = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make a cohort by physics: anatomy, tracer, scanner, nested dose ladder, OSEM; a BIDS data set."""
    from m2diff.simulation.cohort import simulate as run

    run(
        out,
        subjects,
        drf=drf,
        group=group,
        seed=seed,
        anatomies=anatomies,
        persons=split_names(persons),
        without=split_names(without),
        heads=heads,
        head=head,
        randomise=randomise,
        tracer=tracer,
        scanner=scanner,
        jobs=jobs,
        progress=not (quiet or as_json),
    )
    if as_json:
        console.made(out)
