"""DDPET-3D: a slab of many slices, the noise predicted with a learned variance, a chain that starts near its end.

    noise_hat = (x_t - sqrt(abar_t) (low + correction)) / sqrt(1 - abar_t),   v = sigmoid(second head)
    loss: MSE(noise_hat, noise) + 0.001 T KL(learned step, true step)
    sampling: from the first estimate noised to t = 960, 25 steps, every fifth ancestral, the others DDIM

DDPET-3D, arXiv 2405.12996. The paper reads 15 slices each side of the one it answers; ours answers every slice of its
slab, overlapped by half, as all families here do (``slices`` says how many). Note: the head answers a correction to the
low-dose scan, and the noise is what that implies; a fresh network then starts from the scan, not from noise / 0.06.
The noise of a volume is drawn once for all slices, here as for every family (``enhance/volume.py``).
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field
from torch import Tensor

from m2diff.batch import Batch, Conditions, Estimate, Losses
from m2diff.diffusion import Schedule, draw_noise, draw_steps, q_sample
from m2diff.diffusion.predict import noise_from_clean, variational_term
from m2diff.families.base import DiffusionFamily, answered, check_view
from m2diff.families.config import DiffusionConfig, SamplingConfig, Settings
from m2diff.families.single import SingleLoss, SingleNetwork, SingleUNet, needs_of
from m2diff.families.terms import hide, item_weights, squared_error, wiener
from m2diff.nn import PixelHead, TimeEmbedding
from m2diff.shapes import Slab, TimeSteps


class DDPET3DChain(DiffusionConfig):
    """The chain: cosine (Nichol and Dhariwal 2021); the betas of the linear one are not read."""

    first_step_share: Annotated[float, Field(ge=0.0, le=1.0)] = 0.0

    def schedule(self) -> Schedule:
        """The chain of these settings."""
        return Schedule.cosine(self.steps)


class DDPET3DLoss(SingleLoss):
    """The loss."""

    variational: Annotated[float, Field(ge=0.0)] = 0.001
    """Weight of the variational term, times the number of steps."""


class DDPET3DConfig(Settings):
    """Everything that a preset says about the model."""

    family: Literal["ddpet3d"] = "ddpet3d"
    network: SingleNetwork = SingleNetwork()
    diffusion: DDPET3DChain = DDPET3DChain()
    loss: DDPET3DLoss = DDPET3DLoss()
    sampling: SamplingConfig = SamplingConfig(steps=25, variance="learned", stochastic_every=5, start=960)


class DDPET3D(SingleUNet, DiffusionFamily):
    """The trunk with x_t as a third image and twice the answer: a correction and the variance's share."""

    def __init__(self, config: DDPET3DConfig) -> None:
        super().__init__(config.network)
        network, shape = config.network, config.network.shape
        self.config = config
        self.needs = needs_of(network, config.loss)
        self.schedule = config.diffusion.schedule()
        self.sampling = config.sampling
        self.time = TimeEmbedding(network.width, shape.embedding)
        self.noised_stem = network.new_stem()
        self.share = PixelHead(shape.widths[0], network.folding)

    def forward(self, x_t: Slab, t: TimeSteps, conditions: Conditions) -> Estimate:
        """The clean image (b, s, h, w) that the predicted noise implies, and the variance's share."""
        check_view(self.needs, conditions)
        embedding = self.time(t) + self.dose(conditions.dose, conditions.low.shape[0])
        features = self.read(conditions) + self.noised_stem(wiener(x_t, t, self.schedule))
        skips = self.encoder(features, embedding)
        decoded = self.decoded(skips, embedding)
        answer = answered(self.head, decoded, conditions.low if self.config.network.residual else None)
        return Estimate(answer.clean, variance=self.share(decoded).float().sigmoid())

    def loss(self, batch: Batch, *, generator: torch.Generator) -> Losses:
        """The squared error of the noise at a random step, and the variational term that teaches the variance."""
        settings, target, chain = self.config.loss, batch.target, self.schedule
        conditions = hide(batch.conditions, settings.dropout, generator=generator)
        share = self.config.diffusion.first_step_share
        t = draw_steps(len(target), chain, generator=generator, first_step_share=share).to(target.device)
        noise = draw_noise(target, generator=generator)
        x_t = q_sample(target, t, noise, chain)
        estimate = self(x_t, t, conditions)
        weights = item_weights(conditions.low, target, balance=settings.balance)
        predicted = noise_from_clean(x_t, t, estimate.clean.float(), chain)
        terms: dict[str, Tensor] = {"noise": squared_error(predicted, noise, weights)}
        shares = {"noise": 1.0}
        if settings.variational > 0.0 and estimate.variance is not None:
            frozen = estimate.clean.detach().float()
            terms["variational"] = variational_term(target, frozen, estimate.variance, x_t, t, chain).mean()
            shares["variational"] = settings.variational * len(chain)
        return Losses(terms, shares)
