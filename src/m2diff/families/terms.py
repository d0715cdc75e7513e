"""Loss terms that families share, and the hiding of conditions."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from m2diff.batch import Batch, Conditions, Losses
from m2diff.diffusion import Schedule
from m2diff.families.base import Answer
from m2diff.families.config import AnswerLoss, DropoutConfig, SingleLoss
from m2diff.nn.smooth import along_axes, neighbours, structure
from m2diff.shapes import PerItem, Slab, TimeSteps

BALANCE_FLOOR = 1e-3  # an empty slab (no error in the input) weighs at most 30 times an average one


def hide(conditions: Conditions, dropout: DropoutConfig, *, generator: torch.Generator) -> Conditions:
    """Hide the MRI of the batch and the dose of single items; the number of draws is fixed, so that seeds compare."""
    chances = torch.rand(1 + conditions.low.shape[0], generator=generator, device=generator.device)
    mri = None if float(chances[0]) < dropout.mri else conditions.mri
    drf = conditions.drf
    if drf is not None:
        drf = drf.masked_fill((chances[1:] < dropout.dose).to(drf.device), float("nan"))
    return replace(conditions, mri=mri, drf=drf)


def item_weights(low: Slab, target: Slab, *, balance: bool) -> PerItem:
    """(b,) weight of each item's squared error: 1, or by ``balance`` 1 / RMSE of its input: high doses count too."""
    if not balance:
        return torch.ones(low.shape[0], device=low.device)
    error = (low.detach().float() - target.float()).square().flatten(1).mean(dim=1)
    return (error + BALANCE_FLOOR).rsqrt()


def with_classes(losses: Losses, logits: Sequence[Tensor], batch: Batch, weight: float) -> Losses:
    """Add the cross-entropy of soft classes, ``logits`` of each head that fits, where weighted and known."""
    if weight == 0.0 or batch.classes is None or not logits:
        return losses
    errors = [-(batch.classes * each.float().log_softmax(dim=1)).sum(dim=1).mean() for each in logits]
    return losses.plus("classes", torch.stack(errors).mean(), weight)


LEVEL_PASSES = 20
"""Means over 3 x 3 x 3 voxels for a tissue's local mean: FWHM 17 mm."""


def level_error(estimate: Slab, batch: Batch, weights: PerItem) -> Tensor:
    """Squared local mean error of each tissue, which makes regional bias count; needs ``batch.classes``.

    Its optimum is the conditional mean, as for the squared error; the network only learns it sooner.
    """
    assert batch.classes is not None
    shares = batch.classes.float()
    error = (estimate.float() - batch.target.float())[:, None]
    matrices = [neighbours(n, LEVEL_PASSES, error.device) for n in error.shape[2:]]
    total, share = along_axes(torch.cat([shares * error, shares], dim=1), matrices).chunk(2, dim=1)
    levels = (total.square() / (share + 1e-2)).sum(dim=1)  # the squared mean, times the tissue's share
    return (weights * levels.flatten(1).mean(dim=1)).mean()


def with_levels(losses: Losses, estimate: Slab, batch: Batch, weights: PerItem, weight: float) -> Losses:
    """Add ``level_error`` where weighted and the tissues are known; ``weights`` (b,) of items."""
    if weight == 0.0 or batch.classes is None:
        return losses
    return losses.plus("levels", level_error(estimate, batch, weights), weight)


_INSIDE = 0.25
"""Uptake above which a voxel is inside; the brain is near 1."""


def shrinkage(error: Tensor, truth: Tensor) -> PerItem:
    """(b,) squared error proportional to the truth: ``error`` (b, v) along ``truth`` (b, c, v), mean over c."""
    along = (truth * error[:, None]).sum(dim=2).square() / (truth.square().sum(dim=2) + 1e-3)
    return along.mean(dim=1)


def shrinkage_error(estimate: Slab, batch: Batch, weights: PerItem) -> Tensor:
    """Squared error proportional to the truth: along its level and its contrast at two widths, inside.

    The best answer by squared error pulls hot structures down and cold ones up. More weight: less bias, more noise.
    """
    target = batch.target.float()
    with torch.autocast(target.device.type, enabled=False):
        inside = (target > _INSIDE)[:, None]
        truth = torch.where(inside, torch.cat([target[:, None], structure(target)], dim=1), 0.0)
        along = shrinkage((estimate.float() - target).flatten(1), truth.flatten(2))
    return (weights * along).mean() / target[0].numel()


def with_shrinkage(losses: Losses, estimate: Slab, batch: Batch, weights: PerItem, weight: float) -> Losses:
    """Add ``shrinkage_error`` where weighted; ``weights`` (b,) of items."""
    if weight == 0.0:
        return losses
    return losses.plus("shrinkage", shrinkage_error(estimate, batch, weights), weight)


def with_answer(
    losses: Losses, estimate: Slab, logits: Sequence[Tensor], batch: Batch, weights: PerItem, settings: AnswerLoss
) -> Losses:
    """Add the terms of ``settings``: classes, levels, shrinkage."""
    losses = with_classes(losses, logits, batch, settings.classes)
    losses = with_levels(losses, estimate, batch, weights, settings.levels)
    return with_shrinkage(losses, estimate, batch, weights, settings.shrinkage)


def of_answer(
    answer: Answer, batch: Batch, conditions: Conditions, settings: SingleLoss, *, emphasis: PerItem | None = None
) -> Losses:
    """The loss of a network with one head; ``emphasis`` (b,): a further weight of each item's squared error."""
    weights = item_weights(conditions.low, batch.target, balance=settings.balance)
    emphasised = weights if emphasis is None else weights * emphasis
    losses = Losses({"pet": squared_error(answer.clean, batch.target, emphasised)}, {"pet": 1.0})
    logits = [] if answer.classes is None else [answer.classes]
    losses = with_answer(losses, answer.clean, logits, batch, weights, settings)
    if settings.first > 0.0 and answer.first is not None:
        losses = losses.plus("first", squared_error(answer.first, batch.target, weights), settings.first)
    return losses


def wiener(x_t: Slab, t: TimeSteps, schedule: Schedule) -> Slab:
    """sqrt(abar_t) x_t: the best linear estimate of unit-variance data from its noised version."""
    scale = schedule.abar.sqrt().to(device=x_t.device, dtype=x_t.dtype)[t]
    return scale.reshape(-1, 1, 1, 1) * x_t


def squared_error(estimate: Slab, target: Slab, weights: PerItem) -> Tensor:
    """Weighted mean squared error over the batch; float32 whatever the autocast."""
    error = (estimate.float() - target.float()).square().flatten(1).mean(dim=1)
    return (weights * error).mean()
