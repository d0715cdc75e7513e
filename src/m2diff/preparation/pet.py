"""A PET scan on the working grid and what is read off it: each is found once, whoever asks for it later."""

from __future__ import annotations

from dataclasses import dataclass

from m2diff.preparation import grid, intensity, mask
from m2diff.shapes import MaskArray
from m2diff.volume import Volume


@dataclass(frozen=True, eq=False)
class PetOnGrid:
    """``image`` on the working grid; ``brain`` (roughly) and ``head``, masks there; ``scale``, the brain's mean.

    ``scale`` is in the scan's unit.
    """

    image: grid.WorkingImage
    brain: MaskArray
    head: MaskArray
    scale: float

    @classmethod
    def of(cls, pet: Volume) -> PetOnGrid:
        """The scan brought there; BadInput where it shows no activity."""
        image = grid.to_working(pet)
        calm = mask.calmed(image.data)
        top = mask.uptake_level(calm)
        brain = mask.brain(calm, top)
        return cls(image, brain, mask.head(calm, top), intensity.mean_within(calm, brain))
