"""The scanner is physics: it converges to the blurred truth, its doses are nested, its noise goes as 1 / dose."""

from dataclasses import asdict, replace

import numpy as np
import pytest

from m2diff.simulation import scanner
from m2diff.simulation.scanner import Protocol, acquire, blur, dose_ladder, reconstruct

SMALL = Protocol(
    voxel_mm=5.0, slice_mm=5.0, pixels=48, slices=6, views=84, bin_mm=4.0, subsets=7, iterations=6, postfilter_mm=0.0,
    counts=0.05,
)  # fmt: skip


@pytest.fixture(scope="module")
def phantom():
    """A warm ellipse with a hot and a cold rod, blurred to 15 mm, and the attenuation of water."""
    x = (np.arange(48) - 23.5) * 5.0
    radius = np.hypot(x[:, None] / 85, x[None, :] / 70)
    slice_ = np.where(radius < 1, 1.0, 0.0)
    slice_[np.hypot(x[:, None] - 30, x[None, :]) < 16] = 3.0
    slice_[np.hypot(x[:, None] + 30, x[None, :]) < 16] = 0.2
    activity = np.repeat(slice_[:, :, None], 6, axis=2).astype(np.float32)
    attenuation = np.repeat((radius < 1.1)[:, :, None], 6, axis=2).astype(np.float32) * np.float32(0.0096)
    in_plane = blur(np.pad(activity, ((0, 0), (0, 0), (12, 12)), mode="edge"), 15.0, SMALL.spacing)[:, :, 12:-12]
    inside = np.repeat((radius < 0.9)[:, :, None], 6, axis=2)
    return in_plane, attenuation, inside


def test_noise_free_reconstruction_converges_to_the_blurred_truth(phantom):
    activity, attenuation, inside = phantom
    errors = []
    for iterations in (1, 4, 30):
        acquisition = acquire(activity, attenuation, replace(SMALL, iterations=iterations))
        image = reconstruct(acquisition, acquisition.expected)
        errors.append(float(np.abs(image - activity)[inside].mean() / activity[inside].mean()))
    assert errors[0] > errors[1] > errors[2]
    assert errors[2] < 0.01


def test_each_lower_dose_is_a_part_of_the_higher_one(phantom):
    activity, attenuation, _ = phantom
    acquisition = acquire(activity, attenuation, SMALL)
    ladder = dict(dose_ladder(acquisition, [20, 4], np.random.default_rng(0)))
    assert list(ladder) == [1.0, 4, 20]
    for higher, lower, ratio in ((1, 4, 4), (4, 20, 5)):
        assert all((high >= low).all() for high, low in zip(ladder[higher], ladder[lower], strict=True))
        total = sum(c.sum() for c in ladder[higher])
        kept = sum(c.sum() for c in ladder[lower])
        assert kept == pytest.approx(total / ratio, abs=5 * float(total / ratio) ** 0.5)


def test_standard_counts_are_the_stated_ones(phantom):
    activity, attenuation, _ = phantom
    acquisition = acquire(activity, attenuation, SMALL)
    trues = sum((e - b).sum() for e, b in zip(acquisition.expected, acquisition.background, strict=True))
    assert trues == pytest.approx(scanner.STANDARD_TRUES * SMALL.counts, rel=1e-3)
    background = sum(b.sum() for b in acquisition.background)
    expected = SMALL.scatter_fraction / (1 - SMALL.scatter_fraction) + SMALL.randoms_fraction
    assert background / trues == pytest.approx(expected, rel=0.01)


def test_noise_variance_goes_as_one_over_dose(phantom):
    activity, attenuation, inside = phantom
    protocol = replace(SMALL, iterations=2, counts=2.0)  # enough counts that the positivity of OSEM plays no part
    acquisition = acquire(activity, attenuation, protocol)
    draws = {1.0: [], 5.0: []}
    for seed in range(12):
        for factor, counts in dose_ladder(acquisition, [5.0], np.random.default_rng(seed)):
            draws[factor].append(reconstruct(acquisition, counts, factor)[inside])
    ratio = np.var(draws[5.0], axis=0).mean() / np.var(draws[1.0], axis=0).mean()
    assert ratio == pytest.approx(5.0, rel=0.1)


def test_a_low_dose_scan_is_on_the_scale_of_the_standard_one(phantom):
    activity, attenuation, inside = phantom
    acquisition = acquire(activity, attenuation, SMALL)
    images = {f: reconstruct(acquisition, c, f) for f, c in dose_ladder(acquisition, [20], np.random.default_rng(1))}
    assert images[20][inside].mean() == pytest.approx(images[1.0][inside].mean(), rel=0.02)


def test_twice_the_activity_is_twice_the_image(phantom):
    activity, attenuation, inside = phantom
    images = []
    for scale in (1, 1000):
        acquisition = acquire(activity * np.float32(scale), attenuation, SMALL)
        images.append(reconstruct(acquisition, acquisition.expected))
    assert np.allclose(images[1][inside], images[0][inside] * 1000, rtol=1e-3)


def test_the_pet_ct_is_another_scanner_in_everything_and_covers_a_head():
    other = asdict(scanner.PET_CT)
    assert all(other[key] != value for key, value in asdict(scanner.PET_MR).items())
    for protocol in (scanner.named("pet-mr"), scanner.named("pet-ct")):
        assert protocol.views % protocol.subsets == 0 and protocol.pixels % 2 == 0
        assert protocol.pixels * protocol.voxel_mm >= 256 and protocol.slices * protocol.slice_mm >= 180
    assert set(scanner.MODELS) == {"pet-mr", "pet-ct"} and len(set(scanner.MODELS.values())) == 2


def test_the_pet_ct_reconstructs_a_noise_free_image_near_the_truth():
    protocol = replace(scanner.PET_CT, slices=16)
    x = (np.arange(protocol.pixels) - (protocol.pixels - 1) / 2) * protocol.voxel_mm
    radius = np.hypot(x[:, None] / 85, x[None, :] / 70)
    slice_ = np.where(radius < 1, 1.0, 0.0)
    slice_[np.hypot(x[:, None] - 30, x[None, :]) < 16] = 1.6
    truth = np.repeat(slice_[:, :, None], 16, axis=2).astype(np.float32)
    attenuation = np.repeat((radius < 1.1)[:, :, None], 16, axis=2).astype(np.float32) * np.float32(0.0096)
    acquisition = acquire(blur(truth, protocol.resolution_mm, protocol.spacing), attenuation, protocol)
    image = reconstruct(acquisition, acquisition.expected)
    assert np.isfinite(image).all() and image.shape == protocol.shape
    seen = float(np.hypot(protocol.resolution_mm, protocol.postfilter_mm))
    middle = np.s_[:, :, 7:9]  # the outer slices lose activity beyond the field of view
    inside = radius < 0.9
    error = np.abs(image - blur(truth, seen, protocol.spacing))[middle][inside]
    assert error.mean() < 0.06  # two iterations are not convergence
    assert image[middle][inside].mean() == pytest.approx(truth[middle][inside].mean(), rel=0.03)
