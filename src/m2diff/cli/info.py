"""``m2diff info``: what the tool understands of an input."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m2diff.cli.options import AsList, Quiet


def info_command(
    path: Annotated[Path, typer.Argument(help="A NIfTI file, a DICOM file, or a folder of either.")],
    quiet: Quiet = False,
    as_json: AsList = False,
) -> None:
    """Say what the tool understands of an input: modality, tracer, grid, unit, dose, SUV factor, problems."""
    import json

    from m2diff.io.info import info as run

    found = run(path)
    if as_json:
        typer.echo(json.dumps([about.to_json() for about in found], indent=2))
    else:
        typer.echo("\n".join(line for about in found for line in about.lines()))
