"""AUC against its definition by brute force; intervals over persons, not scans."""

from itertools import product

import numpy as np
import pytest

from m2diff.evaluation.separation import Labelled, effect, separation

RNG = np.random.default_rng(5)


def auc(sick, well):
    scans = [
        Labelled(f"{ill} {n}", ill, value)
        for ill, each in ((True, sick), (False, well))
        for n, value in enumerate(each)
    ]
    return separation(scans, generator=np.random.default_rng(0), draws=20).auc.mean


@pytest.mark.parametrize("seed", range(5))
def test_auc_is_the_share_of_pairs_in_the_right_order(seed):
    rng = np.random.default_rng(seed)
    sick, well = rng.integers(0, 6, 7).astype(float), rng.integers(2, 8, 9).astype(float)  # with ties
    pairs = [1.0 if s < w else 0.5 if s == w else 0.0 for s, w in product(sick, well)]
    assert auc(sick, well) == pytest.approx(np.mean(pairs))
    assert auc(sick, well) + auc(well, sick) == pytest.approx(1)


def test_apart_is_one_and_no_group_is_nothing():
    assert auc(np.array([1.0, 2]), np.array([3.0, 4])) == 1
    one = [Labelled("a", True, 1.0), Labelled("b", True, 2.0)]
    assert separation(one, generator=np.random.default_rng(0)) is None


def test_difference_and_effect_of_known_groups():
    sick, well = RNG.normal(1.0, 0.2, 400), RNG.normal(1.3, 0.2, 400)
    scans = [Labelled(f"{n}", True, v) for n, v in enumerate(sick)]
    scans += [Labelled(f"{n + 400}", False, v) for n, v in enumerate(well)]
    found = separation(scans, generator=np.random.default_rng(0))
    assert found.difference.mean == pytest.approx(0.3, abs=0.04)
    assert found.difference.high - found.difference.low == pytest.approx(2 * 1.96 * 0.2 * np.sqrt(2 / 400), rel=0.1)
    assert found.effect == pytest.approx(1.5, abs=0.15) and effect(well, sick) == pytest.approx(-found.effect)
    assert found.auc.low < found.auc.mean < found.auc.high


def test_the_effect_is_the_difference_over_the_pooled_standard_deviation():
    assert effect(np.array([1.0, 3.0]), np.array([4.0, 6.0, 8.0])) == pytest.approx(4 / np.sqrt((2 + 8) / 3))


def test_groups_of_one_scan_or_without_spread_have_no_effect():
    one, even, two = np.array([1.0]), np.array([2.0, 2.0]), np.array([3.0, 4.0])
    assert all(np.isnan(effect(*groups)) for groups in ((one, two), (two, one), (even, even + 1)))


def test_a_disease_that_raises_the_value_turns_the_auc_round():
    scans = [Labelled(str(n), n % 2 == 0, v) for n, v in enumerate(RNG.integers(0, 9, 30).astype(float))]
    lowered, raised = (separation(scans, raised=up, generator=np.random.default_rng(0)) for up in (False, True))
    assert raised.auc.mean == pytest.approx(1 - lowered.auc.mean)
    assert (raised.auc.low, raised.auc.high) == pytest.approx((1 - lowered.auc.high, 1 - lowered.auc.low))
    assert (raised.difference, raised.effect) == (lowered.difference, lowered.effect)


def test_scans_of_one_person_are_drawn_together():
    once = [Labelled(str(n), n % 2 == 0, v) for n, v in enumerate(RNG.normal(size=12))]
    thrice = [scan for scan in once for _ in range(3)]
    a, b = (separation(scans, generator=np.random.default_rng(0)) for scans in (once, thrice))
    for one, three in ((a.auc, b.auc), (a.difference, b.difference)):  # copies make nothing surer
        assert (one.mean, one.low, one.high) == pytest.approx((three.mean, three.low, three.high))
    assert b.patients == 3 * a.patients and b.auc.persons == 12


def test_draws_without_one_of_the_groups_are_left_out():
    found = separation(
        [Labelled("a", True, 1.0), Labelled("b", False, 2.0)], generator=np.random.default_rng(0), draws=50
    )
    assert (found.auc.low, found.auc.high) == (1, 1)
