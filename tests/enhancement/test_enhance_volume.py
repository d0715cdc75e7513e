"""A volume around a network: one noise, a fade at every face of the box, an anchor. The networks' answers are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from m2diff.batch import Estimate, Needs
from m2diff.diffusion import Schedule
from m2diff.enhancement import volume
from m2diff.enhancement.volume import FADE, Options, repeat
from m2diff.families import DiffusionFamily
from m2diff.families.config import SamplingConfig
from m2diff.preparation import grid
from m2diff.preparation.pair import Prepared
from m2diff.volume import Volume

SHAPE = (40, 44, 36)
EXACT = Options(precision="fp32")


class Above(nn.Module):
    """Answers one more than the low-dose scan, and keeps what it is told of the dose."""

    needs = Needs("slab", slices=4, multiple=4)

    def __init__(self) -> None:
        super().__init__()
        self.told = []

    def enhance(self, conditions, *, generator):
        self.told += conditions.drf.tolist()
        return conditions.low + 1.0


class Echo(DiffusionFamily):
    """A diffusion whose clean estimate is the image that it is given; it keeps the steps that it is asked at."""

    needs = Needs("slab", slices=4, multiple=4)

    def __init__(self) -> None:
        super().__init__()
        self.schedule, self.sampling, self.asked = Schedule.linear(), SamplingConfig(), []

    def loss(self, batch, *, generator):
        raise NotImplementedError

    def forward(self, x_t, t, conditions):
        self.asked.append(int(t[0]))
        return Estimate(x_t)


def prepared(*head: tuple[int, int], drf: float = 20.0) -> Prepared:
    """A made-up scan whose head is a block, ``head``: its first voxel and one past its last along each axis."""
    low = np.random.default_rng(0).normal(1.0, 0.1, SHAPE).astype(np.float32)
    support = np.zeros(SHAPE, dtype=bool)
    support[tuple(slice(*span) for span in head)] = True
    pet = Volume(low, np.diag([2.0, 2.0, 2.0, 1.0]), "Bq/mL")
    return Prepared(low, None, drf, 1.0, pet.affine, support, pet, grid.to_working(pet))


BLOCK = ((10, 28), (12, 30), (9, 25))


def test_the_noise_of_a_place_does_not_depend_on_where_the_head_begins_and_ends():
    one, other = prepared(*BLOCK), prepared((14, 33), (6, 27), (11, 29))
    first, second = (volume.run_volume(Echo(), scan, seed=3, options=EXACT) for scan in (one, other))
    both = one.support & other.support
    assert np.array_equal(first[both], second[both])
    assert first[both].std() == pytest.approx(1.0, abs=0.05)
    assert not np.allclose(first, volume.run_volume(Echo(), one, seed=4, options=EXACT), atol=0.5)


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_the_answer_fades_into_the_input_over_the_margin_at_both_faces_of_every_axis(axis):
    scan = prepared(*BLOCK)
    added = volume.run_volume(Above(), scan, seed=0, options=EXACT) - scan.low
    line = np.moveaxis(added, axis, 0)[:, 20, 18] if axis == 0 else np.moveaxis(added, axis, 0)[:, 18, 18]
    first, last = BLOCK[axis]
    ramp = (np.arange(FADE) + 0.5) / FADE
    assert np.allclose(line[first:last], 1.0, atol=1e-5)
    assert np.allclose(line[first - FADE : first], ramp, atol=1e-5)
    assert np.allclose(line[last : last + FADE], ramp[::-1], atol=1e-5)
    assert not line[: first - FADE].any() and not line[last + FADE :].any()


def test_nothing_fades_where_the_image_itself_ends():
    scan = prepared(*((0, size) for size in SHAPE))
    added = volume.run_volume(Above(), scan, seed=0, options=EXACT) - scan.low
    assert np.allclose(added, 1.0, atol=1e-5)


class Guided(nn.Module):
    """Answers the MRI, whole or slab by slab, and keeps the dose and the precision that it works in."""

    def __init__(self, view: str) -> None:
        super().__init__()
        self.needs, self.doses, self.precisions = Needs(view, slices=4, multiple=4, mri=True), set(), set()

    def enhance(self, conditions, *, generator):
        self.doses |= set(conditions.drf.tolist())
        self.precisions.add(torch.nn.functional.linear(torch.ones(1, 1), torch.ones(1, 1)).dtype)
        return conditions.mri


@pytest.mark.parametrize("view", ["slab", "volume"])
def test_networks_and_filters_are_given_the_mri_and_the_dose_of_the_scan(view):
    mri = np.random.default_rng(1).random(SHAPE).astype(np.float32)
    model, scan = Guided(view), replace(prepared(*BLOCK, drf=30.0), mri=mri)
    found = volume.run_volume(model, scan, seed=0, options=EXACT)
    assert np.allclose(found[scan.support], mri[scan.support], atol=1e-5) and model.doses == {30.0}


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_network_works_in_the_precision_that_is_asked_for(precision, dtype):
    model, scan = Guided("slab"), prepared(*BLOCK)
    volume.run_volume(model, replace(scan, mri=scan.low), seed=0, options=Options(precision=precision))
    assert model.precisions == {dtype}


@pytest.mark.parametrize("drf", [4.0, 100.0])
def test_the_network_is_told_the_dose_of_the_scan(drf):
    model = Above()
    volume.run_volume(model, prepared(*BLOCK, drf=drf), seed=0, options=EXACT)
    assert model.told and set(model.told) == {drf}


def test_a_chain_takes_the_steps_that_are_asked_for():
    model = Echo()
    volume.run_volume(model, prepared(*BLOCK), seed=0, options=replace(EXACT, steps=4, batch=100))
    assert model.asked == [999, 749, 499, 249]


def test_a_chain_that_starts_from_an_estimate_starts_from_the_one_that_is_given():
    model, scan = Echo(), prepared(*BLOCK)
    model.sampling = SamplingConfig(start=10)
    given = np.full(SHAPE, 100.0, dtype=np.float32)
    kept = float(model.schedule.abar[10]) ** 0.5
    for first, level in ((given, 100.0), (None, 1.0)):
        found = volume.run_volume(model, scan, seed=0, options=EXACT, first=first)
        assert found[scan.support].mean() == pytest.approx(kept * level, abs=0.01)
        drawn = repeat(model, scan, samples=2, seed=0, options=EXACT, first=first)
        assert drawn.mean[scan.support].mean() == pytest.approx(kept * level, abs=0.01)
