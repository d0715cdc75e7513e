"""Dose equivalence on noise of known variance, and methods compared by person."""

import math

import numpy as np
import pytest

from m2diff.errors import BadInput
from m2diff.evaluation.compare import dose_equivalence, equivalent_drf, holm, interval, paired, smallest_p

SHAPE = (40, 40, 40)
MASK = np.ones(SHAPE, dtype=bool)
CLEAN = np.full(SHAPE, 5000.0)


def plain(drf: float, seed: int) -> np.ndarray:
    """A plain scan: white noise whose variance goes as 1 / dose."""
    return CLEAN + np.random.default_rng(seed).normal(0, 100 * math.sqrt(drf), SHAPE)


LADDER = {drf: plain(drf, seed) for seed, drf in enumerate((1, 4, 10, 20, 100))}


@pytest.mark.parametrize("equal_to", [2.0, 10.0, 40.0])
def test_an_image_as_noisy_as_a_plain_scan_is_worth_that_dose(equal_to):
    found = dose_equivalence(plain(equal_to, 99), CLEAN, LADDER, MASK, given_drf=50)
    assert found.equivalent_drf == pytest.approx(equal_to, rel=0.05)
    assert found.gain == pytest.approx(50 / equal_to, rel=0.05)
    assert not found.extrapolated
    assert found.error == pytest.approx(100**2 * equal_to, rel=0.03)


def test_the_plain_scan_itself_gains_nothing():
    assert dose_equivalence(LADDER[20], CLEAN, LADDER, MASK, given_drf=20).gain == pytest.approx(1.0)


@pytest.mark.parametrize("equal_to", [0.25, 400.0])
def test_beyond_the_ladder_the_one_over_dose_law_holds_and_says_so(equal_to):
    found = dose_equivalence(plain(equal_to, 98), CLEAN, LADDER, MASK, given_drf=20)
    assert found.equivalent_drf == pytest.approx(equal_to, rel=0.05)
    assert found.extrapolated


def test_between_two_rungs_the_error_is_a_power_of_the_dose():
    drf, extrapolated = equivalent_drf(2.0, [(1, 1.0), (16, 4.0)])  # error = sqrt(drf)
    assert (drf, extrapolated) == (pytest.approx(4.0), False)


def test_a_lucky_draw_at_a_lower_dose_does_not_turn_the_ladder_round():
    errors = (0.5, 1.0, 1.5, 1.9, 2.5, 4.0)
    found = [equivalent_drf(error, [(1, 1.0), (4, 2.0), (10, 1.8), (20, 4.0)])[0] for error in errors]
    assert found == sorted(found)


def test_a_lucky_draw_at_the_lowest_dose_leaves_an_error_within_the_ladder():
    drf, extrapolated = equivalent_drf(math.sqrt(2), [(1, 1.0), (4, 2.0), (20, 1.2)])
    assert (drf, extrapolated) == (pytest.approx(2.0), False)


def test_a_perfect_image_is_worth_any_dose_and_an_impossible_ladder_is_refused():
    assert dose_equivalence(CLEAN, CLEAN, LADDER, MASK, given_drf=20).gain == math.inf
    with pytest.raises(BadInput, match="at least one"):
        dose_equivalence(CLEAN, CLEAN, {}, MASK, given_drf=20)
    with pytest.raises(BadInput, match="positive dose reduction factors"):
        dose_equivalence(LADDER[4], CLEAN, {0: LADDER[1], **LADDER}, MASK, given_drf=20)
    with pytest.raises(BadInput, match="no noise"):
        dose_equivalence(CLEAN, CLEAN, {1: CLEAN}, MASK, given_drf=20)


def test_the_interval_covers_the_true_mean_as_often_as_it_says():
    rng = np.random.default_rng(5)
    hits = 0
    for _ in range(200):
        found = interval(rng.normal(3.0, 1.0, 40).tolist(), generator=rng, draws=500)
        assert found.low < found.mean < found.high
        hits += found.low <= 3.0 <= found.high
    assert 0.88 <= hits / 200 <= 0.985


@pytest.mark.parametrize(("confidence", "deviations"), [(0.95, 1.96), (0.8, 1.2816)])
def test_the_interval_is_the_normal_one_where_persons_are_many(confidence, deviations):
    values = np.random.default_rng(3).normal(3.0, 1.0, 400)
    found = interval(values.tolist(), generator=np.random.default_rng(4), confidence=confidence, draws=4000)
    half = deviations * values.std() / math.sqrt(len(values))
    assert (found.mean - found.low, found.high - found.mean) == (pytest.approx(half, rel=0.06),) * 2


def test_the_same_generator_gives_the_same_interval():
    values = [30.1, 31.4, 29.2, 33.0, 30.5]
    first, second = (interval(values, generator=np.random.default_rng(7)) for _ in range(2))
    assert first == second
    assert first.persons == 5
    with pytest.raises(BadInput, match="one finite number a person"):
        interval([1.0, math.inf], generator=np.random.default_rng(0))


def test_a_steady_gain_over_persons_shows_in_its_interval_and_p_value():
    b = {f"sub-{n}": 28.0 + n for n in range(8)}  # persons differ far more than the methods do
    a = {person: value + 0.5 + 0.05 * n for n, (person, value) in enumerate(b.items())}
    found = paired(a, b, names=("M2Diff", "MR-guided"), generator=np.random.default_rng(0))
    assert found.difference.mean == pytest.approx(0.675)
    assert found.difference.low > 0.5
    assert found.p_value == pytest.approx(2 / 2**8)  # all eight signs alike
    assert paired(b, b, names=("a", "a"), generator=np.random.default_rng(0)).p_value == 1.0
    with pytest.raises(BadInput, match="only one of the two has sub-0"):
        paired({k: v for k, v in a.items() if k != "sub-0"}, b, names=("a", "b"), generator=np.random.default_rng(0))


def test_holm_by_hand():
    # sorted .005 .01 .03 .04: times 4, 3, 2, 1 = .02 .03 .06 .04, and never below the one before
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.02]) == [0.02] and holm([]) == []


@pytest.mark.parametrize("persons", [1, 3, 5, 8])
def test_the_smallest_p_is_that_of_persons_who_all_agree(persons):
    a, b = ({str(n): x + n * 0.01 for n in range(persons)} for x in (1.0, 0.5))
    b = {person: value - 0.001 * n for n, (person, value) in enumerate(b.items())}
    found = paired(a, b, names=("a", "b"), generator=np.random.default_rng(0))
    assert found.p_value == pytest.approx(smallest_p(persons))
