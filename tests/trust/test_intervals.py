"""Intervals: the conformal factor holds as often as it says, and a scan's own noise sets its width."""

import numpy as np
import pytest

from calibrate import conformal, fitted
from m2diff.trust.intervals import KINDS, Calibration
from trust_rows import Rows

PEOPLE = 12


def rows(person: str, noise: float, rng: np.random.Generator) -> Rows:
    """A scan whose errors have the spread that two features and the terms tell."""
    count, regions = 3000, 40
    features = rng.normal(0, 1, (count, 8)).astype(np.float32)
    errors = noise * np.exp(0.4 * features[:, 0]) * rng.standard_normal(count)
    kinds = rng.integers(0, len(KINDS), count)
    inherited = noise**2 * rng.uniform(0.5, 2, regions) / 50
    terms = np.stack([inherited, 0.1 * inherited, np.ones(regions)], axis=1)
    wrong = np.sqrt(2.5 * inherited) * rng.standard_normal(regions)
    return Rows(
        person, 20.0, noise, features, errors, kinds, terms, wrong, rng.integers(0, 4, regions), np.arange(regions), 0.9
    )


@pytest.fixture(scope="module")
def told() -> Calibration:
    rng = np.random.default_rng(0)
    made = [rows(str(n), noise, rng) for n in range(PEOPLE) for noise in (0.1, 0.2, 0.4, 0.8)]
    return Calibration.from_json(fitted(made))


def test_ninety_per_cent_of_new_people_are_held(told):
    rng = np.random.default_rng(1)
    voxels, regions = [], []
    for noise in (0.12, 0.3, 0.7):
        for _ in range(8):
            new = rows("new", noise, rng)
            for number, kind in enumerate(KINDS):
                chosen = new.kinds == number
                half = np.exp(told.log_sd(new.features[chosen])) * told.factor("voxel", kind, noise)
                voxels.append(float((np.abs(new.errors[chosen]) <= half).mean()))
            for number, kind in enumerate(KINDS[:-1]):
                chosen = new.region_kinds == number
                half = np.sqrt((new.terms[chosen] * told.terms[kind]).sum(1)) * told.factor("region", kind, noise)
                regions.append(float((np.abs(new.region_errors[chosen]) <= half).mean()))
    assert np.mean(voxels) == pytest.approx(0.9, abs=0.02)
    assert np.mean(regions) == pytest.approx(0.9, abs=0.04)


def test_conformal_risk_control_counts_people_not_voxels():
    """One person of twelve is far off: to hold 90 % of people's voxels it must widen until most of theirs are held."""
    rng = np.random.default_rng(2)
    scores = [np.abs(rng.standard_normal(2000)) for _ in range(11)] + [10 * np.abs(rng.standard_normal(50))]
    factor = conformal(scores, [str(n) for n in range(12)])
    missed = np.mean([(each > factor).mean() for each in scores])
    assert 12 / 13 * missed + 0.1 / 13 <= 0.1
    assert factor > 1.645


def test_too_few_people_hold_nothing():
    with pytest.raises(SystemExit, match="at least 9"):
        conformal([np.ones(5)] * 8, [str(n) for n in range(8)])
