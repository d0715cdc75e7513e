"""A scan and its MRI prepared for a network, and the way back."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from m2diff.errors import BadInput
from m2diff.io.load import Image, as_volume
from m2diff.preparation import grid, mask, scope
from m2diff.preparation.mask import PetOnGrid
from m2diff.preparation.register import Alignment
from m2diff.preparation.register import align as align_mri
from m2diff.shapes import Affine, MaskArray, VolumeArray
from m2diff.volume import Volume


@dataclass(frozen=True, eq=False)
class Prepared:
    """A normalised pair on the working grid: what a network is given, all (i, j, k).

    ``low``: the PET divided by ``scale`` (in its unit), so that a brain is near 1. ``mri``: its tissue near 1, or None.
    ``drf``: dose reduction factor (20: a twentieth of the standard scan's counts), NaN if unknown. ``support``: the
    head. ``remarks``: what the user should know of the inputs. ``whole``: the head is all that is in view.
    """

    low: VolumeArray
    mri: VolumeArray | None
    drf: float
    scale: float
    affine: Affine
    support: MaskArray
    pet: Volume
    working: grid.WorkingImage
    alignment: Alignment | None = None
    remarks: tuple[str, ...] = ()
    whole: bool = True

    @property
    def unit(self) -> str:
        """The PET's unit, in which ``restore`` answers."""
        return self.pet.unit

    def restore(self, estimate: VolumeArray, step: str = "enhanced") -> Volume:
        """A normalised image of the working grid on the PET's grid and in its unit; ``step`` is for the history."""
        return self.pet.with_data(self.working.undo(estimate) * np.float32(self.scale), step)

    def mri_on_pet(self) -> Volume | None:
        """The normalised MRI on the PET's own grid, for viewing."""
        if self.mri is None:
            return None
        return Volume(self.working.undo(self.mri), self.pet.affine, "relative", ("MRI on the PET's grid",))


def prepare(
    pet: Image, mri: Image | None = None, *, drf: float | None = None, align: bool | Alignment = True
) -> Prepared:
    """Bring a PET scan and its MRI, if any (volumes or paths), onto the working grid, and normalise each.

    ``drf``: the dose reduction factor, 20 for a twentieth of the standard scan's counts; None is unknown. ``align``:
    True registers, False trusts the headers, an ``Alignment`` is used as it is. Raises BadInput where an image shows
    nothing or no head, or the MRI does not fit.
    """
    if drf is not None and not (math.isfinite(drf) and drf >= 1.0):
        raise BadInput(f"The dose reduction factor is a number of at least 1 (20 for a twentieth), got {drf:g}.")
    pet, mri = as_volume(pet), None if mri is None else as_volume(mri, what="MRI")
    if not float(pet.data.max()) > 0.0:  # resampling would add ripples above zero
        raise BadInput(
            f"The PET shows no activity: its largest value is {float(pet.data.max()):g}; check that the file is the "
            "reconstructed scan."
        )
    scan = PetOnGrid.of(pet)
    alignment = align if isinstance(align, Alignment) else None
    if mri is not None and align is True:
        alignment = align_mri(mri, scan)
    guide = None if mri is None else _guide(mri, scan, alignment)
    return Prepared(
        low=scan.image.data / np.float32(scan.scale),
        mri=guide,
        drf=math.nan if drf is None else float(drf),
        scale=scan.scale,
        affine=scan.image.affine,
        support=scan.head,
        pet=pet,
        working=scan.image,
        alignment=alignment,
        remarks=scope.remarks(pet, scan, guide),
        whole=scan.kept is None,
    )


def _guide(mri: Volume, scan: PetOnGrid, alignment: Alignment | None) -> VolumeArray:
    """The MRI on the working grid, normalised by its tissue in the PET's brain."""
    placement = None if alignment is None else alignment.matrix
    sampled = grid.onto(mri, scan.image.affine, scan.image.data.shape, placement)
    if np.mean(sampled[scan.brain] != 0) < 0.3:
        raise BadInput(
            "The MRI does not cover the brain in the PET; pass an MRI of the same head whose header places it there."
        )
    return mask.normalise_mri(sampled, within=scan.brain)
