"""Anatomies out of whole-head label maps: T1 images painted from their labels, with tissue maps beside them.

    python reproduce/base/paint.py HEADS OUT [--versions 2] [--jobs J]

For training alone: shapes of more people, and structures whose contrasts vary each on its own, around those of T1
images (SynthSeg, Billot et al., Medical Image Analysis 86, 2023, whose idea this is, draws them at random).
``m2diff simulate --anatomies OUT`` reads what is written: {map}v{n}_T1w, _label-{GM,WM,CSF}_probseg and
_desc-aparcaseg_dseg. HEADS holds maps in FreeSurfer's numbers whose cortex is one label a side; its regions are laid
out by the seeds of the default anatomy. Widths are in voxels of 1 mm.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import nibabel as nib
import numpy as np
import numpy.typing as npt
from joblib import Parallel, delayed
from scipy import ndimage

from m2diff.simulation import regions
from m2diff.simulation.mni import label_by_seeds
from m2diff.simulation.tissue_maps import crop, largest_component

PLAIN_WHITE, LESIONS = (77, 78, 79, 251, 252, 253, 254, 255), (25, 57)
WHITE = (2, 41, 7, 46, 16, *PLAIN_WHITE, *LESIONS)  # the brainstem looks nearly white
CORTEX = {3: 1000, 42: 2000}
CISTERNS = 24
LOOKS = {
    "white": ((2, 41), 1.0), "cerebellar white": ((7, 46), 1.0), "brainstem": ((16,), 0.93), "cortex": ((3, 42), 0.66),
    "cerebellum": ((8, 47), 0.68), "thalamus": ((10, 49), 0.83), "caudate": ((11, 50), 0.70),
    "putamen": ((12, 51), 0.76), "pallidum": ((13, 52), 0.90), "hippocampus": ((17, 53), 0.67),
    "amygdala": ((18, 54), 0.67), "accumbens": ((26, 58), 0.70), "diencephalon": ((28, 60), 0.86),
}  # fmt: skip
"""T1 of structures in round numbers, measured on nobody; white matter 1, both sides alike. CSF and what has no label:
``CSF_LOOK``; lesions of white matter: ``LESION_LOOK``."""
CSF_LOOK, LESION_LOOK = 0.27, 0.75
CSF_JITTER, JITTER, TEXTURE = 0.03, 0.05, 0.035
"""Standard deviations of CSF's look, of a structure's from the table's, and of the texture in it."""
NUMBERS = {stem: numbers[0] for stem, numbers in regions.APARC.items()}


def main(heads: Path, out: Path, versions: int, jobs: int) -> None:
    """Paint every map of ``heads``."""
    out.mkdir(parents=True, exist_ok=True)
    maps = sorted(heads.glob("*.nii*"))
    Parallel(n_jobs=jobs)(delayed(paint)(path, number, out, versions) for number, path in enumerate(maps))


def paint(path: Path, number: int, out: Path, versions: int) -> None:
    """The anatomies of one map, the ``number``-th of its folder."""
    image = nib.as_closest_canonical(nib.load(path))
    codes, affine = np.asarray(image.dataobj).squeeze().astype(np.int16), np.asarray(image.affine, dtype=np.float64)
    solid = largest_component((codes > 0) & (codes < 300) & (codes != CISTERNS))
    cut, affine = crop(solid, affine, margin=4)
    codes, solid = codes[cut], solid[cut]
    brain = solid | (ndimage.binary_dilation(solid, iterations=2) & (codes == CISTERNS))
    white = np.isin(codes, WHITE) & brain
    grey = np.isin(codes, [label for labels, _ in LOOKS.values() for label in labels]) & ~white & brain
    soft = {"GM": _soft(grey), "WM": _soft(white), "CSF": _soft(brain & ~grey & ~white)}
    labels = _with_parcels(codes, brain)
    for version in range(1, versions + 1):
        stem = f"{path.name.split('.')[0]}v{version}"
        rng = np.random.default_rng([number, version])
        _save(out / f"{stem}_T1w.nii", (1000 * painted(codes, brain, rng)).astype(np.int16), affine)
        for tissue, share in soft.items():
            _save(out / f"{stem}_label-{tissue}_probseg.nii", share, affine)
        _save(out / f"{stem}_desc-aparcaseg_dseg.nii", labels, affine)


def painted(codes: npt.NDArray[np.int16], brain: npt.NDArray[np.bool_], rng: np.random.Generator) -> np.ndarray:
    """A T1 of the brain, white matter at about 1, 0 outside."""
    look = np.full(max(int(codes.max()), 255) + 1, CSF_LOOK + CSF_JITTER * rng.standard_normal(), dtype=np.float32)
    for labels, level in LOOKS.values():
        look[list(labels)] = level + JITTER * rng.standard_normal()
    look[list(PLAIN_WHITE)] = look[2]
    look[list(LESIONS)] = LESION_LOOK
    texture = ndimage.gaussian_filter(rng.standard_normal(codes.shape, dtype=np.float32), float(rng.uniform(0.7, 1.5)))
    image = look[codes] * (1 + TEXTURE * texture / texture.std())
    image = ndimage.gaussian_filter(image, float(rng.uniform(0.4, 0.8)))
    return np.where(brain, image, 0.0).clip(0)


def _with_parcels(codes: npt.NDArray[np.int16], brain: npt.NDArray[np.bool_]) -> npt.NDArray[np.int16]:
    """The labels, the cortex of each side cut into the house's regions, each by the first of its FreeSurfer numbers."""
    seeded = label_by_seeds(brain)
    parcel = np.zeros(256, dtype=np.int16)
    for code, name in regions.REGIONS.items():
        parcel[code] = NUMBERS.get(name.rsplit("_", 1)[0], 0)
    known = parcel[seeded] > 0
    nearest = ndimage.distance_transform_edt(~known, return_distances=False, return_indices=True)
    filled = parcel[seeded[tuple(nearest)]]
    out = np.where(brain, codes, 0).astype(np.int16)
    for label, side in CORTEX.items():
        out[(codes == label) & brain] = side + filled[(codes == label) & brain]
    return out


def _soft(mask: npt.NDArray[np.bool_]) -> np.ndarray:
    return ndimage.gaussian_filter(mask.astype(np.float32), 0.5, truncate=3.0)


def _save(path: Path, data: np.ndarray, affine: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(np.ascontiguousarray(data), affine), path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("heads", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--versions", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=1)
    given = parser.parse_args()
    main(given.heads, given.out, given.versions, given.jobs)
