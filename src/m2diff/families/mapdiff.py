"""MAP-Diff: PET alone, noise predicted, clean estimates on the way tied to real scans at intermediate doses.

    loss: MSE(noise_hat, noise) + lambda (1 - t/T)^p MSE(clean_hat, a(t)),   p = 2
    a(t): the scan at a dose whose range of steps holds t; the range begins where noise degrades as much as that dose

MAP-Diff, arXiv 2603.02012; only the abstract could be read, and docs/methods/mapdiff.md says what is ours. The noise is
what a correction to the scan implies, as in ``ddpet3d``. A ``Ladder`` that watches a chain (``watch=ladder``) keeps its
images at the intermediate doses.
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
"""First step of each DRF's range, as ``reproduce/side-by-side/borders.py`` measured them on randomised scanners for the
linear chain of 1000 steps. They go with the scanner: measure them on your training cohort (docs/methods/mapdiff.md)."""


class MAPDiffLoss(NoiseLoss):
    """The loss."""

    anchors: Annotated[float, Field(ge=0.0)] = 0.1
    """Weight of the anchor term (lambda)."""
    power: Annotated[float, Field(ge=0.0)] = 2.0
    """How fast that weight falls with t (p); 0, a constant weight, was worse than no anchors in the paper."""
    borders: Annotated[dict[Dose, Step], Field(min_length=1)] = BORDERS
    """The step at which each dose reduction factor's range begins."""
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
    """The trunk without an MRI, and the loss that ties its estimates to intermediate doses."""

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
        """What to ``watch`` a chain with, from an input of this DRF, to keep its images at intermediate doses."""
        return Ladder({dose: step for dose, step in self.config.loss.borders.items() if dose < drf})


class Ladder:
    """Keeps a watched chain's ``images`` by DRF, noisiest first: for each the last estimate at or above its border."""

    def __init__(self, borders: Mapping[float, int]) -> None:
        self.borders = dict(sorted(borders.items(), reverse=True))
        self.images: dict[float, Any] = {}

    def __call__(self, t: int, clean: Any) -> None:
        """Take the ``clean`` estimate of step ``t``; steps come in falling order."""
        self.images |= {dose: clean for dose, border in self.borders.items() if t >= border}


def anchors_at(t: TimeSteps, anchors: Anchors, borders: Mapping[float, int]) -> tuple[Slab, PerItem]:
    """(b, s, h, w) each item's noisiest anchor whose range has begun at ``t`` (b,), and (b,) 1 or 0: if it has one."""
    begun = border_of(anchors.doses, borders) <= t[:, None]  # (b, a); never where the dose is NaN
    noisiest = torch.where(begun, anchors.doses, 0.0).argmax(dim=1)
    return anchors.images[torch.arange(len(t), device=t.device), noisiest], begun.any(dim=1).float()


def border_of(doses: Tensor, borders: Mapping[float, int]) -> Tensor:
    """Step where each DRF's range begins, linear in log2(DRF) from 0 through ``borders`` and beyond; NaN stays."""
    measured = torch.tensor([(1.0, 0.0), *sorted(borders.items())], device=doses.device)
    octaves, steps = measured[:, 0].log2(), measured[:, 1]
    slopes = steps.diff() / octaves.diff()
    piece = torch.bucketize(doses.log2(), octaves[1:-1])
    return steps[piece] + slopes[piece] * (doses.log2() - octaves[piece])
