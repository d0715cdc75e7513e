"""The nouns of the network world: what a network is told, what it is to find, what it answers.

Everything here is normalised (one scale a volume, taken from the low-dose input), on the working grid and cut into
views. nn, diffusion, families and train speak these; io, prepare and report never do.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor

from m2diff.shapes import PerItem, Slab

CLASSES = ("outside", "white_matter", "csf", "cortex", "putamen", "central_grey", "deep_grey")
"""Tissues between which uptake jumps and within which it is nearly even; the cerebellum's cortex is cortex. The deep
nuclei are three, by how FDG usually stands in them: the putamen is hottest, the caudate, the pallidum and the thalamus
lie near the cortex, the hippocampus, the amygdala and the brainstem below it."""


@dataclass(frozen=True)
class Needs:
    """What a family asks of the data: its view of a volume and the conditions that it can use.

    ``view``: ``slab`` (``slices`` neighbouring slices; 1 is the paper's single slice) or ``volume`` (filters).
    ``multiple``: in-plane sizes must divide by it. ``mri`` and ``dose`` say whether these are read at all;
    both may be absent in a given batch.
    """

    view: Literal["slab", "volume"]
    slices: int = 1
    multiple: int = 1
    mri: bool = False
    dose: bool = False
    classes: bool = False
    """Whether training reads the tissues, where the cohort knows them."""
    anchors: bool = False
    """Whether training reads the scans of doses between the input's and the standard, where the cohort has them."""


@dataclass(frozen=True)
class Conditions:
    """What is known when the scan is to be found.

    ``low``: (b, s, h, w) low-dose PET. ``mri``: the same shape, or None where there is no MRI (its branch is then
    skipped). ``drf``: (b,) dose reduction factors (20: one twentieth of the standard scan's counts), NaN
    where unknown; None is "unknown for all".
    """

    low: Slab
    mri: Slab | None = None
    drf: PerItem | None = None

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> Conditions:
        """The same conditions on ``device`` (images cast to ``dtype``, where given)."""

        def move(x: Tensor | None) -> Tensor | None:
            return None if x is None else x.to(device=device, dtype=dtype or x.dtype)

        low = self.low.to(device=device, dtype=dtype or self.low.dtype)
        return Conditions(low, move(self.mri), move(self.drf))

    def without_mri(self) -> Conditions:
        """The PET-alone version of these conditions."""
        return replace(self, mri=None)


@dataclass(frozen=True)
class Anchors:
    """The same slabs at doses between the input's and the standard, on the input's scale.

    ``images``: (b, a, s, h, w). ``doses``: (b, a) dose reduction factors; NaN, with an empty image, where an item has
    fewer of them than another.
    """

    images: Tensor
    doses: Tensor

    def to(self, device: torch.device | str) -> Anchors:
        """The same on ``device``."""
        return Anchors(self.images.to(device, non_blocking=True), self.doses.to(device, non_blocking=True))


@dataclass(frozen=True)
class Batch:
    """Conditions and the standard-dose slab to be found, (b, s, h, w).

    ``classes``: (b, ``CLASSES``, s, h, w), the share of each tissue in a voxel as the scanner's resolution mixes them,
    where a simulation knows it. ``anchors``: None where no item has any.
    """

    conditions: Conditions
    target: Slab
    classes: Tensor | None = None
    anchors: Anchors | None = None


@dataclass(frozen=True)
class Estimate:
    """A network's answer: the clean scan (b, s, h, w) and, where it has one, its second head's version of it."""

    clean: Slab
    auxiliary: Slab | None = None
    variance: Slab | None = None
    """Where the variance of a step lies between its bounds (0 to 1), for a network that learns it."""


@dataclass(frozen=True)
class Losses:
    """Named loss terms, each a scalar tensor, and the weight of each in the total."""

    terms: dict[str, Tensor]
    weights: dict[str, float]

    @property
    def total(self) -> Tensor:
        """The weighted sum that is minimised."""
        parts = [self.weights[name] * value for name, value in self.terms.items()]
        return torch.stack(parts).sum()

    def plus(self, name: str, term: Tensor, weight: float) -> Losses:
        """These and one more term, a scalar."""
        return Losses({**self.terms, name: term}, {**self.weights, name: weight})
