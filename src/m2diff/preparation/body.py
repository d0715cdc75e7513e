"""The head in a scan that shows more than one: torso, heart, bladder. A plain head scan is left as it is.

On blocks of 8 mm, smoothed once more, noise at a hundredth of the dose hardly shows. The brain is a piece of uptake of
a brain's size and shape with a head's cross-section around it and no body above it, at whatever level it stands out.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from m2diff.errors import BadInput
from m2diff.preparation.grid import FWHM_PER_SIGMA, WORKING_MM
from m2diff.shapes import MaskArray, VolumeArray

TALL_MM = 320.0  # a field of view up to this holds a head, neck and shoulders, and never a whole heart beside a brain
HEAD_MM, ABOVE_MM = 220.0, 40.0  # what is kept below and above the brain's upper end: chin, and scalp
WIDE_MM = 270.0  # heads are narrower in any direction, torsos are wider from left to right
BODY_ML, BODY_SHARE = 3500.0, 0.2  # a body is above this share of the value that so much exceeds; lungs are in it
BELOW_ML = 1000.0  # less of a body than this below the head is a neck, and nothing is cropped
BRAIN_ML = (500.0, 2600.0)
BRAIN_MM = ((80.0, 220.0), (95.0, 260.0), (72.0, 230.0))  # extent of a smoothed brain along x, y and z
HEAD_CM2 = 450.0  # a head's cross-section is below it, an adult's trunk above
AIR_MM = (24.0, 104.0)  # from here to there above a brain lies air
_BLOCK = 4  # working voxels along a block's edge
_MM = _BLOCK * WORKING_MM
_CALM_MM = 12.0  # FWHM
_STEP = 0.8  # from one level to the next


@dataclass(frozen=True)
class Kept:
    """What is kept of a scan that shows more than a head: a span of slices (k) and the body's length in view, mm."""

    span: slice
    body_mm: float

    @property
    def mm(self) -> float:
        """Length of what is kept."""
        return (self.span.stop - self.span.start) * WORKING_MM


def head_in(calm: VolumeArray) -> Kept | None:
    """Where the head lies in a smoothed scan on the working grid; None where it shows no more than a head.

    BadInput where it shows a body, or is as wide as one, and no head is found at its upper end.
    """
    if min(calm.shape) < 2 * _BLOCK or calm.shape[2] * WORKING_MM <= TALL_MM:
        return None
    small = _blocks(calm)
    body = _body(small)
    heights = np.flatnonzero(body.any(axis=(0, 1)))
    length = float(len(heights) and (heights[-1] + 1 - heights[0]) * _MM)
    if length <= TALL_MM:
        return None
    top = _top_of_brain(small, body)
    if top is None:
        raise BadInput(
            f"The PET shows {length:.0f} mm of a body and no whole head at its upper end; give a scan of the head, and "
            "check that the header says which end is up."
        )
    low = max(round((top * _MM - HEAD_MM) / WORKING_MM), 0)
    high = min(round((top * _MM + ABOVE_MM) / WORKING_MM), calm.shape[2])
    below = body[:, :, : int(low / _BLOCK)].sum() * _MM**3 / 1000.0
    return Kept(slice(low, high), length) if below >= BELOW_ML else None


def width_mm(calm: VolumeArray) -> float:
    """The body's width from left to right in a smoothed scan on the working grid, mm: the median over its slices."""
    if min(calm.shape) < 2 * _BLOCK or calm.shape[0] * WORKING_MM <= WIDE_MM:
        return 0.0
    across = _body(_blocks(calm)).any(axis=1).sum(axis=0)
    return float(np.median(across[across > 0]) * _MM) if across.any() else 0.0


def _blocks(calm: VolumeArray) -> VolumeArray:
    """Means of blocks of 8 mm, smoothed by ``_CALM_MM``; what does not fill a block at the upper ends is left out."""
    i, j, k = (size // _BLOCK for size in calm.shape)
    cut = calm[: i * _BLOCK, : j * _BLOCK, : k * _BLOCK]
    small = cut.reshape(i, _BLOCK, j, _BLOCK, k, _BLOCK).mean(axis=(1, 3, 5), dtype=np.float32)
    return np.asarray(ndimage.gaussian_filter(small, _CALM_MM / FWHM_PER_SIGMA / _MM, mode="nearest"))


def _body(small: VolumeArray) -> MaskArray:
    """The body in blocks, filled slice by slice: its largest piece."""
    count = min(int(BODY_ML * 1000.0 / _MM**3), small.size // 20)
    level = float(np.partition(small.ravel(), small.size - 1 - count)[small.size - 1 - count])
    pieces, _ = ndimage.label(small > BODY_SHARE * level)
    sizes = np.bincount(pieces.ravel())
    if len(sizes) < 2:
        return np.zeros(small.shape, dtype=bool)
    plane = ndimage.generate_binary_structure(2, 1)[:, :, None]
    return np.asarray(ndimage.binary_fill_holes(pieces == sizes[1:].argmax() + 1, plane))


def _top_of_brain(small: VolumeArray, body: MaskArray) -> int | None:
    """The block (k) above the highest piece of uptake that a brain may be; None where there is none."""
    found: list[int] = []
    level, least = float(small.max()), float(small[body].min())
    while (level := level * _STEP) > least:
        pieces, _ = ndimage.label(small > level)
        for number, box in enumerate(ndimage.find_objects(pieces), start=1):
            if all(low <= (s.stop - s.start) * _MM <= high for s, (low, high) in zip(box, BRAIN_MM, strict=True)):
                piece = ndimage.binary_fill_holes(pieces[box] == number)
                if _is_brain(piece, box, body):
                    found.append(int(box[2].stop))
    return max(found, default=None)


def _is_brain(piece: MaskArray, box: tuple[slice, slice, slice], body: MaskArray) -> bool:
    """Whether a piece of uptake in ``box`` has a brain's volume, a head around it and air above it."""
    if not BRAIN_ML[0] <= piece.sum() * _MM**3 / 1000.0 <= BRAIN_ML[1]:
        return False
    middle = (box[2].start + box[2].stop) // 2
    slices, _ = ndimage.label(body[:, :, middle])
    around = slices[box[0], box[1]][piece[:, :, middle - box[2].start]]
    section = np.isin(slices, around[around > 0]).sum() * _MM**2 / 100.0
    above = body[box[0], box[1], box[2].stop + int(AIR_MM[0] / _MM) : box[2].stop + int(AIR_MM[1] / _MM)]
    over = above[piece.any(axis=2)]
    return bool(section <= HEAD_CM2 and (over.size == 0 or over.mean() < 0.3))
