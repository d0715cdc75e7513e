"""The balance: regional means follow a scan that contradicts them, and stay where it does not."""

import numpy as np
import pytest
from fields import brain, noise, parcels
from scipy import ndimage

from m2diff.preparation import grid
from m2diff.trust.balance import RESOLUTION_MM, Partition, balance


def world(deviation: float, sd: float, seed: int = 0):
    """A truth, an answer whose regions are off by ``deviation`` (relative SD), and a scan of noise ``sd``.

    As denoisers do, the answer keeps the noise's broad part.
    """
    rng = np.random.default_rng(seed)
    inside = brain()
    labels = parcels(inside)
    count = int(labels.max())
    levels = np.r_[0.0, rng.uniform(0.7, 1.3, count)].astype(np.float32)
    wrong = np.r_[0.0, levels[1:] * (1 + deviation * rng.standard_normal(count))].astype(np.float32)
    truth, answer = (grid.smoothed(each[labels], RESOLUTION_MM) for each in (levels, wrong))
    kinds = {n: "cortex" if n % 2 else "deep" for n in range(1, count + 1)}
    partition = Partition(labels, kinds, {n: n for n in kinds})
    grain = noise(rng, sd=sd)
    return truth, answer + 0.9 * ndimage.gaussian_filter(grain, 3.0), truth + grain, partition, inside


def rms(image, truth, partition):
    """The root mean square of the regional error, relative."""
    sizes = np.bincount(partition.labels.ravel())
    numbers = np.flatnonzero(sizes[1:] > 300) + 1
    means = [ndimage.mean(each, partition.labels, numbers) for each in (image, truth)]
    return float(np.sqrt(np.mean((means[0] / means[1] - 1) ** 2)))


def test_regions_that_the_scan_contradicts_are_mended():
    truth, answer, low, partition, inside = world(deviation=0.08, sd=0.15)
    found = balance(low, answer, partition, inside)
    mended = rms(answer + found.correction, truth, partition)
    assert mended < 0.5 * rms(answer, truth, partition)
    assert mended < rms(low, truth, partition)
    assert all(0.05 < value < 0.12 for value in found.deviation.values())


def test_right_regions_are_left_alone_in_noise():
    """Following the scan would cost regional error; the fitted prior must see that there is little to mend."""
    truth, answer, low, partition, inside = world(deviation=0.001, sd=0.8)
    found = balance(low, answer, partition, inside)
    assert rms(answer + found.correction, truth, partition) < 0.8 * rms(low, truth, partition)


@pytest.mark.parametrize("shift", [2, 3])
def test_shifted_regions_do_no_harm(shift):
    """5 mm off: no worse than without."""
    for seed in range(3):
        truth, answer, low, partition, inside = world(deviation=0.05, sd=0.15, seed=seed)
        moved = Partition(np.roll(partition.labels, shift, axis=1), partition.kind, partition.pair)
        found = balance(low, answer, moved, inside)
        assert rms(answer + found.correction, truth, partition) <= rms(answer, truth, partition)


def test_it_scales_with_the_image():
    _, answer, low, partition, inside = world(deviation=0.05, sd=0.3)
    one, ten = balance(low, answer, partition, inside), balance(10 * low, 10 * answer, partition, inside)
    assert np.abs(10 * one.correction - ten.correction).max() < 0.02 * np.abs(ten.correction).max()
