"""A PET scan on the working grid and what is read off it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from m2diff.preparation import grid, mask
from m2diff.shapes import MaskArray
from m2diff.volume import Volume


@dataclass(frozen=True, eq=False)
class PetOnGrid:
    """``image`` on the working grid; ``brain`` (rough) and ``head``: masks; ``scale``: the brain's mean, PET's unit."""

    image: grid.WorkingImage
    brain: MaskArray
    head: MaskArray
    scale: float

    @classmethod
    def of(cls, pet: Volume) -> PetOnGrid:
        """Bring the scan to the working grid; BadInput where it shows no activity."""
        image = grid.to_working(pet)
        calm = mask.calmed(image.data)
        top = mask.uptake_level(calm)
        brain = mask.brain(calm, top)
        return cls(image, brain, mask.head(calm, top), float(calm[brain].mean(dtype=np.float64)))
