"""``m2diff bids BIDS_DIR OUT_DIR participant|group``, by argparse: typer takes no list of labels for one option."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from m2diff.cli.console import console
from m2diff.cli.options import check_device
from m2diff.errors import BadInput

if TYPE_CHECKING:
    from m2diff.bids_app.participant import HowToEnhance

FAILED = 1
"""Exit code where some scans failed; refused options end in 2."""


def bids_command(context: typer.Context) -> None:
    """Enhance a BIDS data set as a BIDS-App: bids BIDS_DIR OUT_DIR participant|group [--participant-label ...]."""
    raise typer.Exit(run_app(context.args))


def run_app(arguments: Sequence[str]) -> int:
    """Run the app; returns the exit code."""
    from m2diff.bids_app.group import group
    from m2diff.bids_app.participant import HowToEnhance, participants
    from m2diff.io.bids_scans import find_scans

    given = parser().parse_args(list(arguments))
    console.as_json = given.as_json
    root, out = given.bids_dir, given.output_dir
    if out.resolve() == root.resolve():
        raise BadInput(f"The output must not be the BIDS folder itself ({root}); give {root}/derivatives/m2diff.")
    if given.analysis_level == "group":
        table, unreadable = group(out, root, progress=not (given.quiet or given.as_json))
        console.made(table)
        for name in unreadable:
            console.note(f"{name} is not what the participant level wrote and is left out; run that level again.")
        return FAILED if unreadable else 0
    scans = find_scans(
        root,
        participants=given.participant_label or (),
        sessions=given.session_label or (),
        rec=given.rec_label,
        trc=given.trc_label,
        run=given.run_label,
    )
    options = HowToEnhance(
        given.weights, given.steps, given.samples, given.drf, given.seed,
        given.align, not given.pet_alone, given.device, given.keep_phi, given.balance, given.suvr_reference,
    )  # fmt: skip
    options = _checked(options, jobs=given.n_procs)
    quiet = given.quiet or given.as_json
    failures = participants(root, out, scans, options, jobs=given.n_procs, progress=not quiet)
    done = len(scans) - len(failures)
    console.result(f"{done} of {len(scans)} scans are in {out}", done=done, scans=len(scans), path=str(out))
    for name, reason in failures:
        console.error(f"{name}: {reason}")
    return FAILED if failures else 0


def _checked(options: HowToEnhance, *, jobs: int) -> HowToEnhance:
    """The options with the hash of their weights; refuses what would fail for every scan."""
    from m2diff.enhancement import cards

    for name, value, least in (("--n-procs", jobs, 1), ("--samples", options.samples, 1), ("--seed", options.seed, 0)):
        if value < least:
            raise BadInput(f"{name} is a whole number of at least {least}, got {value}; correct it.")
    check_device(options.device)
    return replace(options, sha256=cards.load_weights(options.weights, drf=options.drf).sha256)


class _Parser(argparse.ArgumentParser):
    """A parser that refuses as the other verbs do."""

    def error(self, message: str) -> NoReturn:
        """One sentence instead of the usage."""
        raise BadInput(f"{message} (see `m2diff bids --help`).")


def parser() -> argparse.ArgumentParser:
    """The options, as BIDS-Apps name them."""
    from m2diff.parcellation.atlas import REFERENCES

    parser = _Parser("m2diff bids", description="Enhance the PET scans of a BIDS data set.")
    parser.add_argument("--version", action="version", version=f"m2diff {version('m2diff')}")
    parser.add_argument("bids_dir", type=Path, help="the BIDS data set")
    parser.add_argument("output_dir", type=Path, help="the derivatives' folder")
    parser.add_argument("analysis_level", choices=["participant", "group"])
    parser.add_argument("--participant-label", "--participant_label", nargs="+", metavar="LABEL")
    parser.add_argument("--session-label", "--session_label", nargs="+", metavar="LABEL")
    parser.add_argument("--rec-label", metavar="LABEL", help="only scans of this reconstruction (rec-)")
    parser.add_argument("--trc-label", metavar="LABEL", help="only scans of this tracer (trc-)")
    parser.add_argument("--run-label", metavar="LABEL", help="only scans of this run (run-)")
    parser.add_argument("--n-procs", "--n_procs", "--nprocs", type=int, default=1, help="scans at once")
    parser.add_argument("--weights", default="m2diff-base")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--drf", type=float, help="dose reduction factor of all scans; default: each sidecar's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-align", dest="align", action="store_false", help="trust the headers")
    parser.add_argument("--pet-alone", action="store_true", help="read no MRI")
    parser.add_argument("--no-balance", dest="balance", action="store_false", help="leave the network's regional means")
    parser.add_argument("--suvr-reference", default="cerebellar-grey", choices=list(REFERENCES))
    parser.add_argument("--device", default="auto", help="auto (a GPU where there is one), cpu or cuda")
    parser.add_argument("--keep-phi", action="store_true", help="keep names, numbers and dates in the sidecars")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--json", dest="as_json", action="store_true", help="one JSON object a line, and no bar")
    return parser
