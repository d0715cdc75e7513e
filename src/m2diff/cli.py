"""The command line: one verb a command, each calling the public function of the same name.

Heavy imports live inside the commands, so that ``m2diff --help`` answers at once. Input that the tool refuses ends in
one sentence on stderr and exit code 2, never a traceback.
"""

from __future__ import annotations

import errno
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from m2diff.errors import BadInput

app = typer.Typer(
    name="m2diff",
    help="Low-dose brain PET and the same person's MRI in, the standard-dose scan and its report out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.callback()
def verbs() -> None:
    """Low-dose brain PET and the same person's MRI in, the standard-dose scan and its report out."""


class Group(StrEnum):
    """Diagnostic group of simulated persons."""

    healthy = "healthy"
    ad = "ad"
    both = "both"


class Head(StrEnum):
    """What surrounds a simulated brain."""

    none = "none"
    grown = "grown"
    map = "map"
    mixed = "mixed"


Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder of the BIDS data set to make (or finish).")],
    subjects: Annotated[int, typer.Option(help="Number of persons.")] = 10,
    drf: Annotated[str, typer.Option(help="Dose reduction factors: 4,10,20 or a draw such as 4-100:3.")] = "4,10,20,50,100",
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
    jobs: Annotated[int, typer.Option(help="Persons made at once.")] = 1,
    quiet: Quiet = False,
) -> None:
    """Make a cohort by physics: anatomy, tracer, scanner, nested dose ladder, OSEM; a BIDS data set."""
    from m2diff.simulate.cohort import DosePlan, Recipe
    from m2diff.simulate.cohort import simulate as run

    recipe = Recipe(
        doses=DosePlan.parse(drf),
        group=group.value,
        seed=seed,
        anatomies=anatomies,
        persons=_names(persons),
        without=_names(without),
        heads=heads,
        head=head.value,
        randomise=randomise,
    )
    run(recipe, out, subjects, jobs=jobs, progress=not quiet)


def _names(text: str) -> tuple[str, ...]:
    """A comma-separated list of names."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line; refusals become one sentence and exit code 2."""
    try:
        return app(args=arguments, standalone_mode=True)
    except BadInput as refusal:
        _refuse(str(refusal))
    except OSError as trouble:
        if trouble.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        _refuse(f"Could not write {trouble.filename or 'the output'}: {trouble.strerror}; free some space or choose another folder.")


def _refuse(sentence: str) -> None:
    """One sentence for the user, exit code 2."""
    sys.stderr.write(f"m2diff: {' '.join(sentence.split())}\n")
    raise SystemExit(2)
