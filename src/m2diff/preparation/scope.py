"""What lies outside the scope, an adult's head: told by headers (refused) and by shape and contrast (noted).

The limits keep far from 105 simulated scans at DRF 1 to 100 and from real brains; each has its figures beside it.
"""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from m2diff.errors import BadInput
from m2diff.io import kind
from m2diff.preparation import body, mask
from m2diff.preparation.grid import WORKING_MM, smoothed
from m2diff.preparation.mask import PetOnGrid
from m2diff.shapes import MaskArray, VolumeArray
from m2diff.volume import Volume

SMALL_ML = 500.0  # less uptake is no adult's brain, which has 1050 ml and more here; a newborn's has 350
TINY_MM, TINY_VOXEL_MM = 100.0, 1.5
"""No head fits a field of view whose longest side is shorter; scanners for animals have voxels that fine."""
STRAIGHT, LONG_MM = 0.15, 80.0
"""A piece at least so long whose cross-section changes less than this share is a cylinder: 0.01 in a phantom, 0.55 and
more in brains."""
CROWN_MM, DEEP_MM, EVEN = 80.0, 14.0, 0.1
"""White matter is the most even tenth of what lies so deep under a brain's upper 80 mm."""
T1_RANK = 0.6
"""Share of that brain which white matter outshines: 0.80 and more in T1s, 0.45 and less in T2 and most FLAIR images."""
MRI_RANK, MRI_MM = 0.75, 1.6  # the same in an MRI given as the PET (an amyloid scan has 0.75), and its voxels


def check(pet: Volume, mri: Volume | None) -> None:
    """Refuse what header, name or size say is no PET scan of a person's head, or no T1 of one; BadInput."""
    said, animal = kind.modality(pet), kind.animal_in(pet.source.sidecar if pet.source else {})
    if said in ("MRI", "CT"):
        raise BadInput(f"A PET scan was expected, and {_name(pet)} is a {said} by its sidecar or name; give the PET.")
    if animal:
        raise BadInput(f"A PET scan of a person was expected, and the header says {animal!r}; give a person's.")
    longest = max(edge * size for edge, size in zip(pet.voxel_size, pet.shape, strict=True))
    if longest < TINY_MM and max(pet.voxel_size) < TINY_VOXEL_MM:
        raise BadInput(
            f"A person's head was expected, and the PET shows at most {longest:.0f} mm: an animal's, or a part of one; "
            "give a scan of a whole head."
        )
    if mri is not None:
        said = kind.modality(mri)
        said = f"a {said} by its sidecar or name" if said in ("PET", "CT") else kind.other_weighting(mri)
        if said:
            raise BadInput(f"A T1-weighted MRI was expected, and {_name(mri)} is {said}; give the T1, or none.")


def remarks(pet: Volume, scan: PetOnGrid, guide: VolumeArray | None) -> tuple[str, ...]:
    """What a user should know of a pair: ``scan`` is ``pet`` on the working grid, ``guide`` the MRI there.

    BadInput where the scan is as wide as a torso.
    """
    hot, found = mask.largest_piece(scan.brain), []
    ml = hot.sum() * WORKING_MM**3 / 1000.0
    if scan.kept is not None:
        found.append(cropped(scan, scan.kept))
    if kind.is_enhanced(pet):
        found.append("The scan is a result of m2diff already: in a second pass its noise is not that of its dose.")
    if kind.is_phantom(pet.source.sidecar if pet.source else {}) or straight(hot):
        found.append("The PET shows a phantom, by its header or its even cross-section: the weights know brains alone.")
    elif scan.kept is None and (wide := body.width_mm(scan.calm)) > body.WIDE_MM:
        raise BadInput(f"A head was expected, and the PET shows a body {wide:.0f} mm wide; give a scan of the head.")
    elif ml < SMALL_ML:
        found.append(
            f"The PET's uptake fills {ml:.0f} ml, a person's brain 1000 to 2000: is it an animal's, or a part?"
        )
    if _looks_like_mri(pet, scan):
        found.append("The PET looks like an MRI (whole numbers, no unit, bright white matter): check which is which.")
    if guide is not None and ml >= SMALL_ML and white_rank(guide, scan.brain) < T1_RANK:
        found.append("The MRI's white matter is darker than its grey, as in a T2 or FLAIR: give the T1, or none.")
    return tuple(found)


def cropped(scan: PetOnGrid, kept: body.Kept) -> str:
    """The sentence about a scan of which the head alone is read."""
    along = scan.image.affine[2, 2], scan.image.affine[2, 3]
    low, high = (along[0] * k + along[1] for k in (kept.span.start, kept.span.stop - 1))
    return (
        f"The PET shows {kept.body_mm:.0f} mm of a body: the head, {kept.mm:.0f} mm from z = {low:.0f} to {high:.0f}, "
        "was enhanced, and the rest stays the input."
    )


def straight(hot: MaskArray) -> bool:
    """Whether a piece has one cross-section along its length, but for its ends."""
    area = ndimage.binary_fill_holes(hot).sum(axis=(0, 1))
    area = area[np.flatnonzero(area)[0] : np.flatnonzero(area)[-1] + 1] if area.any() else area
    end = len(area) // 6
    middle = area[end : len(area) - end]
    return bool(len(area) * WORKING_MM >= LONG_MM and np.ptp(middle) < STRAIGHT * middle.mean())


def white_rank(image: VolumeArray, brain: MaskArray) -> float:
    """Share of the upper brain that white matter outshines, in an image on the working grid; 1 where none is found."""
    upper = mask.largest_piece(brain)
    heights = np.flatnonzero(upper.any(axis=(0, 1)))
    if not len(heights):
        return 1.0
    upper[:, :, : max(heights[-1] + 1 - int(CROWN_MM / WORKING_MM), 0)] = False
    box = mask.box(upper)
    upper, data = upper[box], image[box].astype(np.float64)
    padded = np.pad(upper, ((1, 1), (1, 1), (int(DEEP_MM), 1)), constant_values=False)
    padded[1:-1, 1:-1, : int(DEEP_MM)] = upper[:, :, :1]  # the brain goes on below
    depth = ndimage.distance_transform_edt(padded)[1:-1, 1:-1, int(DEEP_MM) : -1] * WORKING_MM
    mean = ndimage.uniform_filter(data, 3)
    spread = np.sqrt(np.maximum(ndimage.uniform_filter(data * data, 3) - mean * mean, 0.0))
    deep = (depth > DEEP_MM) & (mean > 0)
    if deep.sum() < 500:
        return 1.0
    white = mean[deep & (spread <= np.quantile(spread[deep], EVEN))]
    values = np.sort(smoothed(image[box], 3.0)[upper & (image[box] > 0)])
    return float(np.searchsorted(values, np.median(white)) / len(values))


def _looks_like_mri(pet: Volume, scan: PetOnGrid) -> bool:
    """Whether a scan without a unit holds whole numbers in fine voxels, and white matter outshines grey."""
    fine = max(pet.voxel_size) <= MRI_MM and pet.unit == "unknown"
    return bool(
        fine
        and np.array_equal(pet.data, np.rint(pet.data))
        and MRI_RANK < white_rank(scan.image.data, scan.brain) < 1.0
    )


def _name(image: Volume) -> str:
    return image.source.path.name if image.source else "the image"
