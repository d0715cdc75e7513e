"""The model observer against analytic truth: white noise, a known covariance, nothing to find."""

import numpy as np
import pytest

from m2diff.errors import BadInput
from m2diff.evaluation import observer
from m2diff.evaluation.observer import Outputs

PEOPLE = 10


def images(rng, cases, signal=None, size=11):
    noise = rng.normal(size=(cases, size, size, size))
    return noise if signal is None else noise + signal


def gaussian(width, size=11):
    axis = (np.arange(size) - size // 2) / width
    return np.exp(-(axis[:, None, None] ** 2 + axis[:, None] ** 2 + axis**2) / 2)


def seen(volumes, kernels):
    return np.array([observer.respond(volume, kernels).ravel() for volume in volumes])


def tallied(absent, present):
    whose = [np.arange(len(each)) % PEOPLE for each in (absent, present)]
    observers = observer.left_out(Outputs(absent, whose[0]), Outputs(present, whose[1]))
    pairs = [
        (np.array([observers[p](value) for value, p in zip(values, people, strict=True)]), people)
        for values, people in zip((absent, present), whose, strict=True)
    ]
    return observer.tally(*pairs, PEOPLE)


def span(tally):
    return observer.area([tally], generator=np.random.default_rng(0))


def test_channels_are_orthonormal_and_round():
    kernels = observer.channels(4.0, 4)
    flat = kernels.reshape(4, -1)
    assert flat @ flat.T == pytest.approx(np.eye(4), abs=0.12)  # the fourth is cut at three widths
    assert flat[:2] @ flat[:2].T == pytest.approx(np.eye(2), abs=0.01)
    assert np.array_equal(kernels, kernels.transpose(0, 3, 1, 2)) and np.allclose(kernels, kernels[:, ::-1])


def test_outputs_are_inner_products_with_the_channels_at_every_place():
    rng, kernels = np.random.default_rng(1), observer.channels(0.9, 3)
    patch = rng.normal(size=(11, 9, 10))
    n = kernels.shape[1]
    outputs = observer.respond(patch, kernels)
    assert outputs.shape == (11 - n + 1, 9 - n + 1, 10 - n + 1, 3)
    here = patch[2 : 2 + n, 1 : 1 + n, 3 : 3 + n]
    assert outputs[2, 1, 3] == pytest.approx((kernels * here).sum(axis=(1, 2, 3)), abs=1e-5)
    with pytest.raises(BadInput, match="larger"):
        observer.respond(patch[:3], kernels)


def test_a_gaussian_lesion_in_white_noise_is_seen_as_well_as_theory_says():
    rng, width = np.random.default_rng(2), 1.5
    kernels, signal = observer.channels(width, 3), 0.35 * gaussian(width)
    absent, present = (seen(images(rng, 1500, what), kernels) for what in (None, signal))
    ideal = np.linalg.norm(signal)  # SNR of the matched filter, noise of standard deviation 1
    assert observer.snr(absent, present) == pytest.approx(ideal, rel=0.07)
    found = span(tallied(absent, present))
    assert found.mean == pytest.approx(observer.gaussian_auc(ideal), abs=0.02)
    assert found.low < observer.gaussian_auc(ideal) < found.high


def test_weights_and_snr_of_a_known_covariance():
    rng = np.random.default_rng(3)
    root = np.array([[1.0, 0, 0], [0.8, 0.5, 0], [-0.4, 0.3, 0.7]])
    shift = np.array([0.5, -0.2, 0.1])
    absent, present = (rng.normal(size=(20000, 3)) @ root.T + move for move in (0, shift))
    best = np.linalg.solve(root @ root.T, shift)
    assert observer.train(absent, present).weights == pytest.approx(best, abs=0.08)
    assert observer.snr(absent, present) == pytest.approx(np.sqrt(shift @ best), rel=0.03)
    whole = tallied(absent[:2000], present[:2000]).area(np.ones((1, PEOPLE)))
    assert whole == pytest.approx(observer.gaussian_auc(np.sqrt(shift @ best)), abs=0.02)


def test_gaussian_auc_of_known_ratios():
    assert observer.gaussian_auc(0) == 0.5
    assert observer.gaussian_auc(np.sqrt(2)) == pytest.approx(0.841345, abs=1e-6)  # Phi(1)


def test_no_lesion_is_chance_for_whoever_did_not_train_the_weights():
    rng = np.random.default_rng(4)
    areas, fooled = [], []
    for _ in range(30):  # few cases and many channels: resubstitution would see what is not there
        absent, present = rng.normal(size=(2, 40, 8))
        areas.append(tallied(absent, present).area(np.ones((1, PEOPLE)))[0])
        fooled.append(observer.gaussian_auc(observer.snr(absent, present)))
    assert np.mean(areas) == pytest.approx(0.5, abs=0.05) and np.mean(fooled) > 0.65


def test_searching_for_nothing_hits_by_chance():
    rng, places, near = np.random.default_rng(5), 50, 10
    chooser = observer.Observer(np.array([1.0, 0.5]), np.zeros(2))
    fields = rng.normal(size=(2, 3000, places, 2))
    fields[..., 40:, :] = np.nan  # outside the region: never chosen
    (absent, _), (present, where) = (np.array([chooser.search(f) for f in each]).T for each in fields)
    assert where.max() < 40
    whose = np.arange(3000) % PEOPLE
    found = observer.tally((absent, whose), (present, whose), PEOPLE, hits=where < near)
    assert span(found).mean == pytest.approx(0.5 * near / 40, abs=0.02)
    assert span(observer.tally((absent, whose), (present, whose), PEOPLE)).mean == pytest.approx(0.5, abs=0.03)


def test_a_lesion_that_outshines_its_region_is_found():
    rng = np.random.default_rng(6)
    chooser = observer.Observer(np.ones(1), np.zeros(1))
    fields = rng.normal(size=(200, 30, 1))
    lesion = fields.copy()
    lesion[:, 7] += 20
    (absent, _), (present, where) = (np.array([chooser.search(f) for f in each]).T for each in (fields, lesion))
    whose = np.arange(200) % PEOPLE
    assert span(observer.tally((absent, whose), (present, whose), PEOPLE, hits=where == 7)).mean == 1
    assert span(observer.tally((absent, whose), (present, whose), PEOPLE, hits=where != 7)).mean == 0


def test_ties_count_half_and_pairs_cross_people():
    scores, whose = np.array([1.0, 2.0]), np.array([0, 1])
    found = observer.tally((scores, whose), (scores, whose), 2)
    assert found.won.tolist() == [[0.5, 0], [1, 0.5]] and found.pairs.tolist() == [[1, 1], [1, 1]]
    assert found.area(np.array([[1.0, 1], [2, 0]])).tolist() == [0.5, 0.5]


def test_copies_of_cases_make_nothing_surer_but_more_people_do():
    rng = np.random.default_rng(7)
    scores, whose = (rng.normal(size=20), 1 + rng.normal(size=20)), np.arange(20) % PEOPLE
    once = observer.tally((scores[0], whose), (scores[1], whose), PEOPLE)
    thrice = observer.tally(*(((np.tile(s, 3)), np.tile(whose, 3)) for s in scores), PEOPLE)
    assert span(once) == span(thrice)
    more = observer.tally(*(((np.tile(s, 9)), np.repeat(np.arange(90), 2)) for s in scores), 90)
    assert span(more).high - span(more).low < 0.6 * (span(once).high - span(once).low)


def test_a_method_does_not_differ_from_itself_and_kinds_are_averaged():
    rng = np.random.default_rng(8)
    one, two = (tallied(rng.normal(size=(60, 2)), rng.normal(size=(60, 2)) + shift) for shift in (0.5, 2.0))
    same = observer.difference([one, two], [one, two], generator=np.random.default_rng(0))
    assert (same.mean, same.low, same.high) == (0, 0, 0)
    apart = observer.difference([two], [one], generator=np.random.default_rng(0))
    assert apart.mean == pytest.approx(span(two).mean - span(one).mean) and apart.low > 0
    both = observer.area([one, two], generator=np.random.default_rng(0))
    assert both.mean == pytest.approx((span(one).mean + span(two).mean) / 2)


def test_too_few_cases_are_refused():
    with pytest.raises(BadInput, match="4 channels needs more than 4 cases"):
        observer.train(np.zeros((4, 4)), np.zeros((9, 4)))


@pytest.mark.parametrize("lesion", [True, False])
def test_the_interval_is_that_of_drawing_people_with_replacement(lesion):
    """Half of the people are always told and half never: the area is a binomial share."""
    people = 100
    varied, same, whose = np.resize([1.0, -1.0], people), np.zeros(people), np.arange(people)
    absent, present = (same, varied) if lesion else (varied, same)
    found = span(observer.tally((absent, whose), (present, whose), people))
    reach = 1.96 * np.sqrt(0.25 / people)
    assert (found.low, found.mean, found.high) == pytest.approx((0.5 - reach, 0.5, 0.5 + reach), abs=0.012)
    twice = np.where(varied > 0, 3.0, 1.0)[None]  # the one half thrice
    tallied_once = observer.tally((absent, whose), (present, whose), people)
    assert tallied_once.area(twice)[0] == pytest.approx(0.75 if lesion else 0.25)
