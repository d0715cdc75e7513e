"""``m2diff models``: a table of all, or one model whole."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from m2diff.cli.options import AsList, Quiet

if TYPE_CHECKING:
    from m2diff.enhancement.models import Model
    from m2diff.enhancement.results import CardScores, Measured

WIDTH = 100
"""Most characters in a line."""
SHOWN = ("20", "100")
"""Dose reduction factors in the table; the page of one network has all."""


def models_command(
    name: Annotated[
        str | None, typer.Argument(help="Show this one whole: a name, a .safetensors file or a run.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsList = False,
) -> None:
    """List what there is to enhance with: shipped weights with their numbers and licences, and the filters."""
    import json

    from m2diff.enhancement.models import models as run

    found = run(name)
    if as_json:
        typer.echo(json.dumps([model.to_json() for model in found], indent=2))
    else:
        typer.echo(models_table(found) if name is None else page(found[0]))


def models_table(found: Sequence[Model]) -> str:
    """The table, at most ``WIDTH`` characters a line: networks, what their numbers mean, filters."""
    notes: dict[str, int] = {}
    networks = [_row(model, notes) for model in found if model.kind == "network"]
    filters = [f"{model.name:<14} {model.mri:<8}  {model.about}" for model in found if model.kind == "filter"]
    heads = [f"DRF {drf}" for drf in SHOWN]
    lines = [
        _columns("NETWORK", "FAMILY", "M", "MB", "MRI", "STEPS", *heads, "LICENCE"),
        *networks,
        "",
        *_wrapped(
            "M: millions of parameters. DRF 20: PSNR (dB) at one twentieth of the counts, in brackets the input's."
        ),
        *(line for text, number in notes.items() for line in _wrapped(f"[{number}] {text}", indent="    ")),
        "",
        f"{'FILTER':<14} MRI",
        *(line for text in filters for line in _wrapped(text, indent=" " * 25)),
        "",
        "m2diff models NAME shows one whole; m2diff enhance --weights NAME uses it.",
    ]
    return "\n".join(lines)


def _row(model: Model, notes: dict[str, int]) -> str:
    """The line of a network; ``notes`` numbers what its scores were measured on."""
    from m2diff.enhancement.results import measured

    test = measured(model.card)
    at = [None if test is None else test.by_drf.get(drf) for drf in SHOWN]
    scores = ["-" if each is None else f"{each.psnr:.2f} ({each.input_psnr:.2f})" for each in at]
    licence = model.licence.partition(" (")[0]
    if test is not None:
        licence += f" [{notes.setdefault(f'{test.on}; by {test.by}', len(notes) + 1)}]"
    size = (f"{(model.parameters or 0) / 1e6:.2f}", f"{model.megabytes:.1f}")
    return _columns(model.name, model.family, *size, model.mri, str(model.steps), *scores, licence)


def _columns(name: str, family: str, size: str, room: str, mri: str, steps: str, *rest: str) -> str:
    """One line of the networks' table; ``rest``: the scores, then the licence."""
    *scores, licence = rest
    cells = "".join(f"{score:<15}" for score in scores)
    return f"{name:<14} {family:<7} {size:>5} {room:>5}  {mri:<8} {steps:>5}  {cells}{licence}"


def _wrapped(text: str, *, indent: str = "") -> list[str]:
    """``text`` in lines of at most ``WIDTH`` characters, all but the first indented."""
    return textwrap.wrap(text, WIDTH, subsequent_indent=indent)


def page(model: Model) -> str:
    """One model whole: the main facts in words, then its card as YAML."""
    import yaml

    head = _wrapped(f"{model.name}: {model.about}") if model.kind == "filter" else _title(model)
    # PyYAML breaks a line at the first blank past its width.
    card = yaml.safe_dump(dict(model.card), sort_keys=False, width=WIDTH - 30, default_flow_style=None)
    return "\n".join([*head, "", card])


def _title(model: Model) -> list[str]:
    """The main facts of a network."""
    from m2diff.enhancement.results import measured
    from m2diff.families import stored

    test = measured(model.card)
    scans = stored.training_of(model.card).get("train_scans") or "?"
    persons = len(stored.seen_persons(model.card)) or "?"
    facts = {
        "licence": model.licence,
        "MRI": model.mri,
        "dose": "optional" if model.dose else "not read",
        "steps": str(model.steps),
        "trained": f"{stored.steps_of(model.card):,} steps, {scans} scans of {persons} persons",
        "on": model.about,
        "sha256": str(model.sha256),
    }
    size = f"{model.parameters:,} parameters, {model.megabytes} MB"
    lines = [f"{model.name}: a network of the family {model.family}, {size}"]
    for name, text in facts.items():
        lines += _wrapped(f"  {name:<10}{text}", indent=" " * 12)
    return [*lines, "", *(["Not measured on unseen people."] if test is None else _test_lines(test))]


def _test_lines(test: Measured) -> list[str]:
    """The scores, a line a dose."""
    heads = (
        f"  {'DRF':>5}{'PSNR dB':>9}  {'95 % interval':<17}{'input':>7}{'SSIM':>9}{'input':>8}{'NRMSE':>8}{'input':>8}"
    )
    lines = [*_wrapped(f"Measured on {test.on}", indent="  "), *_wrapped(f"  by {test.by}", indent="  "), heads]
    return [*lines, *(_dose_line(drf, at) for drf, at in test.by_drf.items())]


def _dose_line(drf: str, at: CardScores) -> str:
    """The scores at one dose; a dash where one is missing."""

    def number(value: Any, width: int) -> str:
        return f"{'-' if value is None else format(value, '.4f'):>{width}}"

    interval = "-" if at.psnr_interval is None else "{:.2f} to {:.2f}".format(*at.psnr_interval)
    rest = number(at.ssim, 9) + number(at.input_ssim, 8) + number(at.nrmse, 8) + number(at.input_nrmse, 8)
    return f"  {drf:>5}{at.psnr:>9.2f}  {interval:<17}{at.input_psnr:>7.2f}{rest}"
