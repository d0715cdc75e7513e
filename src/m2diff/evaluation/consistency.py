"""Do the slices of an image belong together? Finds errors that change more between slices than within them.

With e = image - truth inside the mask, and d_a e the difference of neighbouring voxels along axis a:

    roughness   RMS of d_z e / RMS of d_x e and d_y e together, over single voxels
    flicker     the same of whole planes: mean of d_a e over the n voxels that two neighbouring planes share, times
                sqrt(n); its RMS over all pairs along z, over that along x and y. Shows small offsets of slices

White noise has 1 in both, whatever the mask. The anatomy and the size of the error cancel. Compare with the low-dose
scan's, whose noise may differ along z. Pairs of planes that share under a tenth of the largest pair's voxels are left
out. z is the axis nearest to the body's. NaN for an image without error.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import nan

import nibabel as nib
import numpy as np
import numpy.typing as npt

from m2diff.evaluation.metrics import check_comparable
from m2diff.shapes import Affine, MaskArray, VolumeArray

LEAST_SHARE = 0.1
_Values = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Consistency:
    """Along z over in-plane; see the module."""

    roughness: float
    flicker: float


def consistency(image: VolumeArray, truth: VolumeArray, mask: MaskArray, *, axis: int = 2) -> Consistency:
    """Change of the error of ``image`` (i, j, k) along ``axis``, relative to the other two axes."""
    check_comparable(image, truth, mask)
    error = np.where(mask, image.astype(np.float64) - truth, 0.0)
    steps = [_steps(error, mask, along) for along in range(3)]
    across = [along for along in range(3) if along != axis]
    return Consistency(
        *(_ratio(steps[axis][of], np.concatenate([steps[along][of] for along in across])) for of in (0, 1))
    )


def slice_axis(affine: Affine) -> int:
    """The array axis that runs nearest to the body's, feet to head."""
    codes = nib.aff2axcodes(affine)
    return next(axis for axis, code in enumerate(codes) if code in ("S", "I"))


def _steps(error: _Values, mask: MaskArray, axis: int) -> tuple[_Values, _Values]:
    """Differences of the error along an axis: of voxel pairs; of pairs of planes, as sum / sqrt(number)."""
    error, mask = np.moveaxis(error, axis, 0), np.moveaxis(mask, axis, 0)
    both = mask[1:] & mask[:-1]
    difference = np.where(both, error[1:] - error[:-1], 0.0)
    shared = both.sum(axis=(1, 2))
    wide = shared >= max(LEAST_SHARE * shared.max(initial=0), 1)
    return difference[both], difference.sum(axis=(1, 2))[wide] / np.sqrt(shared[wide])


def _ratio(along: _Values, across: _Values) -> float:
    """RMS over RMS; NaN where there is nothing to divide."""
    if not along.size or not across.size or not across.any():
        return nan
    return float(np.sqrt(np.mean(along**2) / np.mean(across**2)))
