"""Rigid registration of an MRI to a PET scan of the same head, and a check that refuses a bad fit.

Mattes mutual information (Mattes et al. 2003, IEEE TMI 22:120) by SimpleITK on a fixed sample of voxels, one thread:
the same pair gives the same matrix. The headers' own placement is tried first. Where what it leads to leaves doubt,
coarse placements follow: centre of mass on centre of mass, shifted up and down and turned every way in steps of 15
degrees; the few that explain the PET best are refined, and the best of all is kept.

The check asks two things. Do the heads cover each other (Dice overlap of what both show)? And does the MRI explain the
PET's detail: the correlation ratio (Roche et al. 1998), the share of the variance that its MRI grey value explains, of
both images between 6 and 20 mm, inside the head. How much that is depends on tracer, noise and scalp, so it is held
against 12 wrong places, 25 mm or 30 degrees off: a true fit is a peak. Measured on 19 simulated scans (DRF 12 to 100,
heads and uptake of all kinds) placed as they were made: 3.0 to 12 times as well as the best wrong place. On a few other
pairs, flips front to back or upside down, half turns, noise, a ball and three other heads came to at most 1.8 times.
A head very like the right one may pass that; left and right exchanged does, so a third question is asked: does the
MRI explain the finest detail better than its own mirror image, registered as well, does? The folds of a brain are not
symmetric: true fits explain it 1.2 times as well and more. A symmetric head passes, and the user is told that left and
right could not be told apart. And does that detail agree far better there than a little beside? Somebody else's MRI
finds a place by its outline and its ventricles, but its folds do not lock. `reproduce/03-registration` has the rates.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import numpy.typing as npt

from m2diff.errors import BadInput
from m2diff.prepare import grid, itk, mask, place
from m2diff.prepare.intensity import foreground
from m2diff.shapes import Affine, MaskArray, VolumeArray
from m2diff.volume import Volume

PET_CALM_MM = 5.0
"""Extra smoothing of the PET, so that noise at a hundredth of the dose does not lead."""
TURNS = np.deg2rad((-30.0, -15.0, 0.0, 15.0, 30.0))
"""Coarse starts: turns about each axis, radians."""
COARSE, COARSE_MM = 4, 6.0
"""Coarse starts: every fourth voxel, after this much smoothing."""
LEVELS: itk.Levels = ((4, 4.0, 1.0), (2, 2.0, 0.25))
"""The search: shrink factor, smoothing (mm) and share of the voxels of each level."""
LAST: itk.Levels = ((1, 1.0, 0.1),)
"""The last of it, for a fit that was found good: it takes a quarter off the error."""
LIFTS = (-20.0, 0.0, 20.0)
"""Coarse starts: shifts upwards, mm; a neck in one image only moves its centre of mass."""
REFINED = 3
"""Coarse starts that are worth a search."""
RENEWALS, WORTH_WHILE = 3, 0.003
"""A search is taken up again this often, while it explains this much more."""
LEAST_OVERLAP = 0.35
"""A stripped brain on a PET that shows the whole head reaches about 0.5."""
WRONG_MM, WRONG_TURN, SHARPEST = 25.0, float(np.deg2rad(30.0)), 2.5
"""Wrong places to compare with, and how many times better the detail must agree than there."""
BESIDE_MM, BESIDE_TURN, SAME_PERSON = 12.0, float(np.deg2rad(12.0)), 2.2
"""A little beside; and how many times better the finest detail must agree than there: the MRI of somebody else finds a
place too, but does not lock there."""
DETAIL_MM, FINEST_MM = (6.0, 20.0), (5.0, 9.0)
"""FWHM of the two Gaussians whose difference is an image's detail; and its finest, in which left and right differ."""
HANDED = 1.15
"""The finest detail agrees so many times better than with the MRI mirrored, or left and right cannot be told apart;
the other way round, they are exchanged."""


@dataclass(frozen=True)
class Quality:
    """How well an MRI fits a PET, each from 0 to 1; whether that is well enough, ``Alignment.fits`` says.

    ``overlap``: Dice of the heads. ``explained``: share of the PET's variance that the MRI explains, by which
    placements are compared. ``detail``: the same of the detail alone, which must peak at a true fit.
    """

    overlap: float
    explained: float
    detail: float

    def to_json(self) -> dict[str, float]:
        """The same, rounded, as plain values."""
        return {name: round(value, 4) for name, value in vars(self).items()}


