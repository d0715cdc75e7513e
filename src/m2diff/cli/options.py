"""The options that several commands share."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from m2diff.cli.console import console
from m2diff.errors import BadInput


def _speak_json(as_json: bool) -> bool:
    """Switch the console to JSON; returns the option's value."""
    console.as_json = as_json
    return as_json


def _say_version(asked: bool) -> bool:
    if asked:
        typer.echo(f"m2diff {version('m2diff')}")
        raise typer.Exit
    return asked


def check_device(name: str) -> str:
    """Refuse a device that is not here."""
    if name not in ("auto", "cpu"):
        from m2diff.nn.precision import best_device

        best_device(name)
    return name


def check_width(mm: float | None) -> float | None:
    """Refuse an impossible filter width."""
    if mm is not None and not 0 <= mm <= 1000:
        raise BadInput(f"A filter's width lies between 0 and 1000 mm, got {mm:g}; correct it.")
    return mm


Version = Annotated[bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Say which this is.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="No progress bar.")]
AsJson = Annotated[
    bool, typer.Option("--json", callback=_speak_json, help="One JSON object a line, for programs, and no bar.")
]
AsList = Annotated[
    bool, typer.Option("--json", callback=_speak_json, help="A JSON list of what is there, for programs.")
]
KeepPhi = Annotated[bool, typer.Option("--keep-phi", help="Keep the patient's name, number and dates in the sidecars.")]
PetSeries = Annotated[
    str | None, typer.Option("--series", help="PET series of a DICOM folder: number, UID or part of its description.")
]
MriSeries = Annotated[str | None, typer.Option("--mri-series", help="The same for the MRI's folder.")]
FrameNumber = Annotated[int | None, typer.Option("--frame", help="Frame of a dynamic scan, from 1.")]
Device = Annotated[str, typer.Option(help="auto (a GPU where there is one), cpu or cuda.", callback=check_device)]


def numbers(text: str, option: str) -> tuple[float, ...]:
    """A comma-separated list of numbers."""
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise BadInput(f"{option} expects numbers such as 4,20, got {text!r}; correct it.") from None


def split_names(text: str) -> tuple[str, ...]:
    """A comma-separated list of names."""
    return tuple(part.strip() for part in text.split(",") if part.strip())
