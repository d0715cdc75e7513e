"""M2Diff: two U-Nets, one for the PET and one for the MRI, whose decoders read each other's skips.

    PET branch:  [x_t, low PET] -> Encoder -> Middle -> Decoder(own skips, MRI skips) -> clean image, the main head
    MRI branch:  [MRI, x_t]     -> Encoder -> Middle -> Decoder(own skips, PET skips) -> clean image, the second head
    loss:        .4 MSE(PET head, target) + .4 MSE(MRI head, target) + .2 MSE(PET head, MRI head)

M2Diff, arXiv 2603.09075. ``M2DiffNetwork`` names what ``m2diff-base`` adds to the paper's ``m2diff-paper-128``.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from m2diff.batch import Batch, Conditions, Estimate, Losses, Needs
from m2diff.diffusion import draw_steps, noised
from m2diff.errors import BadInput
from m2diff.families.base import Answer, DiffusionFamily, check_view, head_answer
from m2diff.families.config import (
    AnswerLoss,
    DiffusionConfig,
    SamplingConfig,
    Settings,
    UNetConfig,
    lies_on_the_chain,
)
from m2diff.families.terms import hide, item_weights, squared_error, wiener, with_answer
from m2diff.nn import Decoder, DoseEmbedding, Encoder, Middle, TimeEmbedding, UNetShape
from m2diff.nn.blocks import per_channel
from m2diff.shapes import Features, PerItem, Slab, TimeSteps


class M2DiffNetwork(UNetConfig):
    """The network; the defaults of the last five are the paper's."""

    head: Literal["pet", "mean"] = "pet"
    """What carries the chain: the PET head (the paper), or the mean of both heads."""
    input_scaling: Literal["none", "wiener"] = "none"
    """``wiener``: x_t enters as sqrt(abar_t) x_t, so that the first step, t = T - 1, sees nearly no noise."""
    dose: bool = False
    optional_mri: bool = False
    """Whether PET alone is possible: learned vectors stand in for the MRI's skips."""
    exchange: bool = True
    """Whether the decoders read the other branch's skips; False is two networks side by side, for an ablation."""


class M2DiffLoss(AnswerLoss):
    """Weights of the terms; without an MRI the PET term has weight 1. ``levels``, ``shrinkage``: of the heads' mean."""

    pet: Annotated[float, Field(ge=0.0)] = 0.4
    mri: Annotated[float, Field(ge=0.0)] = 0.4
    agreement: Annotated[float, Field(ge=0.0)] = 0.2
    mean: Annotated[float, Field(ge=0.0)] = 0.0
    """Error of the mean of the heads; 0 leaves the term out."""
    balance: bool = False  # as in the paper


class M2DiffConfig(Settings):
    """Everything that a preset says about the model."""

    family: Literal["m2diff"] = "m2diff"
    network: M2DiffNetwork = M2DiffNetwork()
    diffusion: DiffusionConfig = DiffusionConfig()
    loss: M2DiffLoss = M2DiffLoss()
    sampling: SamplingConfig = SamplingConfig()

    @model_validator(mode="after")
    def _samples_its_chain(self) -> M2DiffConfig:
        lies_on_the_chain(self.sampling, self.diffusion)
        return self


@dataclass(frozen=True)
class Heads:
    """Each branch's clean image (b, s, h, w), None for an MRI that was not read, and class logits of heads that fit."""

    pet: Slab
    mri: Slab | None
    classes: tuple[Tensor, ...] = ()


class Branch(nn.Module):
    """One modality's U-Net: it reads two images, and its decoder the other branch's skips too."""

    def __init__(self, config: M2DiffNetwork, shape: UNetShape, *, attention: bool) -> None:
        super().__init__()
        self.stem = config.new_stem(images=2)
        self.encoder = Encoder(shape)
        self.middle = Middle(shape, attention=attention)
        self.decoder = Decoder(shape, guides=int(config.exchange))
        self.head = config.new_head()

    def encode(self, first: Slab, second: Slab, embedding: Tensor) -> list[Features]:
        """Skips of two images, concatenated channel by channel."""
        return self.encoder(self.stem(torch.cat([first, second], dim=1)), embedding)

    def decode(self, skips: list[list[Features]], embedding: Tensor, low: Slab, drf: PerItem | None) -> Answer:
        """The answer from its own skips and, after them, the other branch's; ``low``, ``drf``: see ``FitHead``."""
        bottom = self.middle(skips[0][-1], embedding)
        features = self.decoder(bottom, embedding, *skips)
        return head_answer(self.head, features, low, drf, residual=False)


