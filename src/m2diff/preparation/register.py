"""Rigid registration of an MRI to a PET scan of the same head; a bad fit is refused.

Mattes mutual information (Mattes et al. 2003, IEEE TMI 22:120) by SimpleITK, on one thread and a fixed sample of
voxels: the same pair gives the same matrix. The headers' placement is tried first. If the fit is doubtful, coarse
starts follow: centre of mass on centre of mass, shifted up and down, turned in steps of 15 degrees.

Three checks. Overlap of the heads (Dice). Agreement of the folds (``pieces``): on thirteen people at DRF 20 to 100 it
was 0.90 and more, with another person's MRI 0.0 to 0.6 and once 0.86. Finest detail, explained by the MRI over its
mirror image: 1.2 and more in true fits; a symmetric head passes, with a notice. `reproduce/registration` has the rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from m2diff.errors import BadInput
from m2diff.preparation import grid, itk, mask, pieces, place
from m2diff.preparation.mask import PetOnGrid
from m2diff.shapes import Affine, VolumeArray
from m2diff.volume import Volume

PET_CALM_MM = 5.0  # extra smoothing of the PET against noise, up to a hundredth of the dose
TURNS = np.deg2rad((-30.0, -15.0, 0.0, 15.0, 30.0))  # coarse starts: turns about each axis, radians
_COARSE, _COARSE_MM = 4, 6.0  # coarse starts: every fourth voxel, after this much smoothing
LEVELS: itk.Levels = ((4, 4.0, 1.0), (2, 2.0, 0.25))
"""The search: shrink factor, smoothing (mm) and share of the voxels of each level."""
LAST: itk.Levels = ((1, 1.0, 0.1),)  # the last search of a good fit; it reduces the error by a quarter
LIFTS = (-20.0, 0.0, 20.0)  # coarse starts: shifts upwards, mm; a neck in one image only moves its centre of mass
REFINED = 3  # coarse starts that are worth a search
RENEWALS, WORTH_WHILE = 3, 0.003  # a search is repeated at most this often, while it explains this much more
LEAST_OVERLAP = 0.35  # a stripped brain on a PET that shows the whole head reaches about 0.5
LEAST_FOLDS, SURE_FOLDS = 0.75, 0.95
"""Below the first an MRI is refused: nearer to wrong MRIs than to right ones, as refusing a right one costs more. Below
the second, where one wrong MRI and hardly a right one was seen, the user is warned."""
HANDED = 1.15
"""Detail explained over the mirrored MRI's: below this left and right cannot be told apart, below its inverse they are
exchanged."""


@dataclass(frozen=True)
class Quality:
    """How well an MRI fits, 0 to 1. ``overlap``: Dice of the heads. ``explained``: share of the PET's variance."""

    overlap: float
    explained: float


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where an MRI belongs: ``matrix`` (4, 4) moves its world (mm, RAS+) to the PET's world.

    ``folds``: agreement of the folds (``pieces``). ``handed``: finest detail explained over the mirrored MRI's, or NaN.
    """

    matrix: Affine
    quality: Quality
    folds: float = math.nan
    handed: float = math.nan

    @property
    def ambiguous(self) -> bool:
        """Whether the mirrored MRI would fit about as well."""
        return self.handed < HANDED

    @property
    def doubtful(self) -> bool:
        """Whether the folds agree less than a right MRI's usually do."""
        return self.folds < SURE_FOLDS

    @property
    def fits(self) -> bool:
        """Whether the heads overlap and the folds agree."""
        return self.quality.overlap >= LEAST_OVERLAP and self.folds >= LEAST_FOLDS

    def to_json(self) -> dict[str, float]:
        """The quality of the placement, rounded, as plain values."""
        quality = {name: round(value, 4) for name, value in vars(self.quality).items()}
        return {**quality, "folds": round(self.folds, 3), "handed": round(self.handed, 2)}


