"""The command line: one verb a file; heavy imports lie inside the commands, so that ``m2diff --help`` is quick."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import typer

from m2diff.cli.benchmark import benchmark_command
from m2diff.cli.bids import bids_command
from m2diff.cli.console import console, told
from m2diff.cli.convert import convert_command
from m2diff.cli.demo import demo_command
from m2diff.cli.enhance import enhance_command
from m2diff.cli.evaluate import evaluate_command
from m2diff.cli.info import info_command
from m2diff.cli.lower_dose import lower_dose_command
from m2diff.cli.models import models_command
from m2diff.cli.options import Version
from m2diff.cli.simulate import simulate_command
from m2diff.cli.train import train_command
from m2diff.errors import BadInput

_USAGE: type[Any] = typer.BadParameter.__mro__[1]
"""The parser's error; older versions of typer have no public name for it."""

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


VERBS = (
    enhance_command, info_command, evaluate_command, simulate_command, lower_dose_command, convert_command,
    train_command, benchmark_command, models_command, demo_command,
)  # fmt: skip
for verb in VERBS:
    app.command(verb.__name__.removesuffix("_command").replace("_", "-"))(verb)
app.command("bids", add_help_option=False, context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(
    bids_command
)


def main(arguments: list[str] | None = None) -> Any:
    """Run the command line: notices become notes, refusals one sentence and exit code 2; SIGTERM cleans up, too."""
    given = sys.argv[1:] if arguments is None else arguments
    console.as_json = "--json" in given  # also for what is refused before parsing
    try:
        with told(), _ended_by_signal():
            raise SystemExit(app(args=arguments, prog_name="m2diff", standalone_mode=False) or 0)
    except _USAGE as trouble:
        if not given:  # no arguments: show the verbs
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
    """Make SIGTERM raise SystemExit, so that clean-up code runs."""

    def end(number: int, _: object) -> None:
        raise SystemExit(128 + number)

    if threading.current_thread() is not threading.main_thread():  # only the main thread handles signals
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
