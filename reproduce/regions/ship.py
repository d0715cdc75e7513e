"""Pack a trained region network, and the average of its training people, into the package.

python reproduce/regions/ship.py RUN/region_net.pt PREPARED PACKAGE_FOLDER [--without PERSON ...]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from m2diff.parcellation import atlas, segment, space

sys.path.insert(0, str(Path(__file__).parents[1]))
from shipping import pack


def main(run: Path, prepared: Path, out: Path, without: list[str]) -> None:
    """Write regions.safetensors and average.npz."""
    save_file(pack(torch.load(run, weights_only=True), step=0.08), out / "regions.safetensors")
    votes = np.zeros((2 * len(atlas.classes()), *space.SHAPE), dtype=np.uint8)
    for file in sorted(prepared.glob("*.npz")):
        if file.stem not in without:
            held = np.load(file)
            classes, sides = (held[name][::2, ::2, ::2].astype(np.int16) for name in ("classes", "sides"))
            np.put_along_axis(
                votes,
                (fine := segment.fine_number(classes, sides))[None],
                np.take_along_axis(votes, fine[None], 0) + 1,
                0,
            )
    np.savez_compressed(out / "average.npz", fine=votes.argmax(0).astype(np.uint8))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("run", "prepared", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--without", nargs="*", default=[])
    given = parser.parse_args()
    main(given.run, given.prepared, given.out, given.without)
