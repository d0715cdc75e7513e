"""The terms that losses share: a tissue's level off is told from noise, and nothing is asked of what is not known."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from m2diff.batch import Batch, Conditions, Losses
from m2diff.families.config import DropoutConfig
from m2diff.families.terms import hide, level_error, with_levels

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


def test_doses_and_reconstructions_are_hidden_item_by_item_and_each_on_its_own() -> None:
    count = 400
    known = Conditions(torch.zeros(count, 1, 1, 1), None, torch.full((count,), 20.0), torch.full((count, 3), 5.0))
    hidden = hide(known, DropoutConfig(mri=0.0, dose=0.3, recon=0.6), generator=torch.Generator().manual_seed(0))
    dose, recon = hidden.dose.isnan(), hidden.recon.isnan()
    assert bool((recon.all(dim=1) == recon.any(dim=1)).all())  # all three numbers or none
    assert float(dose.float().mean()) == pytest.approx(0.3, abs=0.07)
    assert float(recon[:, 0].float().mean()) == pytest.approx(0.6, abs=0.07)
    both = float((dose & recon[:, 0]).float().mean())
    assert both == pytest.approx(0.18, abs=0.06)
    assert not known.dose.isnan().any() and not known.recon.isnan().any()
