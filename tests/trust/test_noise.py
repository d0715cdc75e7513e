"""The noise that is read from a residual: its size, and what it does to a regional mean."""

import numpy as np
import pytest
from fields import brain, noise, parcels

from m2diff.preparation import grid
from m2diff.trust.noise import Noise


def test_the_local_size_is_found_where_it_changes():
    inside = brain()
    slope = np.linspace(0.5, 1.5, inside.shape[0], dtype=np.float32)[:, None, None]
    residual = noise(np.random.default_rng(0)) * slope
    found = Noise.of(residual, inside)
    for at in (16, 32, 48):
        assert found.sd[at][inside[at]].mean() == pytest.approx(float(slope[at, 0, 0]), rel=0.12)


def test_smoothing_leaves_more_of_a_coarse_grain():
    rng = np.random.default_rng(2)
    inside = np.ones(brain().shape, dtype=bool)
    for fwhm in (2.0, 4.0):
        field = noise(rng, fwhm)
        left = grid.smoothed(field, 8.0).std() / field.std()
        assert Noise.of(field, inside).left_by(8.0) == pytest.approx(float(left), rel=0.15)


@pytest.mark.parametrize("fwhm", [2.0, 3.0])
def test_the_variance_of_a_regional_mean_is_predicted(fwhm):
    """w' C w against the spread of the means of many regions of pure noise."""
    rng = np.random.default_rng(1)
    inside = brain()
    labels = parcels(inside)
    sizes = np.bincount(labels.ravel())
    numbers = [n for n in range(1, len(sizes)) if sizes[n] > 800]
    predicted, seen = [], []
    for _ in range(3):
        field = noise(rng, fwhm, sd=0.7)
        found = Noise.of(field, inside)
        for n in numbers:
            weights = (labels == n).astype(np.float32) / sizes[n]
            predicted.append(float((weights * found.through(weights)).sum()))
            seen.append(float(field[labels == n].mean()))
    assert np.mean(np.square(seen)) == pytest.approx(np.mean(predicted), rel=0.4)
    white = np.mean([0.7**2 / sizes[n] for n in numbers])
    assert np.mean(predicted) > 5 * white  # correlated noise averages out far less
