"""What every family promises, one list for all: who stands in ``families.FAMILIES`` is held to it, by its preset."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from safetensors.torch import load, save

from m2diff import families
from m2diff.batch import CLASSES, Anchors, Batch, Conditions
from m2diff.errors import BadInput
from m2diff.training.config import load_preset

SIZE = 16
SMALL = {"slices": 4, "fold": 2, "width": 16, "multipliers": [1, 2], "groups": 4, "fit": None}
SIZES = {
    "in 2D": {**SMALL, "spatial": 2, "attention": [1], "middle_attention": True},
    "in 3D": {**SMALL, "spatial": 3},
    "with a fit": {**SMALL, "spatial": 3, "fit": {"windows": [1, 2]}},
    "with a judged fit": {**SMALL, "spatial": 3, "fit": {"windows": [1, 2], "judged": True}},
}


def shrunk(family, size):
    """The model of the family's ``-base`` preset with a tiny network."""
    spec = load_preset(f"{family}-base").model
    return {**spec, "network": {**spec["network"], **size}}


SPECS = {f"{family} {size}": shrunk(family, SIZES[size]) for family in families.family_names() for size in SIZES}

each_family = pytest.mark.parametrize("name", SPECS)
each_without_a_fit = pytest.mark.parametrize("name", [name for name in SPECS if "fit" not in name])


def shaken(name, seed=0):
    """The family's model with no parameter at zero, so that every path carries something."""
    torch.manual_seed(seed)
    model = families.build(SPECS[name])
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return model