@dataclass(frozen=True, eq=False)
class Alignment:
    """Where an MRI belongs: ``matrix`` (4, 4) moves its world (mm, RAS+) to the PET's world.

    ``peak``: how many times better the detail agrees than in wrong places. ``handed``: how many times better the
    finest detail agrees than with the MRI mirrored; ``locked``: than a little beside. NaN where that was not asked.
    """

    matrix: Affine
    quality: Quality
    peak: float = math.nan
    handed: float = math.nan
    locked: float = math.nan

    @property
    def ambiguous(self) -> bool:
        """Whether the MRI's mirror image would fit about as well."""
        return self.handed < HANDED

    @property
    def fits(self) -> bool:
        """Whether the heads overlap, and the detail agrees far better where the search ended than elsewhere."""
        return self.quality.overlap >= LEAST_OVERLAP and self.peak >= SHARPEST

    def to_json(self) -> dict[str, float]:
        """How good the placement is, rounded, as plain values."""
        return {
            **self.quality.to_json(),
            "peak": round(self.peak, 2),
            "handed": round(self.handed, 2),
            "locked": round(self.locked, 2),
        }


def align(mri: Volume, pet: Volume) -> Alignment:
    """The rigid placement of ``mri`` on ``pet``; BadInput where no start leads to a good fit."""
    pair = _Pair.of(mri, pet)
    best = pair.compared(pair.settled(np.eye(4)))
    if not best.fits:
        coarse = [pair.judged(pair.register(start, LEVELS[:1])) for start in pair.starts()]
        found = pair.settled(max(coarse, key=_explained).matrix)
        best = pair.compared(found) if _explained(found) > _explained(best) else best
    if not best.fits:
        raise BadInput(
            f"The MRI does not fit the PET (overlap of the heads {best.quality.overlap:.2f}, at least {LEAST_OVERLAP} "
            f"expected; detail agrees {best.peak:.1f} times as well as in wrong places, at least {SHARPEST} "
            "expected); check that both are of the same person and the right way up, or align the MRI yourself and "
            "pass --no-align."
        )
    best = pair.polished(best)
    best = replace(best, handed=pair.handed(best), locked=pair.locked(best))
    if best.handed * HANDED < 1:
        raise BadInput(
            f"The MRI does not fit the PET: its mirror image fits {1 / max(best.handed, 1e-3):.1f} times better; check "
            "whether left and right are exchanged in one of them, or align the MRI yourself and pass --no-align."
        )
    if best.locked < SAME_PERSON:
        raise BadInput(
            f"The MRI fits the PET only as another person's would (its finest detail agrees {best.locked:.1f} times as "
            f"well as a little beside, at least {SAME_PERSON} expected); check that both are of the same person, or "
            "align the MRI yourself and pass --no-align."
        )
    return best


