"""The command line: one verb a command, each calling the public function of the same name.

Heavy imports live inside the commands, so that ``m2diff --help`` answers at once. Input that the tool refuses ends in
one sentence on stderr and exit code 2, never a traceback.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from m2diff.cli_benchmark import benchmark
from m2diff.cli_enhance import enhance
from m2diff.cli_evaluate import evaluate
from m2diff.cli_models import models
from m2diff.cli_options import (
    AsJson,
    AsList,
    Form,
    Frame,
    Group,
    Head,
    KeepPhi,
    MriSeries,
    PassedOn,
    PetSeries,
    Quiet,
    Scanner,
    Tracer,
    Version,
    check_device,
    check_width,
    names,
    numbers,
)
from m2diff.console import console, told
from m2diff.errors import BadInput

_USAGE: type[Any] = typer.BadParameter.__mro__[1]
"""What the parser raises; typer has named it publicly only of late."""

app = typer.Typer(
    name="m2diff",
    help="Low-dose brain PET and the same person's MRI in, the standard-dose scan and its report out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def verbs(version: Version = False) -> None:
    """Low-dose brain PET and the same person's MRI in, the standard-dose scan and its report out."""


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder of the BIDS data set to make (or finish).")],
    subjects: Annotated[int, typer.Option(help="Number of persons.")] = 10,
    drf: Annotated[
        str, typer.Option(help="Dose reduction factors: 4,10,20 or a draw such as 4-100:3.")
    ] = "4,10,20,50,100",
    group: Annotated[Group, typer.Option(help="Diagnostic group.")] = Group.both,
    seed: Annotated[int, typer.Option(help="The same seed makes the same cohort, whatever --jobs.")] = 0,
    anatomies: Annotated[
        Path | None, typer.Option(help="Folder of real anatomies (T1 + labels + tissues); default: MNI152, warped.")
    ] = None,
    persons: Annotated[str, typer.Option(help="Anatomies to use, comma-separated; default all.")] = "",
    without: Annotated[str, typer.Option(help="Anatomies to leave out, comma-separated.")] = "",
    heads: Annotated[Path | None, typer.Option(help="Folder of whole-head label maps for --head map.")] = None,
    head: Annotated[Head, typer.Option(help="Skull and scalp: none, grown, map (of --heads) or mixed.")] = Head.grown,
    randomise: Annotated[
        bool, typer.Option("--randomise", help="Random scanners and some random uptake: a cohort to train on.")
    ] = False,
    tracer: Annotated[Tracer, typer.Option(help="FDG, or florbetapir: healthy is then amyloid-negative.")] = Tracer.fdg,
    scanner: Annotated[
        Scanner, typer.Option(help="A PET/MR, or an older PET/CT: coarser, blurrier, fewer counts.")
    ] = Scanner.pet_mr,
    jobs: Annotated[int, typer.Option(help="Persons made at once.")] = 1,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make a cohort by physics: anatomy, tracer, scanner, nested dose ladder, OSEM; a BIDS data set."""
    from m2diff.simulate.cohort import DosePlan, Recipe
    from m2diff.simulate.cohort import simulate as run

    recipe = Recipe(
        doses=DosePlan.parse(drf),
        group=group.value,
        seed=seed,
        anatomies=anatomies,
        persons=names(persons),
        without=names(without),
        heads=heads,
        head=head.value,
        randomise=randomise,
        tracer=tracer.value,
        scanner=scanner.value,
    )
    run(recipe, out, subjects, jobs=jobs, progress=not (quiet or as_json))
    if as_json:
        console.made(out)


@app.command(
    cls=PassedOn,
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)
def bids(context: typer.Context) -> None:
    """Enhance a BIDS data set as a BIDS-App: bids BIDS_DIR OUT_DIR participant|group [--participant-label ...]."""
    from m2diff.bids_app import main as run  # argparse: BIDS-Apps take several labels behind one option

    raise typer.Exit(run(context.args))


@app.command("lower-dose")
def lower(
    pet: Annotated[Path, typer.Argument(help="A standard-dose PET scan (NIfTI or DICOM).")],
    out: Annotated[Path, typer.Option(help="Folder for the low-dose scans.")],
    drf: Annotated[str, typer.Option(help="Dose reduction factors, comma-separated; the doses are nested.")] = "20",
    counts: Annotated[float, typer.Option(help="The scan's own counts, 1 for a clinical brain scan's.")] = 1.0,
    postfilter_mm: Annotated[
        float | None, typer.Option(help="FWHM (mm) of the filter after reconstruction.", callback=check_width)
    ] = None,
    seed: Annotated[int, typer.Option(help="The same seed draws the same counts.")] = 0,
    series: PetSeries = None,
    frame: Frame = None,
    keep_phi: KeepPhi = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Make low-dose counterparts of a standard-dose scan: project, thin the counts, reconstruct."""
    from m2diff.io import atomic
    from m2diff.io.load import load
    from m2diff.lower_dose import lower_dose, write

    factors = numbers(drf, "--drf")
    atomic.check_folder(out)
    scan = load(pet, series=series, frame=frame, keep_phi=keep_phi)
    made = lower_dose(
        scan, factors, counts=counts, postfilter_mm=postfilter_mm, seed=seed, progress=not (quiet or as_json)
    )
    for path in write(made, out, counts=counts, seed=seed, keep_phi=keep_phi):
        console.made(path)
    console.note("The noise that the scan already had stays in.")


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(help="DICOM, NIfTI, a BIDS cohort, or a data set in a known layout.")],
    out: Annotated[Path, typer.Argument(help="A .nii.gz file, or the folder of what is made.")],
    to: Annotated[
        Form | None, typer.Option(help="Default: nifti where OUT is such a file, dicom with --like, else bids.")
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
    frame: Frame = None,
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
        form=None if to is None else to.value,
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
    failures = between.run(request, progress=not (quiet or as_json))
    for name, reason in failures:
        console.note(f"{name}: {reason}")
    console.made(out)
    if failures:
        raise typer.Exit(1)


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="A NIfTI file, a DICOM file, or a folder of either.")],
    quiet: Quiet = False,
    as_json: AsList = False,
) -> None:
    """Say what the tool understands of an input: modality, tracer, grid, unit, dose, SUV factor, problems."""
    import json

    from m2diff.io.info import describe

    found = describe(path)
    if as_json:
        typer.echo(json.dumps([about.to_json() for about in found], indent=2))
    else:
        typer.echo("\n".join(line for about in found for line in about.lines()))


