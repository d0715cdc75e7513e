"""A PET scan on the working grid and what is read off it: each is found once, whoever asks for it later."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2diff.preparation import grid, mask
from m2diff.shapes import MaskArray
from m2diff.volume import Volume


@dataclass(frozen=True, eq=False)
class PetOnGrid:
    """``image`` on the working grid; ``brain`` (roughly) and ``head``, masks there; ``scale``, the brain's mean.

    ``scale`` is in the scan's unit: an image multiplied by k has k times the scale. Hot spots are too small to move it,
    and noise, a negative background and the size of the field of view do not enter.
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
        return cls(image, brain, mask.head(calm, top), float(calm[brain].mean(dtype=np.float64)))