@dataclass(frozen=True, eq=False)
class _Pair:
    """Both images as the search sees them: 2 mm, the PET calmed, and each one's head."""

    pet: grid.WorkingImage
    calm: VolumeArray
    pet_detail: VolumeArray
    pet_head: MaskArray
    mri: Volume
    mri_head: Volume

    @classmethod
    def of(cls, mri: Volume, pet: Volume) -> _Pair:
        working, small = grid.to_working(pet), grid.to_working(mri)
        head = mask.tissue(small.data)
        return cls(
            pet=working,
            calm=grid.smoothed(working.data, PET_CALM_MM),
            pet_detail=_detail(working.data),
            pet_head=mask.support(working.data),
            mri=Volume(small.data, small.affine),
            mri_head=Volume(head.astype(np.float32), small.affine),
        )

    def starts(self) -> list[Affine]:
        """The ``REFINED`` coarse placements that explain the PET best."""
        from scipy.ndimage import map_coordinates

        inside = np.argwhere(self.pet_head[::COARSE, ::COARSE, ::COARSE]) * COARSE
        values = grid.smoothed(self.calm, COARSE_MM)[tuple(inside.T)]
        guide = grid.smoothed(self.mri.data, COARSE_MM)
        points = self.pet.affine @ np.c_[inside, np.ones(len(inside))].T
        to_index = np.linalg.inv(self.mri.affine)

        def worth(placement: Affine) -> float:
            index = (to_index @ np.linalg.inv(placement) @ points)[:3]
            return explained(values, map_coordinates(guide, index, order=1, mode="constant"))

        return sorted(self._placements(), key=worth, reverse=True)[:REFINED]

    def _placements(self) -> Iterable[Affine]:
        """Centre of mass on centre of mass, lifted by ``LIFTS`` and turned by ``TURNS`` about each axis."""
        pet_centre = place.centre(foreground(self.pet.data), self.pet.affine)
        mri_centre = place.centre(self.mri_head.data > 0.5, self.mri.affine)
        for lift, *turn in product(LIFTS, TURNS, TURNS, TURNS):
            shift = pet_centre - mri_centre + np.array([0.0, 0.0, lift])
            yield place.about(pet_centre, np.array(turn)) @ place.shift(shift)

    def register(self, start: Affine, levels: itk.Levels) -> Affine:
        """The placement (MRI world to PET world) that the search reaches from ``start``."""
        import SimpleITK as sitk

        fixed, moving = itk.image(self.calm, self.pet.affine), itk.image(self.mri.data, self.mri.affine)
        centre = itk.LPS[:3, :3] @ place.centre(foreground(self.pet.data), self.pet.affine)
        transform = sitk.Euler3DTransform()
        transform.SetCenter(centre.tolist())
        inverse = itk.LPS @ np.linalg.inv(start) @ itk.LPS  # ITK maps points of the PET to points of the MRI
        transform.SetMatrix(inverse[:3, :3].ravel().tolist(), 1e-4)
        transform.SetTranslation((inverse[:3, 3] + inverse[:3, :3] @ centre - centre).tolist())
        search = itk.search(levels)
        search.SetMetricFixedMask(itk.image(self.pet_head.astype(np.uint8), self.pet.affine))
        search.SetInitialTransform(transform, inPlace=True)
        try:
            with itk.one_thread():
                search.Execute(fixed, moving)
        except RuntimeError:  # the images lost sight of each other: this start leads nowhere
            return start
        rotation = np.array(transform.GetMatrix()).reshape(3, 3)
        found = np.eye(4)
        found[:3, :3] = rotation
        found[:3, 3] = np.array(transform.GetTranslation()) + centre - rotation @ centre
        return np.asarray(np.linalg.inv(itk.LPS @ found @ itk.LPS), dtype=np.float64)

    def settled(self, start: Affine) -> Alignment:
        """The search from ``start``, taken up again with its first, long steps as long as that improves the fit."""
        found = self.judged(self.register(start, LEVELS))
        for _ in range(RENEWALS):
            again = self.judged(self.register(found.matrix, LEVELS))
            if again.quality.explained <= found.quality.explained + WORTH_WHILE:
                return max(found, again, key=_explained)
            found = again
        return found

    def polished(self, found: Alignment) -> Alignment:
        """The same after a last search at full resolution, unless that explains less."""
        there = self.judged(self.register(found.matrix, LAST))
        better = _explained(there) > _explained(found) - WORTH_WHILE
        return replace(found, matrix=there.matrix, quality=there.quality) if better else found

    def judged(self, matrix: Affine) -> Alignment:
        """The placement ``matrix`` and how well it fits."""
        return Alignment(matrix, self.quality(matrix))

    def quality(self, matrix: Affine) -> Quality:
        """Overlap of the heads and the PET's variance explained by the MRI, over the union of both."""
        values = self.carried(self.mri, matrix)
        head = self.carried(self.mri_head, matrix) > 0.5
        both = int((head & self.pet_head).sum())
        overlap = 2.0 * both / max(int(head.sum()) + int(self.pet_head.sum()), 1)
        inside = self.pet_head
        detail = explained(self.pet_detail[inside], _detail(values)[inside])
        return Quality(overlap, explained(self.calm[inside], values[inside]), detail)

    def compared(self, found: Alignment) -> Alignment:
        """The same, and how many times better its detail agrees than at the best of 12 wrong places."""
        wrong = _around(place.centre(foreground(self.pet.data), self.pet.affine), WRONG_MM, WRONG_TURN)
        beside = max(self.quality(elsewhere @ found.matrix).detail for elsewhere in wrong)
        return replace(found, peak=found.quality.detail / max(beside, 1e-6))

    def locked(self, found: Alignment) -> float:
        """How many times better the finest detail agrees than at the best of 12 places a little beside."""
        centre = place.centre(foreground(self.pet.data), self.pet.affine)
        beside = max(self.finest(near @ found.matrix) for near in _around(centre, BESIDE_MM, BESIDE_TURN))
        return self.finest(found.matrix) / max(beside, 1e-6)

    def carried(self, image: Volume, matrix: Affine) -> VolumeArray:
        """``image`` (in the MRI's world) on the PET's working grid, placed by ``matrix``; 0 where it does not reach.

        ITK does it four times as fast as SciPy, and a placement is judged some thirty times.
        """
        import SimpleITK as sitk

        inverse = itk.LPS @ np.linalg.inv(matrix) @ itk.LPS
        transform = sitk.AffineTransform(inverse[:3, :3].ravel().tolist(), inverse[:3, 3].tolist())
        there = sitk.Resample(
            itk.image(image.data, image.affine), itk.image(self.pet_head.astype(np.uint8), self.pet.affine), transform,
            sitk.sitkLinear, 0.0, sitk.sitkFloat32,
        )  # fmt: skip
        return np.ascontiguousarray(np.transpose(sitk.GetArrayViewFromImage(there)))

    def handed(self, found: Alignment) -> float:
        """How many times better the finest detail agrees than with the MRI mirrored, wherever that fits best."""
        in_mri = place.mirror(place.centre(self.mri_head.data > 0.5, self.mri.affine)[0])
        in_pet = place.mirror(place.centre(foreground(self.pet.data), self.pet.affine)[0])
        # The working grid's first axis is x: read backwards, the mirrored image has a right-handed grid again.
        affine = in_mri @ self.mri.affine @ place.mirror((self.mri.shape[0] - 1) / 2)
        mri, head = (Volume(volume.data[::-1].copy(), affine) for volume in (self.mri, self.mri_head))
        mirrored = replace(self, mri=mri, mri_head=head)
        # Two mirrors, one in each world, put it where the MRI lay, so that the heads cover each other.
        there = mirrored.settled(in_pet @ found.matrix @ in_mri)
        return self.finest(found.matrix) / max(mirrored.finest(there.matrix), 1e-6)

    def finest(self, matrix: Affine) -> float:
        """How much of the PET's finest detail the MRI explains at ``matrix``."""
        values = self.carried(self.mri, matrix)
        inside = self.pet_head
        return explained(_between(self.pet.data, FINEST_MM)[inside], _between(values, FINEST_MM)[inside])