def align(mri: Volume, pet: Volume | PetOnGrid) -> Alignment:
    """The rigid placement of ``mri`` on ``pet``; BadInput where no start leads to a good fit."""
    pair = _Pair.of(mri, pet if isinstance(pet, PetOnGrid) else PetOnGrid.of(pet))
    best = pair.polished(pair.settled(np.eye(4)))
    if not best.fits:
        coarse = [pair.judged(pair.register(start, LEVELS[:1])) for start in pair.starts()]
        found = pair.polished(pair.settled(max(coarse, key=_explained).matrix))
        best = max(best, found, key=lambda one: one.folds)
    if not best.fits:
        raise BadInput(
            f"The MRI does not fit the PET (overlap of the heads {best.quality.overlap:.2f}, at least {LEAST_OVERLAP} "
            f"expected; agreement of the brain's folds {best.folds:.2f}, at least {LEAST_FOLDS} expected); check that "
            "both are of one person, the right way up and not mirrored, or align the MRI yourself and pass --no-align."
        )
    best = replace(best, handed=pair.handed(best))
    if best.handed * HANDED < 1:
        raise BadInput(
            f"The MRI does not fit the PET: its mirror image fits {1 / max(best.handed, 1e-3):.1f} times better; check "
            "whether left and right are exchanged in one of them, or align the MRI yourself and pass --no-align."
        )
    return best


