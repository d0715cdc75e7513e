"""Make src/m2diff/simulation/tables/fdg_normals.json from the table of 537 normals.

    pip download fdg-neurosegmenter   # MIT licence; it holds CN_quantification.csv
    python reproduce/normals/make_table.py CN_quantification.csv src/m2diff/simulation/tables/fdg_normals.json

Only the mean and the covariance enter the package, rounded: no person's row does.
"""

import csv
import json
import sys
from pathlib import Path

import numpy as np

NOTE = (
    "Mean and covariance of regional FDG SUVR of 537 cognitively normal people, computed from CN_quantification.csv of "
    "fdg-neurosegmenter (PyPI). MIT License, Copyright (c) 2025 NM-Radiopharmacology: permission is granted, free of "
    "charge, to deal in the material without restriction, provided that this notice is included; it comes without "
    "warranty of any kind."
)


def main(source: Path, target: Path) -> None:
    """Write the table."""
    with source.open(newline="") as handle:
        names, *rows = list(csv.reader(handle))
    suvr = np.array(rows, dtype=np.float64)  # (persons, regions)
    table = {
        "note": NOTE,
        "persons": len(suvr),
        "names": names,
        "mean": suvr.mean(0).round(5).tolist(),
        "covariance": np.cov(suvr.T).round(7).tolist(),
    }
    target.write_text(json.dumps(table, indent=None, separators=(",", ":")).replace("],[", "],\n[") + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
