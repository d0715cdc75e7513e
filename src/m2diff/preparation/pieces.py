"""Is the MRI the same person's? Do its folds lie where the PET's do?

Another person's MRI can match in outline, but its folds lie millimetres off. So each cube of the brain is moved to
where the detail that the MRI predicts agrees best with the PET's (normalised cross-correlation). The answer is the
product of two numbers: the share of cubes that stay in place, weighted by their squared agreement (sure where the PET
is clear), and the mean agreement of all cubes in place over that of moved ones (still sure in noise).
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from m2diff.preparation import grid, mask
from m2diff.shapes import MaskArray, VolumeArray

Distances: TypeAlias = npt.NDArray[np.float64]  # (shift,) mm
Agreements: TypeAlias = npt.NDArray[np.float32]  # (cube, shift) from -1 to 1

SIDE, STEP, REACH = 20, 7, 4
"""Of a cube, from one to the next, and moved at most, in voxels of the working grid: 40, 14 and 8 mm."""
STAYS_MM, GONE_MM = 3.5, 6.0  # a cube moved by up to the first is in place, by the second and more elsewhere
_INSIDE = 0.7  # least share of a cube that lies in the brain
DETAIL_MM = (5.0, 9.0)
"""FWHM of the two Gaussians whose difference is the detail: folds, finer than ventricles and outline."""
_PET_MM, _CALM_MM = 4.0, 5.0  # FWHM of the prediction (as a PET's), and of the PET that predictions are read from
_FEWEST = 8  # least number of cubes for a judgement
SHARPEST = 3.0  # upper limit of the second number: its denominator can be near zero


def folds(pet: VolumeArray, mri: VolumeArray, brain: MaskArray) -> float:
    """Agreement of the folds on one working grid: about 1.5 for the same person, 0.3 for two people, 0 for nothing."""
    span = tuple(slice(max(part.start - REACH, 0), part.stop + REACH) for part in mask.box(brain))
    pet, mri, brain = pet[span], mri[span], brain[span]
    expected = grid.smoothed(_expected(grid.smoothed(pet, _CALM_MM), mri, brain), _PET_MM)
    distance, agreement = _moved(detail(pet), detail(expected), brain)
    if len(agreement) < _FEWEST:
        return 0.0
    stay, gone = distance <= STAYS_MM, distance >= GONE_MM
    best, together = agreement.max(axis=1), agreement.mean(axis=0)
    in_place = (best**2 * stay[agreement.argmax(axis=1)]).sum() / max((best**2).sum(), 1e-12)
    sharper = max(together[stay].max(), 0.0) / max(together[gone].max(), 1e-3)
    return float(in_place * min(sharper, SHARPEST))


def detail(data: VolumeArray) -> VolumeArray:
    """The structure of an image between the two ``DETAIL_MM``."""
    fine, coarse = DETAIL_MM
    return grid.smoothed(data, fine) - grid.smoothed(data, coarse)


def _expected(pet: VolumeArray, mri: VolumeArray, brain: MaskArray, bins: int = 32) -> VolumeArray:
    """The mean of the PET at each grey value that the MRI has in the brain."""
    low, high = np.percentile(mri[brain], [0.5, 99.5])
    index = np.clip((mri - low) / max(high - low, 1e-9) * bins, 0, bins - 1).astype(np.int64)
    count = np.bincount(index[brain], minlength=bins)
    total = np.bincount(index[brain], pet[brain].astype(np.float64), minlength=bins)
    return (total / np.maximum(count, 1))[index].astype(np.float32)


def _moved(fixed: VolumeArray, moving: VolumeArray, brain: MaskArray) -> tuple[Distances, Agreements]:
    """Shifts of at most ``REACH``, in mm, and the agreement of each cube of ``moving``, so shifted, with ``fixed``."""
    from scipy import fft

    wide, ways = SIDE + 2 * REACH, 2 * REACH + 1
    room = [(REACH, max(REACH, wide - REACH - size)) for size in fixed.shape]
    padded = [np.pad(image, room) for image in (fixed, moving, brain.astype(np.float32))]
    cubes = [np.lib.stride_tricks.sliding_window_view(a, (wide,) * 3)[::STEP, ::STEP, ::STEP] for a in padded]
    frame = np.zeros((wide,) * 3, dtype=np.float32)
    frame[REACH:-REACH, REACH:-REACH, REACH:-REACH] = 1.0
    chosen = np.einsum("abcijk,ijk->abc", cubes[2], frame) >= _INSIDE * SIDE**3
    still, near, inside = (a[chosen] for a in cubes)  # (n, wide, wide, wide)
    still = still * inside * frame

    def correlated(of: npt.NDArray[np.float32], within: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The sum of ``of`` times ``within``, moved: (n, ways, ways, ways)."""
        axes = (-3, -2, -1)
        sums = fft.irfftn(fft.rfftn(within, axes=axes) * fft.rfftn(of, axes=axes).conj(), s=frame.shape, axes=axes)
        return np.asarray(np.roll(sums, REACH, axis=axes)[..., :ways, :ways, :ways])

    energy = np.maximum(correlated(frame, near**2), 0.0) * (still**2).sum(axis=(1, 2, 3))[:, None, None, None]
    agreement = correlated(still, near) / np.sqrt(np.maximum(energy, 1e-6 * energy.max(initial=0.0) + 1e-30))
    distance = np.linalg.norm(np.indices((ways,) * 3).reshape(3, -1).T - REACH, axis=1)
    ball = distance <= REACH
    return distance[ball] * grid.WORKING_MM, agreement.reshape(len(agreement), len(ball))[:, ball]
