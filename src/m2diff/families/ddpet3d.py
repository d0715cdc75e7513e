"""DDPET-3D: a slab of many slices, predicted noise, a learned variance, a chain that starts near its end.

    noise_hat = (x_t - sqrt(abar_t) (low + correction)) / sqrt(1 - abar_t),   v = sigmoid(second head)
    loss: MSE(noise_hat, noise) + 0.001 T KL(learned step, true step)
    sampling: from the first estimate noised to t = 960, 25 steps, every fifth ancestral, the others DDIM

DDPET-3D, arXiv 2405.12996. The paper answers one slice from 15 on each side; ours answers all slices of overlapping
slabs. The head answers a correction to the low-dose scan, which implies the noise (``diffusion.predict``): a fresh
network then starts from the scan, not from noise / 0.06.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from m2diff.batch import Batch, Conditions, Losses
from m2diff.diffusion import Schedule
from m2diff.diffusion.predict import noise_weight, variational_term
from m2diff.families.base import Answer
from m2diff.families.config import DiffusionConfig, NoiseLoss, SamplingConfig
from m2diff.families.single import Drawn, SingleDiffusion, SingleDiffusionConfig
from m2diff.families.terms import of_answer
from m2diff.nn import PixelHead
from m2diff.shapes import Features


class DDPET3DChain(DiffusionConfig):
    """The chain: cosine (Nichol and Dhariwal 2021)."""

    first_step_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0

    @model_validator(mode="after")
    def _cosine_has_no_betas(self) -> Self:
        linear = DiffusionConfig()
        if (self.first_beta, self.last_beta) != (linear.first_beta, linear.last_beta):
            raise ValueError("diffusion.first_beta and last_beta belong to a linear chain; this one is a cosine")
        return self

    def schedule(self) -> Schedule:
        """The chain of these settings."""
        return Schedule.cosine(self.steps)


class DDPET3DLoss(NoiseLoss):
    """The loss."""

    variational: Annotated[float, Field(ge=0.0)] = 0.001
    """Weight of the variational term, times the number of steps."""


class DDPET3DConfig(SingleDiffusionConfig):
    """Everything that a preset says about the model."""

    family: Literal["ddpet3d"] = "ddpet3d"
    diffusion: DDPET3DChain = DDPET3DChain()
    loss: DDPET3DLoss = DDPET3DLoss()
    sampling: SamplingConfig = SamplingConfig(steps=25, variance="learned", stochastic_every=5, start=960)


class DDPET3D(SingleDiffusion):
    """The trunk with twice the answer: a correction and the variance's share."""

    config: DDPET3DConfig

    def __init__(self, config: DDPET3DConfig) -> None:
        super().__init__(config)
        self.share = PixelHead(config.network.shape.widths[0], config.network.folding)

    def answer_from(self, features: Features, conditions: Conditions) -> Answer:
        """The clean image that the predicted noise implies, and the variance's share."""
        return replace(super().answer_from(features, conditions), variance=self.share(features).float().sigmoid())

    def losses(self, answer: Answer, batch: Batch, drawn: Drawn) -> Losses:
        """The squared error of the noise, and the variational term that teaches the variance."""
        settings, chain = self.config.loss, self.schedule
        of_noise = noise_weight(drawn.t, chain, settings.most)
        losses = of_answer(answer, batch, drawn.conditions, settings, emphasis=of_noise)
        if settings.variational == 0.0 or answer.variance is None:
            return losses
        frozen = answer.clean.detach().float()
        term = variational_term(batch.target, frozen, answer.variance, drawn.x_t, drawn.t, chain).mean()
        return losses.plus("variational", term, settings.variational * len(chain))
