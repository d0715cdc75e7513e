"""What a scan shows on the working grid: head, brain and scale of a PET, tissue of an MRI. Not for scores."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from m2diff.errors import BadInput
from m2diff.preparation.body import Kept, head_in
from m2diff.preparation.grid import WORKING_MM, WorkingImage, smoothed, to_working
from m2diff.shapes import MaskArray, VolumeArray
from m2diff.volume import Volume

CALM_MM = 10.0  # FWHM at which a brain stands out of its noise even at a hundredth of the dose
MRI_CALM_MM = 4.0  # the same for an MRI, which is less noisy
LEVEL_ML = 100.0  # volume of tissue above ``uptake_level``: larger than any lesion, several times smaller than a brain
BRAIN_SHARE = 0.4  # a brain's voxels are above this share of the level, skull and scalp mostly below
HEAD_SHARE = 0.12
"""A head's voxels are above this share of the level; scalp and skull of an FDG scan are at a fifth and more."""
HEAD_MARGIN_MM = 6.0
MRI_CEILING = 4.0  # upper limit of normalised MRI: fat and vessels are brighter, and carry nothing


def calmed(data: VolumeArray) -> VolumeArray:
    """A PET scan smoothed by ``CALM_MM``."""
    return smoothed(data, CALM_MM)


def uptake_level(calm: VolumeArray) -> float:
    """The value that 100 ml of a smoothed scan exceed (or a twentieth of the image, if that is less)."""
    count = int(min(LEVEL_ML * 1000.0 / WORKING_MM**3, calm.size / 20))
    flat = calm.ravel()
    return float(np.partition(flat, flat.size - 1 - count)[flat.size - 1 - count])


def brain(calm: VolumeArray, top: float) -> MaskArray:
    """The rough brain in a smoothed scan of level ``top``; BadInput where nothing stands out."""
    if not top > 0.0:
        raise BadInput(
            f"The PET shows no activity (100 ml of tissue should stand out, but their level is {top:g}); "
            "check that the file is the reconstructed scan."
        )
    return calm > BRAIN_SHARE * top


def head(calm: VolumeArray, top: float) -> MaskArray:
    """The head in a smoothed scan of level ``top``, filled, grown by ``HEAD_MARGIN_MM``; all True if none is found."""
    found = largest_piece(calm > HEAD_SHARE * top)
    if not found.any():
        return np.ones(calm.shape, dtype=bool)
    for axis in range(3):  # fill by slice: the field of view may cut the neck open
        found = ndimage.binary_fill_holes(found, np.expand_dims(ndimage.generate_binary_structure(2, 1), axis))
    return grown(found, HEAD_MARGIN_MM / WORKING_MM)


def support(data: VolumeArray) -> MaskArray:
    """The head in a PET scan on the working grid, as ``head``."""
    calm = calmed(data)
    return head(calm, uptake_level(calm))


def tissue(data: VolumeArray) -> MaskArray:
    """The head or the brain in an MRI on the working grid."""
    return largest_piece(bright(smoothed(data, MRI_CALM_MM)))


def bright(calm: VolumeArray) -> MaskArray:
    """What is not air in a smoothed MRI: above half of Otsu's threshold, as bright fat lifts that above grey matter."""
    from skimage.filters import threshold_otsu

    return calm > 0.5 * threshold_otsu(np.clip(calm, 0.0, np.percentile(calm, 99.5)))


def largest_piece(mask: MaskArray) -> MaskArray:
    """The largest connected piece of ``mask``; empty where it is empty."""
    pieces, count = ndimage.label(mask)
    if count == 0:
        return np.zeros(mask.shape, dtype=bool)
    sizes = np.bincount(pieces.ravel())
    return np.asarray(pieces == sizes[1:].argmax() + 1)


def grown(mask: MaskArray, voxels: float) -> MaskArray:
    """``mask`` with everything within so many voxels of it."""
    return np.asarray(ndimage.distance_transform_edt(~mask) <= voxels)


def box(mask: MaskArray, margin: int = 0) -> tuple[slice, slice, slice]:
    """The smallest box (i, j, k) around ``mask``, grown by ``margin`` voxels inside the image."""
    spans = zip(ndimage.find_objects(mask.astype(np.uint8))[0], mask.shape, strict=True)
    i, j, k = (slice(max(span.start - margin, 0), min(span.stop + margin, size)) for span, size in spans)
    return i, j, k


@dataclass(frozen=True, eq=False)
class PetOnGrid:
    """``image`` on the working grid; ``brain`` (rough) and ``head``: masks; ``scale``: the brain's mean, PET's unit.

    ``calm``: the image smoothed. ``kept``: the slices that masks and scale come from where more than a head is in view.
    """

    image: WorkingImage
    brain: MaskArray
    head: MaskArray
    scale: float
    calm: VolumeArray
    kept: Kept | None = None

    @classmethod
    def of(cls, pet: Volume) -> PetOnGrid:
        """Bring the scan to the working grid; BadInput where it shows no activity, or a body without a head."""
        image = to_working(pet)
        calm = calmed(image.data)
        kept = head_in(calm)
        seen = calm if kept is None else calm[:, :, kept.span]
        top = uptake_level(seen)
        inside, around = brain(seen, top), head(seen, top)
        scale = float(seen[inside].mean(dtype=np.float64))
        if kept is not None:
            beside = ((0, 0), (0, 0), (kept.span.start, calm.shape[2] - kept.span.stop))
            inside, around = np.pad(inside, beside), np.pad(around, beside)
        return cls(image, inside, around, scale, calm, kept)


def normalise_mri(data: VolumeArray, within: MaskArray | None = None) -> VolumeArray:
    """Divide an MRI on the working grid by the median of its tissue; limit it to 0 ... ``MRI_CEILING``.

    ``within`` (the PET's brain) restricts the median, so that skull or none does not matter. BadInput without tissue.
    """
    calm = smoothed(data, MRI_CALM_MM)
    if float(calm.max()) <= max(float(calm.min()), 0.0):
        raise BadInput("The MRI shows no tissue where the PET lies; check that both are of the same person and place.")
    tissue = bright(calm)
    if within is not None and (tissue & within).sum() > 0.1 * within.sum():
        tissue &= within
    return np.clip(data / np.float32(np.median(data[tissue])), 0.0, MRI_CEILING)