def make_batch(count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    low, mri, target = (torch.rand(count, 4, SIZE, SIZE, generator=generator) for _ in range(3))
    dose = torch.tensor([20.0, float("nan"), 100.0] * count)[:count]
    anchors = torch.rand(count, 2, 4, SIZE, SIZE, generator=generator)
    classes = torch.rand(count, len(CLASSES), 4, SIZE, SIZE, generator=generator).softmax(dim=1)
    doses = torch.tensor([[2.0, 10.0]] * count)
    return Batch(Conditions(low, mri, dose), target, classes, Anchors(anchors, doses))


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def enhanced(model, conditions, seed=0):
    with torch.no_grad():
        return model.enhance(conditions, generator=seeded(seed))


@pytest.mark.parametrize("family", families.family_names())
def test_a_familys_presets_are_its_own(family):
    assert load_preset(f"{family}-base").model["family"] == family


@each_family
def test_every_parameter_gets_a_finite_gradient(name):
    model, batch = shaken(name), make_batch()
    alone = replace(batch, conditions=replace(batch.conditions, mri=None))
    model.loss(alone, generator=seeded()).total.backward()
    for seed in range(24):  # until the family's own draws have asked every path
        model.loss(batch, generator=seeded(seed)).total.backward()
        if all(parameter.grad is not None and parameter.grad.any() for parameter in model.parameters()):
            break
    for parameter_name, parameter in model.named_parameters():
        assert parameter.grad is not None, parameter_name
        assert torch.isfinite(parameter.grad).all(), parameter_name
        assert parameter.grad.abs().max() > 0, parameter_name


@each_without_a_fit
def test_a_fresh_model_answers_the_low_dose_scan_where_it_predicts_a_correction(name):
    if not corrects(name):
        pytest.skip("M2Diff's paper answers the image itself; a fit corrects the scan")
    torch.manual_seed(0)
    conditions = make_batch().conditions
    torch.testing.assert_close(enhanced(families.build(SPECS[name]), conditions), conditions.low)


def corrects(name):
    """Whether the answer starts from the low-dose scan."""
    spec = SPECS[name]
    return spec["family"] != "m2diff" or spec["network"].get("fit") is not None


@each_family
def test_a_saved_model_answers_the_same(name):
    model, other, conditions = shaken(name), shaken(name, seed=1), make_batch().conditions
    answered = enhanced(model, conditions)
    assert not torch.equal(answered, enhanced(other, conditions))
    other.load_state_dict(load(save(model.state_dict())))
    assert torch.equal(answered, enhanced(other, conditions))


@each_family
def test_the_resolved_spec_builds_the_same_model(name):
    resolved = families.resolve(SPECS[name])
    assert families.resolve(resolved) == resolved
    torch.manual_seed(0)
    shapes = {key: value.shape for key, value in families.build(resolved).state_dict().items()}
    assert shapes == {key: value.shape for key, value in families.build(SPECS[name]).state_dict().items()}


@each_family
def test_the_same_seed_gives_the_same_loss_and_image(name):
    model, batch = shaken(name), make_batch()
    losses = [float(model.loss(batch, generator=seeded(3)).total.detach()) for _ in range(2)]
    assert losses[0] == losses[1]
    assert torch.equal(enhanced(model, batch.conditions, 3), enhanced(model, batch.conditions, 3))


@each_family
def test_an_item_is_answered_the_same_alone_and_in_a_batch(name):
    model, low_mri_dose = shaken(name), make_batch().conditions
    one = Conditions(*(each[:1] for each in (low_mri_dose.low, low_mri_dose.mri, low_mri_dose.drf)))
    alone, together = (answer(model, c) for c in (one, low_mri_dose))
    torch.testing.assert_close(alone, together[:1], rtol=1e-4, atol=1e-5)


def answer(model, conditions):
    """The clean estimate with no noise at all, so that only the batch differs."""
    count = len(conditions.low)
    with torch.no_grad():
        if isinstance(model, families.DiffusionFamily):
            return model(torch.zeros_like(conditions.low), torch.full((count,), 500), conditions).clean
        return model(conditions).clean


@each_family
def test_pet_alone_runs_and_asks_nothing_of_the_mri_branch(name):
    model, batch = shaken(name), make_batch()
    alone = Batch(replace(batch.conditions, mri=None), batch.target)
    losses = model.loss(alone, generator=seeded())
    assert not {"mri", "agreement"} & set(losses.terms)
    losses.total.backward()
    mri_parameters = [p for key, p in model.named_parameters() if key.startswith(("mri.", "mri_stem."))]
    assert bool(mri_parameters) is model.needs.mri and all(p.grad is None for p in mri_parameters)
    assert torch.isfinite(enhanced(model, alone.conditions)).all()


@each_family
def test_what_is_needed_changes_the_answer_and_an_mri_that_is_not_changes_nothing(name):
    model, known = shaken(name), make_batch().conditions
    base = answer(model, known)
    for mri in (None, known.mri.flip(0)):
        same = torch.allclose(base, answer(model, replace(known, mri=mri)), atol=1e-5)
        assert same is not model.needs.mri
    others = (
        replace(known, drf=None),
        replace(known, drf=known.drf * 2),
        replace(known, low=known.low.flip(-1)),
    )
    assert model.needs.dose
    for changed in others:
        assert not torch.allclose(base, answer(model, changed), atol=1e-5)


@each_family
def test_only_a_family_that_says_so_reads_the_doses_between(name):
    model, batch = shaken(name), make_batch()
    with_anchors, without = (
        float(model.loss(each, generator=seeded(1)).total.detach())
        for each in (batch, Batch(batch.conditions, batch.target, batch.classes))
    )
    assert (with_anchors != without) is model.needs.anchors


@each_family
def test_the_classes_of_a_fit_are_taught_where_the_tissues_are_known(name):
    model, batch = shaken(name), make_batch()
    taught = model.needs.classes and SPECS[name]["network"]["fit"] is not None
    assert ("classes" in model.loss(batch, generator=seeded()).terms) is taught
    assert "classes" not in model.loss(Batch(batch.conditions, batch.target), generator=seeded()).terms


@each_family
def test_the_levels_of_the_tissues_are_a_term_where_it_is_weighted_and_they_are_known(name):
    spec, batch = SPECS[name], make_batch()
    model = families.build({**spec, "loss": {**spec["loss"], "classes": 0.0, "levels": 0.5}})
    losses = model.loss(batch, generator=seeded())
    assert model.needs.classes and losses.weights["levels"] == 0.5
    assert torch.isfinite(losses.total) and float(losses.terms["levels"].detach()) > 0
    assert "levels" not in model.loss(Batch(batch.conditions, batch.target), generator=seeded()).terms
    plain = families.build({**spec, "loss": {**spec["loss"], "levels": 0.0}})
    assert "levels" not in plain.loss(batch, generator=seeded()).terms


@each_family
@pytest.mark.parametrize("guided", [True, False])
def test_what_goes_with_the_truth_is_a_term_where_it_is_weighted_with_an_mri_and_without(name, guided):
    spec, batch = SPECS[name], make_batch()
    if not guided:
        batch = replace(batch, conditions=replace(batch.conditions, mri=None))
    losses = families.build({**spec, "loss": {**spec["loss"], "shrinkage": 4.0}}).loss(batch, generator=seeded())
    assert losses.weights["shrinkage"] == 4.0
    assert torch.isfinite(losses.total) and float(losses.terms["shrinkage"].detach()) > 0
    plain = families.build({**spec, "loss": {**spec["loss"], "shrinkage": 0.0}})
    assert "shrinkage" not in plain.loss(batch, generator=seeded()).terms


@each_family
def test_an_unknown_dose_is_the_same_absent_and_nan(name):
    model, known = shaken(name), make_batch().conditions
    nan = torch.full((3,), float("nan"))
    absent, missing = (answer(model, replace(known, drf=dose)) for dose in (None, nan))
    torch.testing.assert_close(absent, missing)


@each_family
@pytest.mark.parametrize("section", [None, "network", "loss"])
def test_an_unknown_key_is_an_error(name, section):
    spec = copy.deepcopy(SPECS[name])
    (spec if section is None else spec.setdefault(section, {}))["colour"] = 3
    with pytest.raises(BadInput, match="colour"):
        families.build(spec)


@each_family
def test_views_that_do_not_fit_are_refused(name):
    model, known = shaken(name), make_batch().conditions
    with pytest.raises(BadInput, match="slabs of 4 slices, got 3"):
        enhanced(model, Conditions(known.low[:, :3]))
    with pytest.raises(BadInput, match="divide by 4"):
        enhanced(model, Conditions(known.low[..., :-2]))
    with pytest.raises(BadInput, match="resample"):
        enhanced(model, Conditions(known.low, known.mri[:, :2]))


@each_without_a_fit
def test_a_balanced_loss_counts_every_dose(name):
    batch = make_batch(count=1)
    if not corrects(name):
        pytest.skip("a fresh network of M2Diff's paper does not answer the scan")
    model = families.build(SPECS[name])  # fresh: answers low, so its error is the input's
    values = []
    for noise in (0.3, 0.6):
        low = batch.target + noise
        values.append(float(model.loss(Batch(Conditions(low), batch.target), generator=seeded()).total.detach()))
    assert values[1] / values[0] == pytest.approx(2.0, rel=0.02)  # unbalanced it would be 4


def test_an_unknown_family_is_an_error():
    with pytest.raises(BadInput, match=", ".join(families.family_names())):
        families.build({"family": "wishes"})
