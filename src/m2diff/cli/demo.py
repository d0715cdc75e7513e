"""``m2diff demo``: the main job on one simulated person."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from m2diff.cli.console import console
from m2diff.cli.options import AsJson, Quiet


def demo_command(
    out: Annotated[Path, typer.Option(help="Folder for the demonstration.")] = Path("demo"),
    seed: Annotated[int, typer.Option(help="Another seed is another person.")] = 2026,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """The main job on one simulated person: simulate, enhance, evaluate, report."""
    from m2diff.demo import methods_table
    from m2diff.demo import run_demo as run

    report, rows = run(out, seed=seed, progress=not (quiet or as_json))
    if as_json:
        console.result("", rows=[asdict(row) for row in rows])
        console.made(report.resolve())
        return
    typer.echo("\nOne simulated person, DRF 20, against the standard-dose scan, inside the brain:\n")
    typer.echo(methods_table(rows))
    typer.echo(f"\nReport: {report.resolve()}")
