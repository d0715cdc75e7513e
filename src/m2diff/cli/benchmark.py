"""``m2diff benchmark``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from m2diff.cli.console import console
from m2diff.cli.options import AsJson, Device, Quiet, numbers


def benchmark_command(
    data: Annotated[Path, typer.Option(help="The cohort of `m2diff simulate` that presets are trained on.")],
    out: Annotated[Path, typer.Option(help="Folder of runs, tables and page; the same command again resumes.")],
    methods: Annotated[
        list[str] | None,
        typer.Option(
            help="Filters, presets (trained), weights:NAME or paths; options as m2diff-small@steps=5; comma-separated, "
            "repeatable. Default: two filters and every -small preset."
        ),
    ] = None,
    budget: Annotated[str | None, typer.Option(help="For each preset: 1500steps or 20min.")] = None,
    test: Annotated[
        Path | None, typer.Option(help="The cohort that is scored; default: persons held out of --data.")
    ] = None,
    against: Annotated[
        str | None, typer.Option(help="The method that all are compared with; default: the first M2Diff.")
    ] = None,
    drf: Annotated[str, typer.Option(help="Dose reduction factors to score, such as 4,20; default: all.")] = "",
    override: Annotated[
        list[str] | None, typer.Option("--set", help="One value of every preset alike, as train.lr=0.001; repeatable.")
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Processes that score, one thread each.")] = 1,
    device: Device = "auto",
    seed: Annotated[int, typer.Option(min=0, help="The same seed draws the same images.")] = 0,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compare methods on equal terms: same data, same budget, same people; a tidy table and a page."""
    from m2diff.benchmarking.methods import DEFAULT_METHODS
    from m2diff.benchmarking.run import benchmark as run

    page = run(
        data,
        out,
        methods=methods or DEFAULT_METHODS,
        budget=budget,
        test=test,
        against=against,
        drf=numbers(drf, "--drf"),
        overrides=override or [],
        jobs=jobs,
        device=device,
        seed=seed,
        progress=not (quiet or as_json),
    )
    console.made(page)
