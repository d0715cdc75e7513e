"""The command ``m2diff models`` and what it shows; ``cli`` mounts it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from m2diff.cli.options import AsList, Quiet

if TYPE_CHECKING:
    from m2diff.enhancement.models import Model
    from m2diff.enhancement.results import CardScores, Measured


def models(
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
        typer.echo(table(found) if name is None else page(found[0]))


def table(found: Sequence[Model]) -> str:
    """All of them: a line of facts each, of a network also how it was trained and its licence."""
    notes: dict[str, int] = {}
    lines = [f"{'NETWORK':<17}{'PARAMETERS':>11}{'MB':>7}  {'MRI':<10}{'STEPS':>5}   PSNR dB (the input's) by DRF"]
    for model in found:
        if model.kind == "network":
            lines += _network_lines(model, notes)
    lines += [*(f"[{number}] {text}" for text, number in notes.items()), ""]
    lines.append(f"{'FILTER':<17}MRI")
    lines += [f"{model.name:<17}{model.mri:<10}{model.about}" for model in found if model.kind == "filter"]
    lines += ["", "m2diff models NAME shows one whole; m2diff enhance --weights NAME uses it."]
    return "\n".join(lines)


def _network_lines(model: Model, notes: dict[str, int]) -> list[str]:
    """Three lines of a network; ``notes`` collects on what its numbers were measured."""
    from m2diff.enhancement.results import measured

    test, scores = measured(model.card), "not measured"
    if test is not None:
        number = notes.setdefault(f"{test.on}\n    by {test.by}", len(notes) + 1)
        scores = ", ".join(f"{drf}: {at.psnr:.2f} ({at.input_psnr:.2f})" for drf, at in test.by_drf.items())
        scores += f" [{number}]"
    facts = f"{model.name:<17}{model.parameters or 0:>11,}{model.megabytes:>7.1f}  {model.mri:<10}{model.steps:>5}"
    licence = model.licence.partition(" (")[0]
    return [f"{facts}   {scores}", f"  trained: {_trained(model)}", f"  licence: {licence}"]


def _trained(model: Model) -> str:
    """How long and on whom."""
    from m2diff.families import stored

    told = stored.training_of(model.card)
    persons = len(stored.seen_persons(model.card)) or "?"
    return f"{stored.steps_of(model.card):,} steps, {told.get('train_scans') or '?'} scans of {persons} persons"


def page(model: Model) -> str:
    """One of them whole: what to know first in words, then its card as YAML."""
    import yaml

    head = [f"{model.name}: {model.about}" if model.kind == "filter" else _title(model), ""]
    return "\n".join([*head, yaml.safe_dump(dict(model.card), sort_keys=False, width=100, default_flow_style=None)])


def _title(model: Model) -> str:
    """What to know first of a network."""
    from m2diff.enhancement.results import measured

    test = measured(model.card)
    lines = [
        f"{model.name}: a network of the family {model.family}, {model.parameters:,} parameters, {model.megabytes} MB",
        f"  licence   {model.licence}",
        f"  MRI       {model.mri}",
        f"  dose      {'optional' if model.dose else 'not read'}",
        f"  steps     {model.steps}",
        f"  trained   {_trained(model)}",
        f"  on        {model.about}",
        f"  sha256    {model.sha256}",
    ]
    return "\n".join([*lines, "", *(["Not measured on unseen people."] if test is None else _test_lines(test))])


def _test_lines(test: Measured) -> list[str]:
    """What was measured, a line a dose."""
    lines = [f"Measured on {test.on}", f"  by {test.by}", f"  {'DRF':>5}{'PSNR dB':>9}  {'95 % interval':<17}"]
    lines[-1] += f"{'input':>7}{'SSIM':>9}{'input':>8}{'NRMSE':>8}{'input':>8}"
    return [*lines, *(_dose_line(drf, at) for drf, at in test.by_drf.items())]


def _dose_line(drf: str, at: CardScores) -> str:
    """The scores at one dose; a dash where one was not taken."""

    def number(value: Any, width: int) -> str:
        return f"{'-' if value is None else format(value, '.4f'):>{width}}"

    interval = "-" if at.psnr_interval is None else "{:.2f} to {:.2f}".format(*at.psnr_interval)
    rest = number(at.ssim, 9) + number(at.input_ssim, 8) + number(at.nrmse, 8) + number(at.input_nrmse, 8)
    return f"  {drf:>5}{at.psnr:>9.2f}  {interval:<17}{at.input_psnr:>7.2f}{rest}"
