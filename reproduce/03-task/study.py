"""Does enhancing help or harm the detection of small lesions that only the PET shows? The README has the commands.

    python reproduce/03-task/study.py tune ANATOMIES WORK       # the filters, on people of their own
    python reproduce/03-task/study.py run ANATOMIES WORK        # every method on every scan
    python reproduce/03-task/study.py table WORK OUT.md

WORK keeps a file a scan, dose and method with what the observer's channels see around every site, no volumes. The same
command goes on where an earlier one stopped, and a method that was added is run on all scans.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

import methods
import people
import rows
import summary
from m2diff.io.atomic import replacing

SEEDS = {"run": 31, "tune": 32}
FILTERS = "filters.json"  # in WORK: what tuning found


def collect(given: argparse.Namespace, named: Mapping[str, methods.Method], names: tuple[str, ...]) -> None:
    """Run what is missing of the methods on every scan and dose."""
    seed, folder = SEEDS[given.what], given.work / given.what
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [(number, scan) for number in range(given.people) for scan in range(given.scans)]
    for at, (number, scan) in enumerate(tasks):
        wanted = [(rows.STANDARD, methods.INPUT), *((drf, name) for drf in given.doses for name in named)]
        missing = [(drf, name) for drf, name in wanted if not rows.path(folder, number, scan, drf, name).exists()]
        if not missing:
            continue
        begun = time.monotonic()
        person = people.make(given.anatomies, names, seed, number)
        there = people.present(seed, number, scan)
        for drf, image in people.scan(person, there, seed, scan, sorted({drf for drf, _ in missing} - {rows.STANDARD})):
            for name in [name for dose, name in missing if dose == drf]:
                answer = image if drf == rows.STANDARD else named[name](image, person.t1, drf)
                with replacing(rows.path(folder, number, scan, drf, name)) as temporary, temporary.open("wb") as file:
                    np.savez(file, **rows.seen(answer, person), **rows.about(person, there))
        took = time.monotonic() - begun
        sys.stderr.write(f"{at + 1}/{len(tasks)} person {number} scan {scan}: {len(missing)} rows, {took:.0f} s\n")


def finished(given: argparse.Namespace, what: str, names: Iterable[str]) -> list[int]:
    """The people whose scans have a row of every method at every dose."""
    wanted = [(rows.STANDARD, methods.INPUT), *((drf, name) for drf in given.doses for name in names)]
    return [
        number
        for number in range(given.people)
        if all(
            rows.path(given.work / what, number, scan, drf, name).exists()
            for scan in range(given.scans)
            for drf, name in wanted
        )
    ]


def tune(given: argparse.Namespace) -> None:
    """Try every setting of the filters; keep those of the largest area, mean over the kinds of lesions."""
    settings = methods.grid(given.doses)
    collect(given, {label: method for label, (_, _, method) in settings.items()}, people.TUNING_NAMES)
    numbers, best = finished(given, "tune", settings), {name: {} for name in methods.GRIDS}
    for drf in given.doses:
        tried = {label: summary.mean_area(given.work / "tune", numbers, given.scans, drf, label) for label in settings}
        sys.stderr.writelines(f"DRF {drf:g} {label}: {area:.3f}\n" for label, area in tried.items())
        for name in best:
            mine = [label for label, (kind, _, _) in settings.items() if kind == name]
            best[name][f"{drf:g}"] = settings[max(mine, key=tried.__getitem__)][1]
    with replacing(given.work / FILTERS) as temporary:
        temporary.write_text(json.dumps(best, indent=1) + "\n")


def table(given: argparse.Namespace) -> None:
    """Write the table of everybody who is finished, and show it."""
    names = list(methods.compared(given.work / FILTERS))
    text = summary.table(given.work / "run", finished(given, "run", names), given.scans, given.doses, names)
    with replacing(given.out) as temporary:
        temporary.write_text(text)
    sys.stdout.write(text)


def main() -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    verbs = parser.add_subparsers(dest="what", required=True)
    for verb, many, each, paths in (
        ("tune", 8, 4, ("anatomies", "work")),
        ("run", 12, 6, ("anatomies", "work")),
        ("table", 12, 6, ("work", "out")),
    ):
        one = verbs.add_parser(verb)
        for path in paths:
            one.add_argument(path, type=Path)
        one.add_argument("--people", type=int, default=many)
        one.add_argument("--scans", type=int, default=each, help="of each person: 4, 6, ...")
        one.add_argument(
            "--doses", type=lambda text: [float(dose) for dose in text.split(",")], default=[4.0, 20.0, 100.0]
        )
    given = parser.parse_args()
    if given.what == "tune":
        tune(given)
    elif given.what == "run":
        collect(given, methods.compared(given.work / FILTERS), people.NAMES)
    else:
        table(given)


if __name__ == "__main__":
    main()
