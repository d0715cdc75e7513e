"""Ship a run's weights and card: python ship.py RUN DESTINATION [RESULTS METHOD].

RESULTS is the folder of table.py, METHOD a row of its table such as "M2Diff": its numbers go onto the card. Weights
are packed in steps of a tenth of each row's root mean square (``families/stored.py``).
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from m2diff.enhancement.results import CardScores, Measured
from table import over_persons

sys.path.insert(0, str(Path(__file__).parents[1]))
from shipping import ship

INPUT = "low-dose input"


def measured(results: Path, method: str) -> Measured:
    """The method's numbers by dose, as a card holds them."""
    rows = [json.loads(line) for line in (results / "results.jsonl").read_text().splitlines()]
    by_drf = {}
    for drf in sorted({row["key"][1] for row in rows}):
        mine, inputs = ([row for row in rows if row["key"][1:] == [drf, name]] for name in (method, INPUT))
        psnr = over_persons(mine, "psnr")
        by_drf[f"{drf:g}"] = CardScores(
            psnr=round(psnr.mean, 2),
            psnr_interval=(round(psnr.low, 2), round(psnr.high, 2)),
            input_psnr=round(over_persons(inputs, "psnr").mean, 2),
            **{key: round(over_persons(mine, key).mean, 4) for key in ("ssim", "nrmse")},
            **{f"input_{key}": round(over_persons(inputs, key).mean, 4) for key in ("ssim", "nrmse")},
        )
    people = len({row["person"] for row in inputs})
    on = f"{len(inputs)} simulated scans of {people} development people, against the standard-dose scan, in the brain"
    return Measured(on=on, by="reproduce/base/table.py", by_drf=by_drf)


if __name__ == "__main__":
    run, destination, *named = sys.argv[1:]
    ship(run, destination, measured(Path(named[0]), named[1]) if named else None, step=0.1)
