"""The terms that losses share: a tissue's level off is told from noise, and nothing is asked of what is not known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from m2diff.batch import Batch, Conditions, Losses
from m2diff.diffusion import Schedule, q_sample
from m2diff.families.base import Answer
from m2diff.families.config import DropoutConfig, SingleLoss
from m2diff.families.terms import (
    hide,
    item_weights,
    level_error,
    of_answer,
    shrinkage_error,
    squared_error,
    wiener,
    with_classes,
    with_levels,
    with_shrinkage,
)

SLAB = (1, 16, 48, 48)


def two_tissues() -> Tensor:
    """(1, 2, s, h, w): stripes of 8 voxels."""
    one = (torch.arange(48) // 8 % 2).float().expand(SLAB)
    return torch.stack([one, 1 - one], dim=1)


def batch(target: Tensor) -> Batch:
    return Batch(Conditions(torch.zeros(SLAB)), target, two_tissues())


def test_a_level_off_by_a_tenth_in_one_of_two_tissues_counts_in_full_for_its_share() -> None:
    shares = two_tissues()
    error = level_error(0.1 * shares[:, 0], batch(torch.zeros(SLAB)), torch.ones(1))
    assert float(error) == pytest.approx(0.1**2 / 2, rel=0.03)


def test_opposite_errors_of_neighbouring_tissues_do_not_cancel() -> None:
    shares = two_tissues()
    opposite = 0.1 * (shares[:, 0] - shares[:, 1])
    assert float(level_error(opposite, batch(torch.zeros(SLAB)), torch.ones(1))) == pytest.approx(0.01, rel=0.03)


def test_noise_hardly_counts() -> None:
    noise = torch.randn(SLAB, generator=torch.Generator().manual_seed(0))
    assert float(level_error(noise, batch(torch.zeros(SLAB)), torch.ones(1))) < 0.01


def test_the_weights_are_the_items() -> None:
    error = level_error(torch.full(SLAB, 0.2), batch(torch.zeros(SLAB)), torch.tensor([3.0]))
    assert float(error) == pytest.approx(3 * 0.04, rel=0.03)


def test_without_tissues_or_weight_there_is_no_such_term() -> None:
    before, image = Losses({"pet": torch.tensor(1.0)}, {"pet": 1.0}), torch.zeros(SLAB)
    unknown, even = Batch(Conditions(image), image), torch.ones(1)
    assert "levels" not in with_levels(before, image, unknown, even, 2.0).terms
    assert "levels" not in with_levels(before, image, batch(image), even, 0.0).terms
    assert with_levels(before, image, batch(image), even, 2.0).weights["levels"] == 2.0


def brain() -> Tensor:
    """(1, s, h, w): hot and cold stripes in a box, nothing around it."""
    stripes = 1.0 + 0.4 * two_tissues()[:, 0]
    stripes[..., :8] = stripes[..., 40:] = 0.0
    return stripes


def of_shrinkage(estimate: Tensor, target: Tensor, weight: float = 1.0) -> float:
    return float(shrinkage_error(estimate, batch(target), torch.tensor([weight])))


def test_an_answer_that_is_a_tenth_of_the_truth_short_pays_for_its_level_in_full_and_for_its_contrast_in_part() -> None:
    target = brain()
    squared = float((0.1 * target).square().mean())
    assert squared / 3 < of_shrinkage(0.9 * target, target) < squared  # all of it along the level, a third of the mean


def test_lost_contrast_counts_and_the_same_error_that_does_not_go_with_the_truth_hardly_does() -> None:
    target = brain()
    inside = target > 0
    lost = torch.where(inside, 0.05 * (two_tissues()[:, 1] - two_tissues()[:, 0]), torch.zeros(SLAB))
    signs = torch.randn(SLAB, generator=torch.Generator().manual_seed(0)).sign()
    assert of_shrinkage(target + lost, target) > 100 * of_shrinkage(target + lost * signs, target)


@pytest.mark.parametrize(("uptake", "counts"), [(0.24, False), (0.26, True)])
def test_a_voxel_is_inside_from_a_quarter_of_the_brains_uptake_on(uptake, counts) -> None:
    target = torch.full(SLAB, uptake)
    assert (of_shrinkage(0.9 * target, target) > 0) == counts


def test_nothing_outside_counts_as_shrinkage() -> None:
    target = brain()
    assert of_shrinkage(target + 0.3 * (target == 0), target) == pytest.approx(0.0, abs=1e-9)


def test_shrinkage_is_weighted_by_item_and_left_out_where_it_has_no_weight() -> None:
    target, before = brain(), Losses({"pet": torch.tensor(1.0)}, {"pet": 1.0})
    assert of_shrinkage(0.9 * target, target, 3.0) == pytest.approx(3 * of_shrinkage(0.9 * target, target))
    assert "shrinkage" not in with_shrinkage(before, target, batch(target), torch.ones(1), 0.0).terms
    assert with_shrinkage(before, target, batch(target), torch.ones(1), 4.0).weights["shrinkage"] == 4.0


def test_a_balanced_item_weighs_the_inverse_of_its_inputs_error() -> None:
    target = torch.ones(3, 2, 4, 4)
    low = target + torch.tensor([0.0, 0.1, 2.0]).reshape(3, 1, 1, 1)
    weights = item_weights(low, target, balance=True)
    torch.testing.assert_close(weights[1:], torch.tensor([1 / 0.1, 1 / 2.0]), rtol=0.06, atol=0)
    assert float(weights[0]) == pytest.approx(30, rel=0.1)  # an empty slab is no more than a very clean one
    assert item_weights(low, target, balance=False).tolist() == [1.0] * 3


def test_the_squared_error_is_each_items_mean_times_its_weight() -> None:
    target = torch.zeros(2, 2, 4, 4)
    estimate = torch.tensor([1.0, 3.0]).reshape(2, 1, 1, 1).expand_as(target)
    assert float(squared_error(estimate, target, torch.tensor([2.0, 0.5]))) == (2 * 1 + 0.5 * 9) / 2


def test_the_classes_are_held_against_the_tissues_by_cross_entropy() -> None:
    shares = two_tissues()
    logits = torch.randn(2, *shares.shape, generator=torch.Generator().manual_seed(0)).unbind(0)
    before = Losses({"pet": torch.tensor(1.0)}, {"pet": 1.0})
    found = with_classes(before, logits, batch(torch.zeros(SLAB)), 0.3)
    expected = torch.stack([torch.nn.functional.cross_entropy(each, shares) for each in logits]).mean()
    torch.testing.assert_close(found.terms["classes"], expected)
    assert found.weights["classes"] == 0.3


def test_the_scaled_image_is_the_best_guess_that_is_linear_in_it() -> None:
    schedule, generator = Schedule.linear(), torch.Generator().manual_seed(0)
    clean, noise = torch.randn(2, 3, 1, 1, 100_000, generator=generator).unbind(0)
    t = torch.tensor([50, 300, 800])
    x_t = q_sample(clean, t, noise, schedule)
    slopes = (clean * x_t).sum(dim=(1, 2, 3)) / x_t.square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(wiener(x_t, t, schedule), slopes[:, None, None, None] * x_t, rtol=0, atol=0.06)


def test_an_emphasis_is_of_the_first_term_alone() -> None:
    target = torch.full(SLAB, 0.5)
    here = Batch(Conditions(torch.ones(SLAB)), target, two_tissues())
    settings = SingleLoss(levels=1.0, shrinkage=1.0)
    plain, threefold = (
        of_answer(Answer(torch.full(SLAB, 0.4)), here, here.conditions, settings, emphasis=emphasis)
        for emphasis in (None, torch.tensor([3.0]))
    )
    assert float(threefold.terms["pet"]) == pytest.approx(3 * float(plain.terms["pet"]))
    assert all(threefold.terms[name] == plain.terms[name] > 0 for name in ("levels", "shrinkage"))


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_mri_is_hidden_as_often_as_the_settings_say(share) -> None:
    slab = torch.zeros(2, 1, 1, 1)
    generator = torch.Generator().manual_seed(0)
    settings = DropoutConfig(mri=share, dose=0.0)
    hidden = [hide(Conditions(slab, slab), settings, generator=generator).mri is None for _ in range(400)]
    assert sum(hidden) / 400 == pytest.approx(share, abs=0.06)


def test_doses_are_hidden_item_by_item() -> None:
    count = 400
    known = Conditions(torch.zeros(count, 1, 1, 1), None, torch.full((count,), 20.0))
    hidden = hide(known, DropoutConfig(mri=0.0, dose=0.3), generator=torch.Generator().manual_seed(0))
    assert float(hidden.drf.isnan().float().mean()) == pytest.approx(0.3, abs=0.07)
    assert not known.drf.isnan().any()
