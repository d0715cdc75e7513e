"""MAP-Diff: PET alone, noise predicted, and the clean estimates on the way tied to real scans of the doses between.

    loss: MSE(noise_hat, noise) + lambda (1 - t/T)^p MSE(clean_hat, a(t)),   p = 2
    a(t): the scan of the dose to whose stretch t belongs, which begins where noise degrades as much as that dose

MAP-Diff, arXiv 2603.02012: 3D patches of whole bodies, anchors at 1/10, 1/4 and 1/2 of the dose. Only the abstract
could be read; what is ours stands in docs/methods/mapdiff.md. The noise is what a correction to the scan implies, as
in ``ddpet3d``, so its squared error is the clean estimate's times abar_t / (1 - abar_t) (``diffusion.predict``).
``reproduce/side-by-side/borders.py`` measures where the stretches begin; a ``Ladder`` keeps the images between of a
chain that it watches, of slabs (``model.enhance(..., watch=ladder)``) or of a volume
(``m2diff.enhancement.volume.run``, likewise).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Any, ClassVar, Literal, Self, TypeAlias

import torch
from pydantic import Field, model_validator
from torch import Tensor

from m2diff.batch import Anchors, Batch, Losses
from m2diff.diffusion.predict import noise_weight
from m2diff.families.base import Answer
from m2diff.families.config import DiffusionConfig, DropoutConfig, NoiseLoss, SamplingConfig
from m2diff.families.single import Drawn, SingleDiffusion, SingleDiffusionConfig
from m2diff.families.terms import item_weights, of_answer, squared_error
from m2diff.shapes import PerItem, Slab, TimeSteps

Dose: TypeAlias = Annotated[float, Field(gt=1.0)]  # as a reduction factor
Step: TypeAlias = Annotated[int, Field(gt=0)]
BORDERS: dict[float, int] = {2.0: 15, 4.0: 30, 10.0: 56, 20.0: 83, 100.0: 183}
"""By dose reduction factor, as ``reproduce/side-by-side/borders.py`` measured them on randomised scanners for
the linear chain of 1000 steps. Note: they go with the scanner (docs/methods/mapdiff.md); measure them on the cohort
that is trained on."""


class MAPDiffLoss(NoiseLoss):
    """The loss."""

    anchors: Annotated[float, Field(ge=0.0)] = 0.1
    """Weight of the anchor term (lambda)."""
    power: Annotated[float, Field(ge=0.0)] = 2.0
    """How fast it falls with t (p); 0 is the constant weight, which the paper found worse than no anchors."""
    borders: Annotated[dict[Dose, Step], Field(min_length=1)] = BORDERS
    """At which step the stretch of a dose reduction factor begins."""
    dropout: DropoutConfig = DropoutConfig(mri=0.0)

    @model_validator(mode="after")
    def _checked(self) -> Self:
        steps = [step for _, step in sorted(self.borders.items())]
        if steps != sorted(set(steps)):
            raise ValueError("loss.borders must grow with the dose reduction factor")
        if self.dropout.mri:
            raise ValueError("loss.dropout.mri must be 0: MAP-Diff reads no MRI")
        return self


class MAPDiffConfig(SingleDiffusionConfig):
    """Everything that a preset says about the model."""

    family: Literal["mapdiff"] = "mapdiff"
    diffusion: DiffusionConfig = DiffusionConfig(first_step_share=0.0)
    loss: MAPDiffLoss = MAPDiffLoss()
    sampling: SamplingConfig = SamplingConfig(steps=25, spacing="quadratic")

    @model_validator(mode="after")
    def _borders_lie_on_the_chain(self) -> Self:
        if max(self.loss.borders.values()) >= self.diffusion.steps:
            raise ValueError("loss.borders must lie below diffusion.steps: measure them for that chain")
        return self


class MAPDiff(SingleDiffusion):
    """The trunk without an MRI, and the loss that ties its estimates to the doses between."""

    config: MAPDiffConfig
    reads_mri: ClassVar[bool] = False

    def __init__(self, config: MAPDiffConfig) -> None:
        super().__init__(config)
        self.needs = replace(self.needs, anchors=config.loss.anchors > 0)

    def losses(self, answer: Answer, batch: Batch, drawn: Drawn) -> Losses:
        """The squared error of the noise, and of the clean estimate against the anchor of its step."""
        settings = self.config.loss
        of_noise = noise_weight(drawn.t, self.schedule, settings.most)
        losses = of_answer(answer, batch, drawn.conditions, settings, emphasis=of_noise)
        if settings.anchors == 0.0 or batch.anchors is None:
            return losses
        anchor, there = anchors_at(drawn.t, batch.anchors, settings.borders)
        early = (1.0 - drawn.t / len(self.schedule)) ** settings.power
        weights = item_weights(drawn.conditions.low, batch.target, balance=settings.balance)
        return losses.plus("anchors", squared_error(answer.clean, anchor, weights * early * there), settings.anchors)

    def ladder(self, drf: float = float("inf")) -> Ladder:
        """What to ``watch`` a chain with, from an input of this dose reduction factor, to keep the images between."""
        return Ladder({dose: step for dose, step in self.config.loss.borders.items() if dose < drf})


class Ladder:
    """Keeps the clean estimates at the borders of a chain: ``images`` by dose reduction factor, noisiest first.

    An image is the last one of its dose's stretch: the estimate at the border, or at the last step before it.
    """

    def __init__(self, borders: Mapping[float, int]) -> None:
        self.borders = dict(sorted(borders.items(), reverse=True))
        self.images: dict[float, Any] = {}

    def __call__(self, t: int, clean: Any) -> None:
        """Take notice of the ``clean`` estimate at step ``t``; steps come in falling order."""
        self.images |= {dose: clean for dose, border in self.borders.items() if t >= border}


def anchors_at(t: TimeSteps, anchors: Anchors, borders: Mapping[float, int]) -> tuple[Slab, PerItem]:
    """The anchor (b, s, h, w) of each item at its step ``t`` (b,), and 1 or 0 (b,): whether there is one.

    It is the noisiest scan whose stretch has begun; below the first border there is none.
    """
    begun = border_of(anchors.doses, borders) <= t[:, None]  # (b, a); never where the dose is NaN
    noisiest = torch.where(begun, anchors.doses, 0.0).argmax(dim=1)
    return anchors.images[torch.arange(len(t), device=t.device), noisiest], begun.any(dim=1).float()


def border_of(doses: Tensor, borders: Mapping[float, int]) -> Tensor:
    """The step at which the stretch of each dose reduction factor begins; NaN for NaN.

    Straight lines between the measured ``borders`` over log2 of the factor, from 0 at the standard dose, and beyond.
    """
    measured = torch.tensor([(1.0, 0.0), *sorted(borders.items())], device=doses.device)
    octaves, steps = measured[:, 0].log2(), measured[:, 1]
    slopes = steps.diff() / octaves.diff()
    piece = torch.bucketize(doses.log2(), octaves[1:-1])
    return steps[piece] + slopes[piece] * (doses.log2() - octaves[piece])
