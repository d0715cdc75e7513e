"""One U-Net that reads everything at once: the trunk of every family that has no second branch.

    stems of the low-dose slab, the MRI (or a learned vector) and x_t, summed -> Encoder -> Middle -> Decoder -> head

Summed stems equal one convolution over the concatenated images. ``SingleDiffusion`` is a clean-image diffusion on the
trunk; a family overrides ``encoded``, ``answer_from``, ``drawn_steps`` or ``losses``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, Self

import torch
from pydantic import model_validator
from torch import Tensor, nn

from m2diff.batch import Batch, Conditions, Estimate, Losses, Needs
from m2diff.diffusion import draw_steps, noised
from m2diff.families.base import Answer, DiffusionFamily, check_view, head_answer
from m2diff.families.config import (
    DiffusionConfig,
    SamplingConfig,
    Settings,
    SingleLoss,
    UNetConfig,
    lies_on_the_chain,
)
from m2diff.families.terms import hide, of_answer, wiener
from m2diff.nn import Decoder, DoseEmbedding, Encoder, Middle, TimeEmbedding
from m2diff.nn.blocks import per_channel
from m2diff.shapes import Features, Slab, TimeSteps


class NoisedNetwork(UNetConfig):
    """The network of a diffusion."""

    input_scaling: Literal["none", "wiener"] = "wiener"
    """``wiener``: x_t enters as sqrt(abar_t) x_t, the best linear estimate of unit-variance data."""


class SingleDiffusionConfig(Settings):
    """Everything that a preset says about a diffusion on one U-Net."""

    network: NoisedNetwork = NoisedNetwork()
    diffusion: DiffusionConfig = DiffusionConfig()
    loss: SingleLoss = SingleLoss()
    sampling: SamplingConfig = SamplingConfig()

    @model_validator(mode="after")
    def _samples_its_chain(self) -> Self:
        lies_on_the_chain(self.sampling, self.diffusion)
        return self


class SingleUNet(nn.Module):
    """The trunk and its pieces; the MRI and the dose may be absent."""

    reads_mri: ClassVar[bool] = True
    """Whether there is a stem for the MRI."""

    def __init__(self, network: UNetConfig) -> None:
        super().__init__()
        shape = network.shape
        self.dose = DoseEmbedding(shape.embedding)
        self.stem = network.new_stem()
        if self.reads_mri:
            self.mri_stem = network.new_stem()
            self.absent = nn.Parameter(0.02 * torch.randn(shape.widths[0]))
        self.encoder = Encoder(shape)
        self.middle = Middle(shape, attention=network.middle_attention)
        self.decoder = Decoder(shape)
        self.head = network.new_head()

    def read(self, conditions: Conditions) -> Features:
        """The stems of the low-dose slab and the MRI, (b, c, ...)."""
        features: Features = self.stem(conditions.low)
        if not self.reads_mri:
            return features
        if conditions.mri is None:
            return features + per_channel(self.absent.to(features.dtype), features)
        return features + self.mri_stem(conditions.mri)

    def answer_from(self, features: Features, conditions: Conditions) -> Answer:
        """The answer that the head gives to the low-dose slab."""
        return head_answer(self.head, features, conditions.low, conditions.drf, residual=True)

    def decoded(self, skips: list[Features], embedding: Tensor) -> Features:
        """The features that the head reads, from the encoder's skips."""
        features: Features = self.decoder(self.middle(skips[-1], embedding), embedding, skips)
        return features


def needs_of(network: UNetConfig, loss: SingleLoss, *, mri: bool = True) -> Needs:
    """What a family on one U-Net asks of the data."""
    classes = loss.classes > 0 or loss.levels > 0
    return Needs(
        "slab",
        network.slices,
        network.multiple,
        mri,
        dose=True,
        classes=classes,
    )


@dataclass(frozen=True)
class Drawn:
    """A training draw: conditions, some hidden, and the noised target (b, s, h, w) at its steps."""

    conditions: Conditions
    x_t: Slab
    t: TimeSteps


@dataclass(frozen=True)
class Encoded:
    """The encoder's skips, finest first, and a family's first estimate of the clean slab."""

    skips: list[Features]
    first: Slab | None = None


class SingleDiffusion(SingleUNet, DiffusionFamily):
    """A clean-image diffusion on one U-Net."""

    def __init__(self, config: SingleDiffusionConfig) -> None:
        super().__init__(config.network)
        self.config = config
        self.needs = needs_of(config.network, config.loss, mri=self.reads_mri)
        self.schedule = config.diffusion.schedule()
        self.sampling = config.sampling
        shape = config.network.shape
        self.time: nn.Module = TimeEmbedding(config.network.width, shape.embedding)
        self.noised_stem = config.network.new_stem()

    def encoded(self, features: Features, embedding: Tensor, conditions: Conditions) -> Encoded:
        """The way down; a family's own attention or fusion goes in here."""
        return Encoded(self.encoder(features, embedding))

    def forward(self, x_t: Slab, t: TimeSteps, conditions: Conditions) -> Estimate:
        """The clean image (b, s, h, w) from the noised one at the steps ``t`` (b,)."""
        answer = self.answer(x_t, t, conditions)
        return Estimate(answer.clean, answer.first, answer.variance)

    def answer(self, x_t: Slab, t: TimeSteps, conditions: Conditions) -> Answer:
        """The network's whole answer."""
        check_view(self.needs, conditions)
        x_in = wiener(x_t, t, self.schedule) if self.config.network.input_scaling == "wiener" else x_t
        embedding = self.time(t) + self.dose(conditions.drf, len(t))
        features = self.read(conditions) + self.noised_stem(x_in)
        encoded = self.encoded(features, embedding, conditions)
        answer = self.answer_from(self.decoded(encoded.skips, embedding), conditions)
        return replace(answer, first=encoded.first)

    def drawn(self, batch: Batch, *, generator: torch.Generator) -> Drawn:
        """The batch at random steps, with conditions hidden at random."""
        conditions = hide(batch.conditions, self.config.loss.dropout, generator=generator)
        target = batch.target
        t = self.drawn_steps(len(target), generator=generator).to(target.device)
        return Drawn(conditions, noised(target, t, self.schedule, generator=generator), t)

    def drawn_steps(self, count: int, *, generator: torch.Generator) -> TimeSteps:
        """Steps (count,) to train at."""
        share = self.config.diffusion.first_step_share
        return draw_steps(count, self.schedule, generator=generator, first_step_share=share)

    def loss(self, batch: Batch, *, generator: torch.Generator) -> Losses:
        """The terms of the answer at a random step, in one forward pass."""
        drawn = self.drawn(batch, generator=generator)
        return self.losses(self.answer(drawn.x_t, drawn.t, drawn.conditions), batch, drawn)

    def losses(self, answer: Answer, batch: Batch, drawn: Drawn) -> Losses:
        """The squared error of the clean estimate; a family's own weights and terms go in here."""
        return of_answer(answer, batch, drawn.conditions, self.config.loss)