@app.command()
def train(
    data: Annotated[Path, typer.Option(help="A cohort in BIDS: of `m2diff simulate`, `m2diff convert` or your own.")],
    out: Annotated[Path, typer.Option(help="Folder of the run; the same command again resumes it.")],
    preset: Annotated[
        str | None, typer.Argument(help="A preset's name or a .yaml file; default: the one of the weights --from.")
    ] = None,
    override: Annotated[
        list[str] | None, typer.Option("--set", help="One value of the preset, as in train.steps=100; repeatable.")
    ] = None,
    limit_minutes: Annotated[
        float | None, typer.Option(help="Stop after this long; resume with the same command.")
    ] = None,
    device: Annotated[str | None, typer.Option(help="cpu, or the best there is.", callback=check_device)] = None,
    jobs: Annotated[int, typer.Option(help="Processes that prepare the cohort.")] = 1,
    licence: Annotated[str, typer.Option(help="Licence of the weights, for their card.")] = "",
    about: Annotated[str, typer.Option(help="What the training data is, for the card.")] = "",
    start: Annotated[
        str | None, typer.Option("--from", help="Weights of the same shape to start from, by name or path.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the resolved preset and stop.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a preset on a cohort: progress, validation on whole volumes, checkpoints, exact resume."""
    from m2diff.train.config import load_preset, preset_of

    if preset is None and start is None:
        raise BadInput("training needs a preset such as m2diff-base, or weights to go on from (--from).")
    resolved = load_preset(preset, override or []) if preset else preset_of(str(start), override or [])
    if dry_run:
        typer.echo(resolved.to_yaml(), nl=False)
        return
    from m2diff.train.export import Provenance
    from m2diff.train.loop import train as run

    given = {key: text for key, text in (("licence", licence), ("data", about)) if text}
    weights = run(
        resolved,
        data,
        out,
        limit_minutes=limit_minutes,
        device=device,
        jobs=jobs,
        progress=not (quiet or as_json),
        provenance=Provenance(**given),  # type: ignore[arg-type]
        start=start,
    )
    if as_json:
        console.made(weights)
    else:
        typer.echo(f"Weights: {weights}")


app.command()(enhance)
app.command()(evaluate)
app.command()(benchmark)
app.command()(models)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder for the demonstration.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Another seed is another person.")] = 2026,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """The main job on one simulated person: simulate, enhance, evaluate, report."""
    from m2diff.demo import demo as run
    from m2diff.demo import table

    report, rows = run(out, seed=seed, progress=not (quiet or as_json))
    if as_json:
        console.result("", rows=[asdict(row) for row in rows])
        console.made(report.resolve())
        return
    typer.echo("\nOne simulated person, DRF 20, against the standard-dose scan, inside the brain:\n")
    typer.echo(table(rows))
    typer.echo(f"\nReport: {report.resolve()}")


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; notices become notes, refusals one sentence and exit code 2.

    A run that is told to end (SIGTERM, as batch systems do) ends as one that fails: what it had half-written goes.
    """
    given = sys.argv[1:] if arguments is None else arguments
    console.as_json = "--json" in given  # also for what is refused before the parser comes to it
    try:
        with told(), _ended_by_signal():
            raise SystemExit(app(args=arguments, prog_name="m2diff", standalone_mode=False) or 0)
    except _USAGE as trouble:
        if not given:  # the bare name asks what there is
            trouble.show()
            raise SystemExit(2) from None
        where = trouble.ctx.command_path if trouble.ctx else "m2diff"
        said = trouble.format_message().replace("Value error, ", "").rstrip(".")
        _refuse(f"{said} (see `{where} --help`).")
    except typer.Abort:
        raise SystemExit(1) from None
    except BadInput as refusal:
        _refuse(str(refusal))
    except OSError as trouble:
        where = trouble.filename or "a file"
        why = trouble.strerror or type(trouble).__name__
        _refuse(f"Could not read or write {where}: {why}; check the path, its permissions and the disk.")


@contextmanager
def _ended_by_signal() -> Iterator[None]:
    """While this lasts, SIGTERM raises SystemExit, so that what tidies up at the end does."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # a thread may not ask for signals
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _refuse(sentence: str) -> None:
    """One sentence for the user, exit code 2."""
    console.error(sentence)
    raise SystemExit(2)
