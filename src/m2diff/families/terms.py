"""What the losses of the families share: hidden conditions, and squared errors in which every dose counts."""

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

BALANCE_FLOOR = 1e-3  # an empty slab (no error in the input at all) weighs at most 30 times an average one


def hide(conditions: Conditions, dropout: DropoutConfig, *, generator: torch.Generator) -> Conditions:
    """The conditions with the MRI dropped for the whole batch, and doses made unknown item by item.

    The same number of draws is made whatever is there, so that a seed means the same for every batch.
    """
    chances = torch.rand(1 + conditions.low.shape[0], generator=generator, device=generator.device)
    mri = None if float(chances[0]) < dropout.mri else conditions.mri
    drf = conditions.drf
    if drf is not None:
        drf = drf.masked_fill((chances[1:] < dropout.dose).to(drf.device), float("nan"))
    return replace(conditions, mri=mri, drf=drf)


def item_weights(low: Slab, target: Slab, *, balance: bool) -> PerItem:
    """(b,) the weight of each item's squared error: one, or one over the root mean squared error of its input.

    The squared error of an item goes with its noise; unweighted, the lowest doses would be all that is learnt.
    """
    if not balance:
        return torch.ones(low.shape[0], device=low.device)
    error = (low.detach().float() - target.float()).square().flatten(1).mean(dim=1)
    return (error + BALANCE_FLOOR).rsqrt()


def with_classes(losses: Losses, logits: Sequence[Tensor], batch: Batch, weight: float) -> Losses:
    """The losses, and where weighted and known the cross-entropy of soft classes: ``logits`` of each head that fits."""
    if weight == 0.0 or batch.classes is None or not logits:
        return losses
    errors = [-(batch.classes * each.float().log_softmax(dim=1)).sum(dim=1).mean() for each in logits]
    return losses.plus("classes", torch.stack(errors).mean(), weight)


LEVEL_PASSES = 20
"""Means over 3 x 3 x 3 voxels within which a tissue's level is taken: 17 mm in FWHM."""


def level_error(estimate: Slab, batch: Batch, weights: PerItem) -> Tensor:
    """Mean squared error of each tissue's level nearby: the error's mean over the tissue's voxels around, squared.

    A regional bias is a small part of a voxel's error and most of what a reader of regions sees. The best answer is the
    same as for the squared error itself (the conditional mean); this only has it learnt sooner. ``batch`` must know its
    tissues.
    """
    assert batch.classes is not None
    shares = batch.classes.float()
    error = (estimate.float() - batch.target.float())[:, None]
    matrices = [neighbours(n, LEVEL_PASSES, error.device) for n in error.shape[2:]]
    total, share = along_axes(torch.cat([shares * error, shares], dim=1), matrices).chunk(2, dim=1)
    levels = (total.square() / (share + 1e-2)).sum(dim=1)  # the mean squared, times the share that it speaks for
    return (weights * levels.flatten(1).mean(dim=1)).mean()


def with_levels(losses: Losses, estimate: Slab, batch: Batch, weights: PerItem, weight: float) -> Losses:
    """The losses, and where weighted and the tissues are known the error of their levels; ``weights`` (b,) of items."""
    if weight == 0.0 or batch.classes is None:
        return losses
    return losses.plus("levels", level_error(estimate, batch, weights), weight)


_INSIDE = 0.25
"""Uptake, in a scan whose brain is near 1, above which a voxel counts as inside."""


def shrinkage(error: Tensor, truth: Tensor) -> PerItem:
    """(b,) the squared error that goes with the truth: ``error`` (b, v) along ``truth`` (b, c, v), the mean over c."""
    along = (truth * error[:, None]).sum(dim=2).square() / (truth.square().sum(dim=2) + 1e-3)
    return along.mean(dim=1)


def shrinkage_error(estimate: Slab, batch: Batch, weights: PerItem) -> Tensor:
    """What of the squared error goes with the truth itself: along its level and its contrast at two widths, inside.

    The best answer by squared error is shy: what it cannot tell from noise it leaves out, so that hot structures come
    out too cold and cold ones too hot, by the same shares in everybody. This speaks against that; the more it weighs,
    the less is left of the bias, and the noisier the answer.
    """
    target = batch.target.float()
    with torch.autocast(target.device.type, enabled=False):
        inside = (target > _INSIDE)[:, None]
        truth = torch.where(inside, torch.cat([target[:, None], structure(target)], dim=1), 0.0)
        along = shrinkage((estimate.float() - target).flatten(1), truth.flatten(2))
    return (weights * along).mean() / target[0].numel()


def with_shrinkage(losses: Losses, estimate: Slab, batch: Batch, weights: PerItem, weight: float) -> Losses:
    """The losses, and where weighted what goes with the truth; ``weights`` (b,) of items."""
    if weight == 0.0:
        return losses
    return losses.plus("shrinkage", shrinkage_error(estimate, batch, weights), weight)


def with_answer(
    losses: Losses, estimate: Slab, logits: Sequence[Tensor], batch: Batch, weights: PerItem, settings: AnswerLoss
) -> Losses:
    """The losses, and what ``settings`` add by the answer: its classes, its tissues' levels and its shrinkage."""
    losses = with_classes(losses, logits, batch, settings.classes)
    losses = with_levels(losses, estimate, batch, weights, settings.levels)
    return with_shrinkage(losses, estimate, batch, weights, settings.shrinkage)


def of_answer(
    answer: Answer, batch: Batch, conditions: Conditions, settings: SingleLoss, *, emphasis: PerItem | None = None
) -> Losses:
    """The loss of a network with one head: its squared error, and where weighted and known those of its classes and of
    its first version. ``emphasis`` (b,): a further weight of each item's first term.
    """
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
    """Mean squared error of each item, weighted, averaged over the batch; float32 whatever the autocast."""
    error = (estimate.float() - target.float()).square().flatten(1).mean(dim=1)
    return (weights * error).mean()
