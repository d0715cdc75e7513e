"""Inputs, targets and answers of a network: slabs on the working grid, divided by the low-dose volume's one scale."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from m2diff.shapes import PerItem, Slab

CLASSES = ("outside", "white_matter", "csf", "cortex", "putamen", "central_grey", "deep_grey")
"""Tissues with nearly even uptake; the cerebellum's cortex is cortex. Deep nuclei go by their usual FDG uptake: putamen
(hottest); caudate, pallidum, thalamus (near the cortex); hippocampus, amygdala, brainstem (below it)."""


@dataclass(frozen=True)
class Needs:
    """What a family asks of the data.

    ``view``: ``slab`` (of ``slices`` slices) or ``volume`` (filters). ``multiple`` must divide the in-plane sizes.
    ``mri``, ``dose``: whether they are read; a batch may lack either. ``classes``, ``anchors``: whether training reads
    the tissues and the intermediate doses, where the cohort has them.
    """

    view: Literal["slab", "volume"]
    slices: int = 1
    multiple: int = 1
    mri: bool = False
    dose: bool = False
    classes: bool = False
    anchors: bool = False


@dataclass(frozen=True)
class Conditions:
    """What a network knows of a scan.

    ``low``, ``mri``: (b, s, h, w); without an MRI its branch is skipped. ``drf``: (b,) dose reduction factors (20: one
    twentieth of the standard scan's counts), NaN where unknown; None: all unknown.
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


@dataclass(frozen=True)
class Anchors:
    """The same slabs at doses between the input's and the standard, on the input's scale.

    ``images``: (b, a, s, h, w). ``doses``: (b, a) DRFs; NaN and an empty image fill up items that have fewer.
    """

    images: Tensor
    doses: Tensor

    def to(self, device: torch.device | str) -> Anchors:
        """The same on ``device``."""
        return Anchors(self.images.to(device, non_blocking=True), self.doses.to(device, non_blocking=True))


@dataclass(frozen=True)
class Batch:
    """Conditions and the standard-dose slab to be found, (b, s, h, w).

    ``classes``: (b, ``CLASSES``, s, h, w), tissue fractions at the scanner's resolution; only simulations know them.
    """

    conditions: Conditions
    target: Slab
    classes: Tensor | None = None
    anchors: Anchors | None = None


@dataclass(frozen=True)
class Estimate:
    """The clean scan (b, s, h, w), the second head's version of it, and a learned variance (``diffusion.predict``)."""

    clean: Slab
    auxiliary: Slab | None = None
    variance: Slab | None = None
    """Position of a step's log variance between its bounds, 0 to 1."""


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
