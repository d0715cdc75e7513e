"""The control: one U-Net of the same size that reads the scan and the MRI and answers at once.

Every claim for a diffusion stands beside it: same data, same budget, same losses and dropouts, no noise, no steps.
"""

from __future__ import annotations

from typing import Annotated, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor, nn

from m2diff.batch import Batch, Conditions, Estimate, Losses, Needs
from m2diff.families.base import Answer, Trainable, answered, check_view
from m2diff.families.config import DropoutConfig, Settings, UNetConfig, fit_needs_residual
from m2diff.families.terms import class_error, hide, item_weights, squared_error
from m2diff.nn import Decoder, DoseEmbedding, Encoder, Middle, PixelStem


class RegressNetwork(UNetConfig):
    """The network."""

    residual: bool = True
    """The head answers a correction to the low-dose image instead of the image; ``fit`` needs it."""

    @model_validator(mode="after")
    def _checked(self) -> RegressNetwork:
        return fit_needs_residual(self, self.residual)


class RegressLoss(Settings):
    """The loss: squared error."""

    classes: Annotated[float, Field(ge=0.0)] = 0.0
    """Cross-entropy of a fit's classes against the tissues of a simulation, where it knows them."""
    balance: bool = True
    """Divide each item's squared error by the root mean squared error of its input, so that every dose counts."""
    dropout: DropoutConfig = DropoutConfig()


class RegressConfig(Settings):
    """Everything that a preset says about the model."""

    family: Literal["regress"] = "regress"
    network: RegressNetwork = RegressNetwork()
    loss: RegressLoss = RegressLoss()


class Regress(Trainable):
    """A U-Net from the low-dose slab, the MRI (where there is one) and the dose to the clean slab."""

    def __init__(self, config: RegressConfig) -> None:
        super().__init__()
        network = config.network
        shape = network.shape
        self.config = config
        self.needs = Needs(
            "slab", network.slices, network.multiple, mri=True, dose=True, classes=config.loss.classes > 0
        )
        self.dose = DoseEmbedding(shape.embedding)
        self.stem = PixelStem(network.slices, shape.widths[0], network.fold)
        self.mri_stem = PixelStem(network.slices, shape.widths[0], network.fold)
        self.absent = nn.Parameter(0.02 * torch.randn(shape.widths[0]))
        self.encoder = Encoder(shape)
        self.middle = Middle(shape, attention=network.middle_attention)
        self.decoder = Decoder(shape)
        self.head = network.head_for(shape.widths[0])

    def forward(self, conditions: Conditions) -> Estimate:
        """The clean image, (b, s, h, w)."""
        return Estimate(self._answer(conditions).clean)

    def _answer(self, conditions: Conditions) -> Answer:
        """The clean image and the classes of its fit."""
        check_view(self.needs, conditions)
        low, mri = conditions.low, conditions.mri
        embedding = self.dose(conditions.dose, low.shape[0])
        features = self.stem(low)
        guide = self.absent[:, None, None].to(features.dtype) if mri is None else self.mri_stem(mri)
        skips = self.encoder(features + guide, embedding)
        features = self.decoder(self.middle(skips[-1], embedding), embedding, skips)
        return answered(self.head, features, low if self.config.network.residual else None)

    def loss(self, batch: Batch, *, generator: torch.Generator) -> Losses:
        """The squared error of the answer, with conditions hidden by chance."""
        settings, target = self.config.loss, batch.target
        conditions = hide(batch.conditions, settings.dropout, generator=generator)
        weights = item_weights(conditions.low, target, balance=settings.balance)
        answer = self._answer(conditions)
        terms, shares = {"pet": squared_error(answer.clean, target, weights)}, {"pet": 1.0}
        if settings.classes > 0.0 and batch.classes is not None and answer.classes is not None:
            terms["classes"] = class_error([answer.classes], batch.classes)
            shares["classes"] = settings.classes
        return Losses(terms, shares)

    def enhance(self, conditions: Conditions, *, generator: torch.Generator) -> Tensor:
        """The clean image; nothing is drawn."""
        return self(conditions).clean