def _around(centre: npt.NDArray[np.float64], mm: float, turn: float) -> list[Affine]:
    """Twelve displacements: a shift each way along each axis, and a turn each way about it."""
    ways = [sign * axis for axis in np.eye(3) for sign in (-1, 1)]
    return [place.shift(mm * way) for way in ways] + [place.about(centre, turn * way) for way in ways]


def explained(values: npt.NDArray[np.float32], by: npt.NDArray[np.float32], bins: int = 32) -> float:
    """The correlation ratio: the share of the variance of ``values`` that the bin of ``by`` explains, 0 to 1."""
    limits = np.percentile(by, [0.5, 99.5])
    if limits[0] >= limits[1]:
        return 0.0
    index = np.clip(((by - limits[0]) / (limits[1] - limits[0]) * bins).astype(np.int64), 0, bins - 1)
    count = np.bincount(index, minlength=bins)
    mean = np.bincount(index, values.astype(np.float64), minlength=bins) / np.maximum(count, 1)
    variance = float(values.var(dtype=np.float64))
    return (
        float((count * (mean - values.mean(dtype=np.float64)) ** 2).sum() / count.sum() / variance) if variance else 0.0
    )


def _explained(alignment: Alignment) -> float:
    return alignment.quality.explained


def _detail(data: VolumeArray) -> VolumeArray:
    """The structure of an image between the two ``DETAIL_MM``."""
    return _between(data, DETAIL_MM)


def _between(data: VolumeArray, fwhm_mm: tuple[float, float]) -> VolumeArray:
    """The structure of an image between two Gaussians."""
    fine, coarse = fwhm_mm
    return grid.smoothed(data, fine) - grid.smoothed(data, coarse)
