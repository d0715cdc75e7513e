"""Bring labelled people into the template's box at 1 mm, each with heads around the brain, for ``train.py``.

    python reproduce/regions/prepare.py ANATOMIES HEADS OUT [PERSON ...]

ANATOMIES: {id}_SS, _glm, _tissues (see ``simulation.sources``). HEADS: whole-head label maps. OUT/{id}.npz: ``t1``,
``classes``, ``sides``, ``brain`` at 1 mm; ``heads`` at 2 mm.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from scipy import ndimage

from m2diff.io import nifti
from m2diff.parcellation import atlas, space
from m2diff.preparation import brain, grid
from m2diff.simulation.head import find_heads, grow_head, map_head
from m2diff.simulation.tissue_maps import largest_component
from m2diff.volume import Volume

FINE = np.diag([0.5, 0.5, 0.5, 1.0])
"""From voxels of 1 mm to those of the box; voxel 0 of both lies at the same place."""
MAPPED = 3  # mapped heads a person, beside a grown one


def main(anatomies: Path, heads: Path, out: Path, people: list[str]) -> None:
    """Prepare everybody who is not there yet."""
    out.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for person in people or sorted(path.name.split("_")[0] for path in anatomies.glob("*_SS.nii.gz")):
        if not (out / f"{person}.npz").is_file():
            np.savez(out / f"{person}.npz", **prepared(anatomies, person, find_heads(heads), rng))
            print(person, flush=True)


def prepared(folder: Path, person: str, heads: list[Path], rng: np.random.Generator) -> dict[str, np.ndarray]:
    """One person in the box."""
    t1, labels, tissues = (nifti.load(folder / f"{person}_{what}.nii.gz") for what in ("SS", "glm", "tissues"))
    inside = largest_component(tissues.data > 0)
    small = grid.to_working(t1)
    placement, _ = brain._affine(Volume(small.data, small.affine))
    classes, sides = filled(labels.data, tissues.data, inside)
    affine, shape = space.AFFINE @ FINE, tuple(2 * size for size in space.SHAPE)
    index = np.linalg.inv(t1.affine) @ placement @ affine

    def carried(image: np.ndarray, order: int) -> np.ndarray:
        return ndimage.affine_transform(image, index[:3, :3], index[:3, 3], shape, order=order, prefilter=False)

    there = carried(inside.astype(np.uint8), 0)
    coarse, edge = there[::2, ::2, ::2].astype(bool), space.AFFINE
    around = [grow_head(coarse, rng, space.EDGE_MM)]
    around += [map_head(coarse, edge, heads[int(n)]) for n in rng.choice(len(heads), MAPPED, replace=False)]
    return {
        "t1": carried(t1.data * inside, 1).astype(np.float16),
        "classes": carried(classes, 0).astype(np.uint8),
        "sides": carried(sides, 0).astype(np.int8),
        "brain": there,
        "heads": np.array(around, dtype=np.uint8),
        "placement": placement,
    }


def filled(labels: np.ndarray, tissues: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Classes and sides of the brain: grey and white that the atlas leaves out get the nearest class of their kind."""
    classes, sides = atlas.from_neuromorphometrics(labels)
    bright = inside & (tissues >= 2)
    known = classes > atlas.VENTRICLES
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    gap = bright & ~known & (classes != atlas.VENTRICLES)
    classes[gap], sides[gap] = (image[tuple(nearest)][gap] for image in (classes, sides))
    classes[inside & (classes == atlas.OUTSIDE)] = atlas.FLUID
    classes[~inside] = atlas.OUTSIDE
    return classes, sides


if __name__ == "__main__":
    main(*(Path(each) for each in sys.argv[1:4]), sys.argv[4:])