@dataclass(frozen=True, eq=False)
class _Pair:
    """Both images at 2 mm: the PET smoothed, and the MRI's head."""

    pet: PetOnGrid
    calm: VolumeArray
    mri: Volume
    mri_head: Volume

    @classmethod
    def of(cls, mri: Volume, pet: PetOnGrid) -> _Pair:
        small = grid.to_working(mri)
        head = mask.tissue(small.data)
        return cls(
            pet=pet,
            calm=grid.smoothed(pet.image.data, PET_CALM_MM),
            mri=Volume(small.data, small.affine),
            mri_head=Volume(head.astype(np.float32), small.affine),
        )

    def starts(self) -> list[Affine]:
        """The ``REFINED`` coarse placements that explain the PET best."""
        from scipy.ndimage import map_coordinates

        inside = np.argwhere(self.pet.head[::_COARSE, ::_COARSE, ::_COARSE]) * _COARSE
        values = grid.smoothed(self.calm, _COARSE_MM)[tuple(inside.T)]
        guide = grid.smoothed(self.mri.data, _COARSE_MM)
        points = self.pet.image.affine @ np.c_[inside, np.ones(len(inside))].T
        to_index = np.linalg.inv(self.mri.affine)

        def worth(placement: Affine) -> float:
            index = (to_index @ np.linalg.inv(placement) @ points)[:3]
            return explained(values, map_coordinates(guide, index, order=1, mode="constant"))

        return sorted(self._placements(), key=worth, reverse=True)[:REFINED]

    def _placements(self) -> Iterable[Affine]:
        """Centre of mass on centre of mass, lifted by ``LIFTS`` and turned by ``TURNS`` about each axis."""
        pet_centre = place.centre(self.pet.brain, self.pet.image.affine)
        mri_centre = place.centre(self.mri_head.data > 0.5, self.mri.affine)
        for lift, *turn in product(LIFTS, TURNS, TURNS, TURNS):
            shift = pet_centre - mri_centre + np.array([0.0, 0.0, lift])
            yield place.rotation(pet_centre, np.array(turn)) @ place.shift(shift)

    def register(self, start: Affine, levels: itk.Levels) -> Affine:
        """The placement (MRI world to PET world) that the search reaches from ``start``."""
        import SimpleITK as sitk

        fixed, moving = itk.image(self.calm, self.pet.image.affine), itk.image(self.mri.data, self.mri.affine)
        centre = itk.LPS[:3, :3] @ place.centre(self.pet.brain, self.pet.image.affine)
        transform = sitk.Euler3DTransform()
        transform.SetCenter(centre.tolist())
        inverse = itk.LPS @ np.linalg.inv(start) @ itk.LPS  # ITK maps points of the PET to points of the MRI
        transform.SetMatrix(inverse[:3, :3].ravel().tolist(), 1e-4)
        transform.SetTranslation((inverse[:3, 3] + inverse[:3, :3] @ centre - centre).tolist())
        within = itk.image(self.pet.head.astype(np.uint8), self.pet.image.affine)
        if not itk.found(fixed, moving, within, transform, levels):
            return start
        rotation = np.array(transform.GetMatrix()).reshape(3, 3)
        found = np.eye(4)
        found[:3, :3] = rotation
        found[:3, 3] = np.array(transform.GetTranslation()) + centre - rotation @ centre
        return np.asarray(np.linalg.inv(itk.LPS @ found @ itk.LPS), dtype=np.float64)

    def settled(self, start: Affine) -> Alignment:
        """The search from ``start``, repeated from its result with long first steps while that improves the fit."""
        found = self.judged(self.register(start, LEVELS))
        for _ in range(RENEWALS):
            again = self.judged(self.register(found.matrix, LEVELS))
            if again.quality.explained <= found.quality.explained + WORTH_WHILE:
                return max(found, again, key=_explained)
            found = again
        return found

    def polished(self, found: Alignment) -> Alignment:
        """The same after a last search at full resolution, unless that explains less; with the agreement of folds."""
        there = self.judged(self.register(found.matrix, LAST))
        best = there if _explained(there) > _explained(found) - WORTH_WHILE else found
        values = self.carried(self.mri, best.matrix)
        return replace(best, folds=pieces.folds(self.pet.image.data, values, self.pet.brain))

    def judged(self, matrix: Affine) -> Alignment:
        """The placement ``matrix`` and how well it fits."""
        return Alignment(matrix, self.quality(matrix))

    def quality(self, matrix: Affine) -> Quality:
        """Overlap of the heads and the PET's variance explained by the MRI, over the union of both."""
        values = self.carried(self.mri, matrix)
        head = self.carried(self.mri_head, matrix) > 0.5
        both = int((head & self.pet.head).sum())
        overlap = 2.0 * both / max(int(head.sum()) + int(self.pet.head.sum()), 1)
        inside = self.pet.head
        return Quality(overlap, explained(self.calm[inside], values[inside]))

    def carried(self, image: Volume, matrix: Affine) -> VolumeArray:
        """``image`` (MRI world) on the PET's grid, placed by ``matrix``; 0 outside. ITK is faster than SciPy here."""
        import SimpleITK as sitk

        transform = itk.affine(np.linalg.inv(matrix))
        moving = itk.image(image.data, image.affine)
        fixed = itk.image(self.pet.head.astype(np.uint8), self.pet.image.affine)  # for its grid alone
        there = sitk.Resample(moving, fixed, transform, sitk.sitkLinear, 0.0, sitk.sitkFloat32)
        return np.ascontiguousarray(np.transpose(sitk.GetArrayViewFromImage(there)))

    def handed(self, found: Alignment) -> float:
        """Detail explained by the MRI over detail explained by its mirror image, registered too."""
        in_mri = place.mirror(place.centre(self.mri_head.data > 0.5, self.mri.affine)[0])
        in_pet = place.mirror(place.centre(self.pet.brain, self.pet.image.affine)[0])
        # The first axis is x: reversing it keeps the mirrored image's grid right-handed.
        affine = in_mri @ self.mri.affine @ place.mirror((self.mri.shape[0] - 1) / 2)
        mri, head = (Volume(volume.data[::-1].copy(), affine) for volume in (self.mri, self.mri_head))
        mirrored = replace(self, mri=mri, mri_head=head)
        # A mirror in each world puts it where the MRI was.
        there = mirrored.settled(in_pet @ found.matrix @ in_mri)
        finest = pieces.detail(self.pet.image.data)[self.pet.head]
        return self.explains(finest, found.matrix) / max(mirrored.explains(finest, there.matrix), 1e-6)

    def explains(self, finest: npt.NDArray[np.float32], matrix: Affine) -> float:
        """How much of ``finest``, the PET's detail in its head, the MRI's explains at ``matrix``."""
        return explained(finest, pieces.detail(self.carried(self.mri, matrix))[self.pet.head])


def explained(values: npt.NDArray[np.float32], by: npt.NDArray[np.float32], bins: int = 32) -> float:
    """Correlation ratio: share of the variance of ``values`` that the bin of ``by`` explains, 0 to 1."""
    limits = np.percentile(by, [0.5, 99.5])
    if limits[0] >= limits[1]:
        return 0.0
    index = np.clip(((by - limits[0]) / (limits[1] - limits[0]) * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    mean = np.bincount(index, values.astype(np.float64), minlength=bins) / np.maximum(count, 1)
    variance = float(values.var(dtype=np.float64))
    between = float((count * (mean - values.mean(dtype=np.float64)) ** 2).sum() / count.sum())
    return between / variance if variance else 0.0


def _explained(alignment: Alignment) -> float:
    return alignment.quality.explained
