"""The mean bias of every region, on enough scans to tell it from their noise.

    python reproduce/base/bias.py COHORT WORK OUT.md [--also RESULTS] [--shard N/M]

A region's bias in one low-dose scan is mostly the noise of that scan: on ten of them the mean of a small region is
uncertain by 1 to 3 %. COHORT has more scans of the held-out people (the README says which); the same command goes on
where it stopped, and keeps what it scored in WORK. OUT.md: the regions by the mean bias of M2Diff's answer, with its
standard error over the scans, beside that of the low-dose scan, both against the standard-dose scan; in these scans, in
those of RESULTS (table.py's own), and in all. By chance: how many regions an answer with no bias at all would have
beyond the bar, were its scans as noisy and (they are not quite) the regions independent, and how likely it would have
none. Errors are over scans: they say what noise does, not what other people would; the scans are of five people.
Then the same with the sides of a region together, scan by scan: training mirrors every second item, so that the
networks have no side of their own, and what differs between the sides is noise and anatomy. Last, what is left of
lesions.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from scipy.stats import norm

import table

SHOWN = 12
BAR = 2.0
METHODS = ("low-dose input", "M2Diff")


def summarise(works: list[Path]) -> str:
    """The regions of the largest mean bias, at each dose: in the scans of each, and in all."""
    found = [[json.loads(line) for line in (work / "results.jsonl").read_text().splitlines()] for work in works]
    sets = [*found, [row for rows in found for row in rows]] if len(found) > 1 else found
    of_regions = [
        line for drf in table.DOSES for rows in sets for both in (False, True) for line in _section(rows, drf, both)
    ]
    title = "## Lesions that the MRI does not show, in all scans: share of the noise-free image's contrast that is kept"
    return "\n".join(
        [*of_regions, title, "", *table.lesions([row for row in sets[-1] if row["key"][2] in METHODS]), ""]
    )


def _section(rows: list[dict], drf: float, both: bool) -> Iterator[str]:
    """One dose's lines; ``both``: left and right of a region as one."""
    by_method = {name: _by_region([row for row in rows if row["key"][1:] == [drf, name]], both) for name in METHODS}
    mean = {name: {region: float(np.mean(each)) for region, each in found.items()} for name, found in by_method.items()}
    error = {name: {region: _error(each) for region, each in found.items()} for name, found in by_method.items()}
    scans = [len(each) for each in by_method[METHODS[-1]].values()]
    counted = f"each in {min(scans)} to {max(scans)} of them"  # those of a millilitre and more
    sides = ", both sides together" if both else ""
    yield f"## DRF {drf:g}{sides}: {max(scans)} scans, {len(mean[METHODS[0]])} regions, {counted}"
    yield ""
    for name in METHODS:
        beyond = sum(abs(each) > BAR for each in mean[name].values())
        chances = 2 * norm.sf(BAR / np.array(list(error[name].values())))
        of_all = np.mean(list(mean[name].values()))
        yield (
            f"- {name}: {beyond} beyond {BAR:g} % on average; by chance {chances.sum():.1f}, none with a chance of "
            f"{100 * np.prod(1 - chances):.0f} %. Mean {of_all:+.2f} %."
        )
    yield ""
    yield "| region | " + " | ".join(METHODS) + " |"
    yield "|---|" + "---|" * len(METHODS)
    for region in sorted(mean[METHODS[-1]], key=lambda each: -abs(mean[METHODS[-1]][each]))[
        : SHOWN // 3 if both else SHOWN
    ]:
        cells = [f"{mean[name][region]:+.2f} +- {error[name][region]:.2f} %" for name in METHODS]
        yield f"| {region} | " + " | ".join(cells) + " |"
    yield ""


def _by_region(rows: list[dict], both: bool) -> dict[str, list[float]]:
    """Each region's biases, scan by scan; ``both``: the mean of those of its sides that count."""
    found: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        sides: dict[str, list[float]] = defaultdict(list)
        for region, bias in row["regions"].items():
            sides[re.sub("_(left|right)$", "", region) if both else region].append(bias)
        for region, each in sides.items():
            found[region].append(float(np.mean(each)))
    return found


def _error(values: list[float]) -> float:
    return float(np.std(values, ddof=1) / np.sqrt(len(values)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("cohort", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--also", type=Path)
    parser.add_argument("--shard", default="0/1")
    given = parser.parse_args()
    table.run(given.cohort, given.work, *map(int, given.shard.split("/")), names=METHODS)
    given.out.write_text(summarise([given.work, *([given.also] if given.also else [])]))
    sys.stdout.write(given.out.read_text())
