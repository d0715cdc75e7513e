"""Whether an MRI is the same person's: held against the PET piece by piece, do its folds lie where they should?

Somebody else's MRI finds a place by its outline and its ventricles, but its folds lie millimetres off, here this way
and there that. So the brain is cut into cubes, and each is moved about until the detail that the MRI lets expect
agrees best with the PET's (normalised cross-correlation). In a true fit most cubes stay where they are, whatever the
tracer, the sharpness and the noise; of cubes that know nothing, one in ten does so by chance.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from m2diff.prepare import grid, mask
from m2diff.shapes import MaskArray, VolumeArray

SIDE, STEP, REACH = 16, 8, 4
"""Of a cube, from one to the next, and moved at most, in voxels of the working grid: 32, 16 and 8 mm."""
STAYS_MM = 3.5
"""A cube that agrees best within this distance is in place."""
INSIDE = 0.7
"""Share of a cube that lies in the brain at least."""
DETAIL_MM = (5.0, 9.0)
"""FWHM of the two Gaussians whose difference is the detail: folds, finer than ventricles and outline."""
PET_MM, CALM_MM = 4.0, 5.0
"""What is expected is smoothed like a PET; what is expected of each grey value is read from a calmed PET."""
FEWEST = 8
"""With fewer cubes than this there is nothing to judge."""


def in_place(pet: VolumeArray, mri: VolumeArray, brain: MaskArray) -> float:
    """Share of the cubes of ``brain`` that agree best where they lie, 0 to 1; 0 where there are too few.

    ``pet`` and ``mri`` lie on the same working grid; ``brain`` is where the PET has one.
    """
    span = tuple(slice(max(part.start - REACH, 0), part.stop + REACH) for part in mask.box(brain))
    pet, mri, brain = pet[span], mri[span], brain[span]
    expected = grid.smoothed(_expected(grid.smoothed(pet, CALM_MM), mri, brain), PET_MM)
    moves = _moves(detail(pet), detail(expected), brain)
    if len(moves) < FEWEST:
        return 0.0
    return float((np.linalg.norm(moves, axis=1) * grid.WORKING_MM <= STAYS_MM).mean())


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


def _moves(fixed: VolumeArray, moving: VolumeArray, brain: MaskArray) -> npt.NDArray[np.int64]:
    """The shift (voxels), of at most ``REACH``, at which each cube of ``moving`` agrees best with ``fixed``: (n, 3)."""
    from scipy import fft

    wide = SIDE + 2 * REACH
    padded = [np.pad(a, REACH) for a in (fixed, moving, brain.astype(np.float32))]
    if min(padded[0].shape) < wide:
        return np.zeros((0, 3), dtype=np.int64)
    cubes = [np.lib.stride_tricks.sliding_window_view(a, (wide,) * 3)[::STEP, ::STEP, ::STEP] for a in padded]
    frame = np.zeros((wide,) * 3, dtype=np.float32)
    frame[REACH:-REACH, REACH:-REACH, REACH:-REACH] = 1.0
    chosen = np.einsum("abcijk,ijk->abc", cubes[2], frame) >= INSIDE * SIDE**3
    still, near, inside = (a[chosen] for a in cubes)  # (n, wide, wide, wide)

    def correlated(of: npt.NDArray[np.float32], within: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
        """The sum of ``of`` times ``within``, moved: (n, 2 REACH + 1, ...)."""
        axes = (-3, -2, -1)
        sums = fft.irfftn(fft.rfftn(within, axes=axes) * fft.rfftn(of, axes=axes).conj(), s=frame.shape, axes=axes)
        return np.roll(sums, REACH, axis=axes)[..., : 2 * REACH + 1, : 2 * REACH + 1, : 2 * REACH + 1]

    energy = np.maximum(correlated(frame, near**2), 0.0)
    agreement = correlated(still * inside * frame, near) / np.sqrt(energy + 1e-6 * energy.max(initial=1e-20))
    shifts = np.indices((2 * REACH + 1,) * 3).reshape(3, -1).T - REACH
    ball = np.linalg.norm(shifts, axis=1) <= REACH
    return shifts[ball][agreement.reshape(len(still), len(shifts))[:, ball].argmax(axis=1)]
