"""M2Diff: its losses, its two heads, and what goes between its branches."""

from __future__ import annotations

import math

import pytest
import torch

from m2diff import families
from m2diff.batch import Batch, Conditions
from m2diff.errors import BadInput

NETWORK = {"slices": 1, "fold": 1, "width": 8, "multipliers": [1, 2], "groups": 4}


def model_with(seed=0, loss=None, **network):
    torch.manual_seed(seed)
    model = families.build({"family": "m2diff", "network": {**NETWORK, **network}, "loss": loss or {}})
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def slab(seed, count=2):
    return torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(seed))


def both():
    return Conditions(slab(1), slab(2))


def test_the_loss_is_the_papers_weighted_sum():
    model = model_with(loss={"dropout": {"mri": 0.0}})
    losses = model.loss(Batch(both(), slab(3)), generator=torch.Generator().manual_seed(0))
    terms = {name: float(value.detach()) for name, value in losses.terms.items()}
    assert set(terms) == {"pet", "mri", "agreement"}
    expected = 0.4 * terms["pet"] + 0.4 * terms["mri"] + 0.2 * terms["agreement"]
    assert float(losses.total.detach()) == pytest.approx(expected, rel=1e-6)


def test_a_weighted_mean_of_the_heads_is_one_more_term():
    model = model_with(loss={"mean": 0.1, "dropout": {"mri": 0.0}})
    losses = model.loss(Batch(both(), slab(3)), generator=torch.Generator().manual_seed(0))
    assert set(losses.terms) == {"pet", "mri", "agreement", "mean"} and losses.weights["mean"] == 0.1


def test_the_mean_of_the_heads_lies_between_them():
    model, x, t = model_with(head="mean"), slab(4), torch.tensor([10, 900])
    heads, estimate = model.heads(x, t, both()), model(x, t, both())
    torch.testing.assert_close(estimate.clean, (heads.pet + heads.mri) / 2)
    torch.testing.assert_close(estimate.auxiliary, heads.mri)
    assert torch.equal(model_with(head="pet")(x, t, both()).clean, heads.pet)


def test_the_pet_head_sees_the_mri_and_the_mri_head_sees_the_low_dose_scan():
    model, x, t = model_with(), slab(4), torch.tensor([10, 900])
    base = model.heads(x, t, both())
    other_mri = model.heads(x, t, Conditions(slab(1), slab(7)))
    other_low = model.heads(x, t, Conditions(slab(7), slab(2)))
    assert not torch.allclose(base.pet, other_mri.pet, atol=1e-5)
    assert not torch.allclose(base.mri, other_low.mri, atol=1e-5)


def test_without_the_exchange_each_branch_keeps_to_its_own_image():
    model, x, t = model_with(exchange=False, optional_mri=True), slab(4), torch.tensor([10, 900])
    base, other = (model.heads(x, t, Conditions(slab(1), slab(number))) for number in (2, 7))
    torch.testing.assert_close(base.pet, other.pet)
    assert not torch.allclose(base.mri, other.mri, atol=1e-5)
    torch.testing.assert_close(model(x, t, Conditions(slab(1))).clean, base.pet)


def test_without_an_mri_there_is_no_second_image():
    model = model_with(optional_mri=True)
    assert model(slab(4), torch.tensor([10, 900]), Conditions(slab(1))).auxiliary is None


def test_the_papers_network_refuses_to_work_without_an_mri():
    with pytest.raises(BadInput, match="read an MRI"):
        model_with()(slab(4), torch.tensor([10, 900]), Conditions(slab(1)))


def test_wiener_scaling_lets_almost_no_noise_in_where_sampling_starts():
    t = torch.tensor([999, 999])
    changes = []
    for scaling in ("wiener", "none"):
        model = model_with(input_scaling=scaling)
        changes.append(float((model(slab(4), t, both()).clean - model(slab(5), t, both()).clean).detach().abs().max()))
    assert changes[0] < 0.02 * changes[1]
    assert math.isfinite(changes[1])


def test_modality_dropout_hides_the_mri_as_often_as_asked():
    model = model_with(optional_mri=True, loss={"dropout": {"mri": 0.25}})
    batch, generator = Batch(both(), slab(3)), torch.Generator().manual_seed(0)
    with torch.no_grad():
        alone = sum(len(model.loss(batch, generator=generator).terms) == 1 for _ in range(100))
    assert 12 <= alone <= 38
