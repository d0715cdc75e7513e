"""Put the seven small checkpoints into the package, with what the benchmark measured of them on their cards.

    python reproduce/side-by-side/ship.py RUNS BENCHMARK [BENCHMARK ...]

RUNS is the folder of train.sh, each BENCHMARK an --out of ``m2diff benchmark`` that scored some of its runs.
"""

from __future__ import annotations

import csv
import json
import sys
from collections import defaultdict
from importlib import resources
from pathlib import Path

from m2diff.enhancement.results import CardScores, Measured

sys.path.insert(0, str(Path(__file__).parents[1]))
from shipping import ship

FAMILIES = ("m2diff", "regress", "ddpm", "mdaa", "mapdiff", "mfdiff", "ddpet3d")
METRICS = ("psnr", "ssim", "nrmse")
Table = dict[tuple[str, str], dict[str, tuple[float, float, float]]]


def numbers(benchmarks: list[Path]) -> tuple[Table, dict]:
    """(method, drf) to metric to mean and interval, against the standard scan; and who was scored."""
    found: Table = defaultdict(dict)
    for folder in benchmarks:
        with (folder / "summary.tsv").open(newline="") as file:
            for row in csv.DictReader(file, delimiter="\t"):
                if row["group"] == "all" and row["against"] == "standard" and row["metric"] in METRICS:
                    values = tuple(float(row[key]) for key in ("mean", "low", "high"))
                    found[row["method"], row["drf"]][row["metric"]] = values
    return found, json.loads((benchmarks[0] / "benchmark.json").read_text())["scored"]


def scores(ours: dict[str, tuple[float, float, float]], inputs: dict[str, tuple[float, float, float]]) -> CardScores:
    """A dose's line on the card."""
    return CardScores(
        psnr=round(ours["psnr"][0], 2),
        input_psnr=round(inputs["psnr"][0], 2),
        psnr_interval=(round(ours["psnr"][1], 2), round(ours["psnr"][2], 2)),
        **{key: round(ours[key][0], 4) for key in ("ssim", "nrmse")},
        **{f"input_{key}": round(inputs[key][0], 4) for key in ("ssim", "nrmse")},
    )


def main(runs: Path, benchmarks: list[Path]) -> None:
    """Ship all seven."""
    found, scored = numbers(benchmarks)
    who = f"{scored['scans']} simulated scans of {len(scored['persons'])} held-out people of OASIS-1"
    for family in FAMILIES:
        name = f"{family}-small"
        test = Measured(
            on=f"{who}; inside the brain, to the standard scan",
            by="m2diff benchmark, reproduce/side-by-side/README.md",
            by_drf={
                drf: scores(ours, found["low-dose", drf]) for (method, drf), ours in found.items() if method == name
            },
        )
        destination = Path(str(resources.files("m2diff"))) / "weights" / name
        ship(runs / name, destination, test)
        if family == "ddpet3d":  # its chain starts from the control of its own size and budget
            card = destination.with_suffix(".json")
            card.write_text(
                json.dumps({**json.loads(card.read_text()), "first_estimate": "regress-small"}, indent=2) + "\n"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(text) for text in sys.argv[2:]])
