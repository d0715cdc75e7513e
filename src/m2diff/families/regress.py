"""The control: one U-Net that answers at once, trained on the same data, budget and losses as the diffusions."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor

from m2diff.batch import Batch, Conditions, Estimate, Losses
from m2diff.families.base import Answer, Trainable, check_view
from m2diff.families.config import Settings, SingleLoss, UNetConfig
from m2diff.families.single import SingleUNet, needs_of
from m2diff.families.terms import hide, of_answer


class RegressConfig(Settings):
    """Everything that a preset says about the model."""

    family: Literal["regress"] = "regress"
    network: UNetConfig = UNetConfig()
    loss: SingleLoss = SingleLoss()


class Regress(SingleUNet, Trainable):
    """A U-Net from the low-dose slab, the MRI (where there is one) and the dose to the clean slab."""

    def __init__(self, config: RegressConfig) -> None:
        super().__init__(config.network)
        self.config = config
        self.needs = needs_of(config.network, config.loss)

    def forward(self, conditions: Conditions) -> Estimate:
        """The clean image, (b, s, h, w)."""
        return Estimate(self._answer(conditions).clean)

    def _answer(self, conditions: Conditions) -> Answer:
        """The clean image and the classes of its fit."""
        check_view(self.needs, conditions)
        embedding = self.dose(conditions.drf, conditions.low.shape[0])
        skips = self.encoder(self.read(conditions), embedding)
        return self.answer_from(self.decoded(skips, embedding), conditions)

    def loss(self, batch: Batch, *, generator: torch.Generator) -> Losses:
        """The squared error of the answer, with conditions hidden at random."""
        conditions = hide(batch.conditions, self.config.loss.dropout, generator=generator)
        return of_answer(self._answer(conditions), batch, conditions, self.config.loss)

    def enhance(self, conditions: Conditions, *, generator: torch.Generator) -> Tensor:
        """The clean image; nothing is drawn."""
        return self(conditions).clean
