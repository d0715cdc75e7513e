"""A brain mask from the MRI alone, with skull or without.

MNI152's mask (nilearn) is carried over by affine registration (SimpleITK, Mattes mutual information, one thread: the
same MRI gives the same mask). The search looks only where the template has a brain. The rim is then trimmed to voxels
as bright as CSF and tissue.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from m2diff.errors import BadInput
from m2diff.preparation import grid, itk, mask, place, register
from m2diff.shapes import Affine, MaskArray
from m2diff.volume import Volume

TEMPLATE_MM = 2
NEAR_MM = 2.0  # the search looks at the template's brain and this much around it; bone and scalp would shrink the fit
GROW = 1.1  # starts have the template's size, this many times it, and one over it
PITCH, SURE = 0.2, 0.2  # heads that nod by so much (radians) are tried where less than this share is explained
LEAST = 0.15  # least share of the template's variance that an MRI explains; brains reach 0.26 and more


@lru_cache(maxsize=1)
def _template() -> tuple[Volume, Volume]:
    """MNI152's T1 (brain only) and its brain mask, 2 mm."""
    from nilearn import datasets

    t1 = datasets.load_mni152_template(resolution=TEMPLATE_MM)
    brain = datasets.load_mni152_brain_mask(resolution=TEMPLATE_MM)
    return tuple(  # type: ignore[return-value]
        Volume(np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine)) for image in (t1, brain)
    )


def brain_mask(mri: Volume) -> Volume:
    """1 in the brain of a T1-weighted MRI (with skull or without), 0 elsewhere, on its grid; BadInput without one."""
    small = grid.to_working(mri)
    image = Volume(small.data, small.affine)
    _, brain = _template()
    carried = grid.onto(brain, image.affine, image.shape, _placement(image, LEAST)) > 0.5
    trimmed = Volume(_trimmed(small.data, carried).astype(np.float32), small.affine)
    fine = grid.onto(trimmed, mri.affine, mri.shape)
    return Volume((fine > 0.5).astype(np.float32), mri.affine, "1", ("brain mask from MNI152",))


def placement(image: Volume, *, least: float = LEAST) -> Affine:
    """The affine map (mm, RAS+) from MNI152's world to that of a T1-weighted MRI; BadInput where it finds no brain.

    ``least``: share of the template's variance that the image must explain.
    """
    small = grid.to_working(image)
    return _placement(Volume(small.data, small.affine), least)


def _placement(image: Volume, least: float) -> Affine:
    """As ``placement``, of an image on the working grid."""
    matrix, worth = _affine(image)
    if worth < least:
        raise BadInput(
            f"No brain was found in the MRI (MNI152 explains {worth:.2f} of it, at least {least} expected); give a "
            "T1-weighted MRI of a head, or a mask of your own."
        )
    return matrix


def brain_in_pet(mri: Volume, pet: Volume, placement: Affine | None = None) -> Volume:
    """The brain of ``mri`` on the grid of a PET of the same person; without ``placement``, the MRI is registered."""
    matrix = register.align(mri, pet).matrix if placement is None else placement
    brain = grid.onto(brain_mask(mri), pet.affine, pet.shape, matrix) > 0.5
    return Volume(brain.astype(np.float32), pet.affine, "1", ("brain mask from the MRI",))


def _affine(image: Volume) -> tuple[Affine, float]:
    """The best affine map from MNI152's world to the MRI's, and the share of the template's variance it explains."""
    head = mask.tissue(image.data)
    template, brain = _template()
    heights = np.argwhere(head) @ image.affine[2, :3] + image.affine[2, 3]
    centre, top = place.centre(head, image.affine), float(heights.max()) if heights.size else 0.0
    middle = place.centre(brain.data > 0.5, template.affine)
    near = mask.grown(brain.data > 0.5, NEAR_MM / TEMPLATE_MM)

    def tried(start: Affine, levels: itk.Levels) -> tuple[float, Affine]:
        matrix = _search(image, template, near, start, levels)
        return _worth(image, template, brain, matrix), matrix

    found: list[tuple[float, Affine]] = []
    for pitch in (0.0, PITCH, -PITCH):
        for size in (1 / GROW, 1.0, GROW):
            # A neck lowers the centre of mass but not the top of the head: start from both.
            for target in (centre, np.array([centre[0], centre[1], top - 80.0 * size])):
                turned = place.rotation(np.zeros(3), np.array([pitch, 0.0, 0.0])) @ np.diag([size, size, size, 1.0])
                found.append(tried(place.shift(target) @ turned @ place.shift(-middle), register.LEVELS[:1]))
        if max(found, key=_first)[0] >= SURE:
            break
    found.sort(key=_first, reverse=True)
    # A finer search may lose its way: the coarse one's result then stays.
    fine = [tried(matrix, register.LEVELS) for _, matrix in found[:2]]
    worth, matrix = max([*fine, found[0]], key=_first)
    return matrix, worth


def _first(pair: tuple[float, Affine]) -> float:
    return pair[0]


def _search(image: Volume, template: Volume, near: MaskArray, start: Affine, levels: itk.Levels) -> Affine:
    """The affine map (template's world to the MRI's) found by mutual information from ``start``."""
    fixed, moving = itk.image(template.data, template.affine), itk.image(image.data, image.affine)
    within, transform = itk.image(near.astype(np.uint8), template.affine), itk.affine(start)
    if not itk.found(fixed, moving, within, transform, levels):
        return start
    matrix = np.eye(4)
    matrix[:3, :3] = np.array(transform.GetMatrix()).reshape(3, 3)
    matrix[:3, 3] = transform.GetTranslation()
    return np.asarray(itk.LPS @ matrix @ itk.LPS, dtype=np.float64)


def _worth(image: Volume, template: Volume, brain: Volume, matrix: Affine) -> float:
    """Share of the template's brain that the MRI explains at ``matrix``."""
    there = grid.onto(image, template.affine, template.shape, np.asarray(np.linalg.inv(matrix), dtype=np.float64))
    inside = brain.data > 0.5
    return register.explained(template.data[inside], there[inside])


def _trimmed(data: np.ndarray, carried: MaskArray) -> MaskArray:
    """The carried mask without the rim that is as dark as air or bone."""
    from scipy import ndimage

    tissue = float(np.median(data[carried]))
    bright = grid.smoothed(data, 3.0) > 0.35 * tissue
    kept = mask.largest_piece(ndimage.binary_opening(carried & bright, iterations=1))
    filled = ndimage.binary_fill_holes(ndimage.binary_closing(kept, iterations=2))
    return np.asarray(filled & carried)
