"""M2Diff's rows of the table where it is told nothing of the reconstruction: python untold.py COHORT OUT [SHARD/SHARDS]

The same scans, weights and scores as in table.py, but what the sidecars say of the reconstruction is left out; kept in
OUT/results.jsonl as there.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import table

from m2diff.enhancement.run import Enhanced, enhance
from m2diff.io.reconstruction import without_reconstruction
from m2diff.volume import Volume


def untold(image: Volume, **options: Any) -> Enhanced:
    """The answer to ``image`` whose sidecar says nothing of its reconstruction."""
    assert image.source is not None
    sidecar = without_reconstruction(image.source.sidecar)
    return enhance(replace(image, source=replace(image.source, sidecar=sidecar)), **options)


if __name__ == "__main__":
    table.enhance = untold
    shards = map(int, sys.argv[3].split("/")) if len(sys.argv) > 3 else ()
    table.run(Path(sys.argv[1]), Path(sys.argv[2]), *shards, names=["M2Diff, 1 step"])
