"""The mean bias of every region, on enough scans to tell it from their noise.

    python reproduce/01-first-table/bias.py COHORT WORK OUT.md [SHARD/SHARDS]

A region's bias in one low-dose scan is mostly the noise of that scan: on ten of them the mean of a small region is
uncertain by 1 to 3 %. COHORT has more scans of the held-out people (the README says which); the same command goes on
where it stopped, and keeps what it scored in WORK. OUT.md: the regions by the mean bias of M2Diff's answer, with its
standard error over the scans, beside that of the low-dose scan, both against the standard-dose scan.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import table

SHOWN = 12
BAR = 2.0
METHODS = ("low-dose input", "M2Diff, 1 step")


def summarise(work: Path) -> str:
    """The regions of the largest mean bias, at each dose."""
    rows = [json.loads(line) for line in (work / "results.jsonl").read_text().splitlines()]
    text = []
    for drf in table.DOSES:
        found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in METHODS}
        for row in rows:
            _, dose, name = row["key"]
            if dose == drf:
                for region, bias in row["regions"].items():
                    found[name][region].append(bias)
        mean = {name: {region: float(np.mean(each)) for region, each in found[name].items()} for name in METHODS}
        beyond = {name: sum(abs(each) > BAR for each in mean[name].values()) for name in METHODS}
        scans = len({row["key"][0] for row in rows if row["key"][1] == drf})
        text += [f"## DRF {drf:g}: {scans} scans, {len(mean[METHODS[0]])} regions", ""]
        text += [f"Beyond {BAR:g} % on average: " + ", ".join(f"{beyond[name]} ({name})" for name in METHODS) + ".", ""]
        text += ["| region | " + " | ".join(METHODS) + " |", "|---|" + "---|" * len(METHODS)]
        for region in sorted(mean[METHODS[-1]], key=lambda each: -abs(mean[METHODS[-1]][each]))[:SHOWN]:
            cells = []
            for name in METHODS:
                each = found[name][region]
                cells.append(f"{np.mean(each):+.2f} +- {np.std(each, ddof=1) / np.sqrt(len(each)):.2f} %")
            text.append(f"| {region} | " + " | ".join(cells) + " |")
        text.append("")
    return "\n".join(text)


if __name__ == "__main__":
    cohort, work, out = map(Path, sys.argv[1:4])
    table.run(cohort, work, *(map(int, sys.argv[4].split("/")) if len(sys.argv) > 4 else ()), names=METHODS)
    out.write_text(summarise(work))
    sys.stdout.write(summarise(work))
