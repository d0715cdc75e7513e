"""MAP-Diff: which scan an estimate is tied to, how strongly, and what can be read out on the way."""

from __future__ import annotations

import pytest
import torch

from m2diff import families
from m2diff.batch import Anchors, Batch, Conditions
from m2diff.errors import BadInput
from m2diff.families.mapdiff import Ladder, anchors_at, border_of

NAN = float("nan")
BORDERS = {2.0: 10, 4.0: 20, 16.0: 40}
NETWORK = {"slices": 4, "fold": 2, "width": 16, "multipliers": [1, 2], "groups": 4, "spatial": 3}


def model(**loss):
    torch.manual_seed(0)
    return families.build({"family": "mapdiff", "network": NETWORK, "loss": {"borders": BORDERS, **loss}})


def a_batch(anchor, doses=(4.0,), count=8):
    low, target = torch.rand(2, count, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    images = torch.stack([torch.full_like(low, value) for value in anchor], dim=1)
    return Batch(Conditions(low), target, anchors=Anchors(images, torch.tensor([doses] * count)))


def terms(model, batch, seed=0):
    terms = model.loss(batch, generator=torch.Generator().manual_seed(seed)).terms
    return {name: value.detach() for name, value in terms.items()}


def test_borders_lie_straight_between_the_measured_ones_and_go_on_beyond_them():
    found = border_of(torch.tensor([1.0, 2.0, 2**0.5, 8.0, 16.0, 32.0, NAN]), BORDERS)
    torch.testing.assert_close(found, torch.tensor([0.0, 10.0, 5.0, 30.0, 40.0, 50.0, NAN]), equal_nan=True)


def test_every_step_is_tied_to_the_noisiest_scan_whose_stretch_has_begun():
    anchors = Anchors(torch.arange(3.0).reshape(1, 3, 1, 1, 1).expand(6, 3, 1, 1, 1), torch.tensor([[2.0, 4, 16]] * 6))
    t = torch.tensor([0, 9, 10, 20, 40, 999])
    image, there = anchors_at(t, anchors, BORDERS)
    assert there.tolist() == [0, 0, 1, 1, 1, 1]
    assert image.flatten()[2:].tolist() == [0, 1, 2, 2]


def test_a_scan_that_an_item_lacks_is_never_its_anchor():
    anchors = Anchors(
        torch.tensor([[5.0, 0.0], [0.0, 0.0]])[..., None, None, None], torch.tensor([[2, NAN], [NAN] * 2])
    )
    image, there = anchors_at(torch.tensor([500, 500]), anchors, BORDERS)
    assert there.tolist() == [1, 0] and float(image[0]) == 5.0


def test_items_without_anchors_are_left_out_of_the_term():
    with_none = a_batch([1.0], doses=(NAN,))
    assert float(terms(model(), with_none)["anchors"]) == 0.0
    assert set(terms(model(), Batch(with_none.conditions, with_none.target))) == {"pet"}
    assert set(terms(model(anchors=0.0), a_batch([1.0]))) == {"pet"}


def test_the_anchors_weight_falls_with_the_step_and_a_constant_one_does_not():
    batch = a_batch([1.0])
    constant, linear, quadratic = (float(terms(model(power=p), batch)["anchors"]) for p in (0.0, 1.0, 2.0))
    assert constant > linear > quadratic > 0


def test_images_between_are_the_estimates_at_the_borders():
    ladder = Ladder(BORDERS)
    for t in (999, 50, 39, 15, 0):
        ladder(t, t)
    assert list(ladder.images.items()) == [(16.0, 50), (4.0, 39), (2.0, 15)]


def test_a_chain_hands_out_its_images_between_and_answers_the_same():
    network, conditions = model(), a_batch([1.0]).conditions
    ladder = network.ladder(drf=10.0)
    with torch.no_grad():
        watched, alone = (
            network.enhance(conditions, generator=torch.Generator().manual_seed(0), watch=watch)
            for watch in (ladder, None)
        )
    assert torch.equal(watched, alone)
    assert list(ladder.images) == [4.0, 2.0] and ladder.images[2.0].shape == watched.shape


@pytest.mark.parametrize(
    ("loss", "match"),
    [
        ({"borders": {2.0: 30, 4.0: 20}}, "must grow"),
        ({"borders": {2.0: 30, 4.0: 1000}}, "below diffusion.steps"),
        ({"dropout": {"mri": 0.2}}, "reads no MRI"),
    ],
)
def test_settings_that_mean_nothing_are_refused(loss, match):
    with pytest.raises(BadInput, match=match):
        model(**loss)
