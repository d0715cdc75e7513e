"""The command line: one verb a command, each calling the public function of the same name.

Heavy imports live inside the commands, so that ``m2diff --help`` answers at once. Input that the tool refuses ends in
one sentence on stderr and exit code 2, never a traceback.
"""

from __future__ import annotations

import glob
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from m2diff.cli_benchmark import benchmark
from m2diff.cli_evaluate import evaluate
from m2diff.cli_models import models
from m2diff.cli_options import (
    AsJson,
    AsList,
    Device,
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


@app.command()
def enhance(
    pet: Annotated[Path, typer.Argument(help="The low-dose PET scan: a NIfTI file or a folder of DICOM files.")],
    out: Annotated[Path, typer.Option(help="Folder for the result, its sidecar and report.html.")],
    mri: Annotated[
        Path | None, typer.Option(help="T1-weighted MRI of the same person (NIfTI or DICOM); without it PET alone.")
    ] = None,
    series: PetSeries = None,
    mri_series: MriSeries = None,
    frame: Frame = None,
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
    device: Device = "cpu",
    anchor_mm: Annotated[
        float | None,
        typer.Option(
            help="Keep the input's own means over this FWHM (mm); 0: off; default: the weights'.", callback=check_width
        ),
    ] = None,
    keep_phi: KeepPhi = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Turn a low-dose PET scan (and its MRI) into the standard-dose scan, in the scan's own grid and unit."""
    from m2diff.enhance.run import enhance as run
    from m2diff.enhance.run import write_into
    from m2diff.io import atomic, nifti
    from m2diff.io.load import load
    from m2diff.report.page import ReportInputs
    from m2diff.report.page import write as write_report

    scan = load(pet, series=series, frame=frame, keep_phi=keep_phi)
    result = run(
        scan,
        None if mri is None else load(mri, what="MRI", series=mri_series),
        weights=weights,
        steps=steps,
        samples=samples,
        dose=drf,
        seed=seed,
        align=align,
        device=device,
        anchor_mm=anchor_mm,
        progress=not (quiet or as_json),
    )
    from_scanner = scan.source is not None and scan.source.series is not None
    page = ReportInputs(
        title=f"{'A DICOM series' if from_scanner else pet.name} enhanced with {result.settings['weights']['name']}",
        low=result.low,
        enhanced=result.volume,
        mri=result.mri,
        spread=result.spread,
        settings=result.settings,
        warnings=result.warnings,
    )
    # An earlier result in this folder may have had more slices, or a spread.
    stem = glob.escape("pet" if scan.source is None else nifti.stem(scan.source.path).removesuffix("_pet"))
    parts = ("dicom/?????.dcm", "dicom-spread/?????.dcm", f"{stem}_desc-spread_pet.*")
    with atomic.folder(out, replaces=parts if from_scanner else parts[2:]) as folder:
        written = write_into(result, folder, keep_phi=keep_phi)
        write_report(folder / "report.html", page)
    for warning in result.warnings:
        console.note(warning)
    for made in (written.image, *written.dicom):
        console.made(out / made.name)
    console.made(out / "report.html")


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
    from m2diff.io.load import load
    from m2diff.lower_dose import lower_dose, write

    factors = numbers(drf, "--drf")
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
    """Run the command line; notices become notes, refusals one sentence and exit code 2."""
    try:
        with told():
            return app(args=arguments, standalone_mode=True)
    except BadInput as refusal:
        _refuse(str(refusal))
    except OSError as trouble:
        where = trouble.filename or "a file"
        why = trouble.strerror or type(trouble).__name__
        _refuse(f"Could not read or write {where}: {why}; check the path, its permissions and the disk.")


def _refuse(sentence: str) -> None:
    """One sentence for the user, exit code 2."""
    console.error(sentence)
    raise SystemExit(2)