class M2Diff(DiffusionFamily):
    """The two-branch network and its loss."""

    def __init__(self, config: M2DiffConfig) -> None:
        super().__init__()
        network = config.network
        shape = network.shape
        self.config = config
        self.needs = Needs(
            "slab",
            network.slices,
            network.multiple,
            mri=True,
            dose=network.dose,
            classes=config.loss.classes > 0 or config.loss.levels > 0,
        )
        self.schedule = config.diffusion.schedule()
        self.sampling = config.sampling
        self.time = TimeEmbedding(network.width, shape.embedding)
        self.dose = DoseEmbedding(shape.embedding) if network.dose else None
        self.pet = Branch(network, shape, attention=network.middle_attention)
        # Self-attention is the PET branch's alone, as in the paper's release.
        self.mri = Branch(network, _without_attention(shape), attention=False)
        absent = [nn.Parameter(0.02 * torch.randn(width)) for width in shape.skips]
        self.absent = nn.ParameterList(absent) if network.optional_mri and network.exchange else None

    def forward(self, x_t: Slab, t: TimeSteps, conditions: Conditions) -> Estimate:
        """The clean image by the PET head (or both heads' mean); auxiliary: the MRI head's, None without an MRI."""
        heads = self.heads(x_t, t, conditions)
        if heads.mri is None or self.config.network.head == "pet":
            return Estimate(heads.pet, heads.mri)
        return Estimate((heads.pet + heads.mri) / 2, heads.mri)

    def heads(self, x_t: Slab, t: TimeSteps, conditions: Conditions) -> Heads:
        """Both branches' clean images."""
        check_view(self.needs, conditions)
        low, mri = conditions.low, conditions.mri
        drf = conditions.drf if self.dose is not None else None
        embedding = self.time(t)
        if self.dose is not None:
            embedding = embedding + self.dose(drf, len(t))
        x_in = wiener(x_t, t, self.schedule) if self.config.network.input_scaling == "wiener" else x_t

        # PET alone: learned vectors take the place of the MRI's skips.
        pet_skips = self.pet.encode(x_in, low, embedding)
        if mri is None:
            alone = self.pet.decode([pet_skips, *self._absent_skips(pet_skips)], embedding, low, drf)
            return Heads(alone.clean, None, _classes(alone))

        mri_skips = self.mri.encode(mri, x_in, embedding)
        exchange = self.config.network.exchange
        of_pet = self.pet.decode([pet_skips, mri_skips] if exchange else [pet_skips], embedding, low, drf)
        of_mri = self.mri.decode([mri_skips, pet_skips] if exchange else [mri_skips], embedding, low, drf)
        return Heads(of_pet.clean, of_mri.clean, _classes(of_pet, of_mri))

    def loss(self, batch: Batch, *, generator: torch.Generator) -> Losses:
        """The paper's three terms (and the mean's, where weighted) at a random step, in one forward pass."""
        settings, target = self.config.loss, batch.target
        conditions = self._hidden(batch.conditions, generator)
        share = self.config.diffusion.first_step_share
        t = draw_steps(len(target), self.schedule, generator=generator, first_step_share=share).to(target.device)
        heads = self.heads(noised(target, t, self.schedule, generator=generator), t, conditions)

        weights = item_weights(conditions.low, target, balance=settings.balance)
        of_pet = squared_error(heads.pet, target, weights)
        if heads.mri is None:
            losses = Losses({"pet": of_pet}, {"pet": 1.0})
            return with_answer(losses, heads.pet, heads.classes, batch, weights, settings)
        losses = Losses({"pet": of_pet}, {"pet": settings.pet})
        losses = losses.plus("mri", squared_error(heads.mri, target, weights), settings.mri)
        losses = losses.plus("agreement", squared_error(heads.pet, heads.mri, weights), settings.agreement)
        mean = (heads.pet + heads.mri) / 2
        if settings.mean > 0.0:
            losses = losses.plus("mean", squared_error(mean, target, weights), settings.mean)
        return with_answer(losses, mean, heads.classes, batch, weights, settings)

    def _hidden(self, conditions: Conditions, generator: torch.Generator) -> Conditions:
        """Conditions with some hidden at random; the MRI stays where the network needs it."""
        hidden = hide(conditions, self.config.loss.dropout, generator=generator)
        optional = self.config.network.optional_mri
        return hidden if optional else replace(hidden, mri=conditions.mri)

    def _absent_skips(self, pet_skips: list[Features]) -> list[list[Features]]:
        """Learned vectors, broadcast, in place of the MRI's skips; nothing where none are read."""
        if not self.config.network.optional_mri:
            raise BadInput("this M2Diff was built to read an MRI, and none came: pass one, or use m2diff-base weights.")
        if self.absent is None:
            return []
        pairs = zip(self.absent, pet_skips, strict=True)
        return [[per_channel(vector.to(skip.dtype), skip).expand_as(skip) for vector, skip in pairs]]


def _classes(*answers: Answer) -> tuple[Tensor, ...]:
    """The logits of those answers that have any."""
    return tuple(answer.classes for answer in answers if answer.classes is not None)


def _without_attention(shape: UNetShape) -> UNetShape:
    """The same shape with no self-attention at any level."""
    return replace(shape, attention=())
