"""``m2diff train``: a preset trained on a cohort."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m2diff.cli.console import console
from m2diff.cli.options import AsJson, Device, Quiet
from m2diff.errors import BadInput


def train_command(
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
    device: Device = "auto",
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
    from m2diff.training.config import load_preset, preset_of

    if preset is None and start is None:
        raise BadInput("training needs a preset such as m2diff-base, or weights to go on from (--from).")
    resolved = load_preset(preset, override or []) if preset else preset_of(str(start), override or [])
    if dry_run:
        typer.echo(resolved.to_yaml(), nl=False)
        return
    from m2diff.training.export import Provenance
    from m2diff.training.loop import train as run

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
