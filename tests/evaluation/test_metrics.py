"""Scores: equal to another library's, true for known errors, blind to units, strict about what they compare."""

import math
from dataclasses import asdict

import numpy as np
import pytest
from scipy import ndimage
from skimage import metrics as theirs

from m2diff.errors import BadInput
from m2diff.evaluation.metrics import peak_of, score, ssim

SHAPE = (30, 34, 28)


@pytest.fixture(scope="module")
def pair():
    """(noisy image, smooth reference, a ball as mask)."""
    rng = np.random.default_rng(0)
    reference = (5000 + 2000 * ndimage.gaussian_filter(rng.normal(size=SHAPE), 2) * 10).clip(100).astype(np.float32)
    image = reference + rng.normal(0, 400, SHAPE).astype(np.float32)
    x = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij"))
    return image, reference, (x**2).sum(0) < 0.6


def test_psnr_nrmse_and_ssim_agree_with_scikit_image_over_the_whole_grid(pair):
    image, reference, _ = pair
    everywhere = np.ones(SHAPE, dtype=bool)
    ours = score(image, reference, everywhere)
    x, r = image.astype(np.float64), reference.astype(np.float64)
    assert ours.psnr == pytest.approx(theirs.peak_signal_noise_ratio(r, x, data_range=ours.peak), abs=1e-9)
    assert ours.nrmse == pytest.approx(theirs.normalized_root_mse(r, x, normalization="euclidean"), rel=1e-9)
    _, similarity = theirs.structural_similarity(
        r, x, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=ours.peak, full=True
    )
    assert ours.ssim == pytest.approx(similarity.mean(), abs=1e-12)


def test_ssim_is_its_published_formula(pair):
    image, reference, mask = pair
    x, r, peak = image.astype(np.float64), reference.astype(np.float64), 9000.0

    def window(values):
        return ndimage.gaussian_filter(values, 1.5, radius=5)  # 11 voxels

    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    mx, mr = window(x), window(r)
    vx, vr, vxr = window(x * x) - mx**2, window(r * r) - mr**2, window(x * r) - mx * mr
    similarity = (2 * mx * mr + c1) * (2 * vxr + c2) / ((mx**2 + mr**2 + c1) * (vx + vr + c2))
    assert ssim(image, reference, mask, peak) == pytest.approx(similarity[mask].mean(), abs=1e-9)


def test_known_noise_gives_the_known_psnr_nrmse_and_nmse():
    rng = np.random.default_rng(1)
    reference = np.full((40, 40, 40), 8000.0, dtype=np.float32)
    image = reference + rng.normal(0, 80, reference.shape).astype(np.float32)
    ours = score(image, reference, np.ones(reference.shape, dtype=bool))
    assert ours.psnr == pytest.approx(40.0, abs=0.1)
    assert ours.nrmse == pytest.approx(0.01, rel=0.02)
    assert ours.nmse == pytest.approx(1e-4, rel=0.03)
    assert ours.nmae == pytest.approx(0.01 * math.sqrt(2 / math.pi), rel=0.02)


def test_errors_are_shares_of_all_that_the_mask_holds(pair):
    """The sums of the module's text, on an image and a reference that go below zero in places."""
    image, reference, mask = pair
    image, reference = image - 6000, reference - 4000
    ours = score(image, reference, mask)
    r = reference[mask].astype(np.float64)
    error = image[mask].astype(np.float64) - r
    assert (r < 0).any() and ours.voxels == len(r) < mask.size
    assert ours.nmse == pytest.approx((error**2).sum() / (r**2).sum()) == ours.nrmse**2
    assert ours.nmae == pytest.approx(np.abs(error).sum() / np.abs(r).sum())
    assert ours.bias_percent == pytest.approx(100 * error.sum() / r.sum())


def test_a_scale_error_is_an_error(pair):
    _, reference, mask = pair
    ours = score(1.1 * reference, reference, mask)
    assert ours.bias_percent == pytest.approx(10.0, abs=1e-4)
    assert ours.nrmse == pytest.approx(0.1, rel=1e-4)
    assert ours.nmae == pytest.approx(0.1, rel=1e-4)


def test_another_unit_gives_the_same_scores(pair):
    image, reference, mask = pair
    one, thousand = asdict(score(image, reference, mask)), asdict(score(1000 * image, 1000 * reference, mask))
    assert thousand.pop("peak") == pytest.approx(1000 * one.pop("peak"), rel=1e-6)
    assert thousand == pytest.approx(one, rel=1e-5)


def test_equal_images_score_perfectly(pair):
    _, reference, mask = pair
    ours = score(reference, reference, mask)
    assert (ours.psnr, ours.ssim, ours.nrmse, ours.nmae, ours.bias_percent) == (math.inf, pytest.approx(1), 0, 0, 0)


def test_what_lies_far_outside_the_mask_does_not_count(pair):
    image, reference, mask = pair
    far = ~ndimage.binary_dilation(mask, iterations=16)
    assert far.any()
    elsewhere = np.where(far, 1e6, image).astype(np.float32)
    assert score(elsewhere, reference, mask) == score(image, reference, mask)


def test_the_peak_ignores_a_single_hot_voxel():
    reference = np.random.default_rng(2).uniform(0, 100, SHAPE).astype(np.float32)
    before = peak_of(reference, np.ones(SHAPE, dtype=bool))
    reference[15, 15, 15] = 1e6
    assert peak_of(reference, np.ones(SHAPE, dtype=bool)) == pytest.approx(before, rel=1e-3)


def test_the_peak_is_what_one_voxel_in_a_thousand_of_the_mask_exceeds():
    """The values 0 to 1000, once each, inside; ten times as much around."""
    values = np.full(14**3, 10_000.0, dtype=np.float32)
    values[:1001] = np.random.default_rng(0).permutation(1001)
    reference = values.reshape(14, 14, 14)
    mask = reference <= 1000
    assert peak_of(reference, mask) == pytest.approx(999.0)
    assert score(reference + 9.99, reference, mask).psnr == pytest.approx(40.0, abs=1e-3)


def test_ssim_of_a_small_mask_at_the_edge_is_that_of_the_whole_map(pair):
    image, reference, _ = pair
    corner = np.zeros(SHAPE, dtype=bool)
    corner[:3, -4:, 0] = True
    _, similarity = theirs.structural_similarity(
        reference.astype(float), image.astype(float), gaussian_weights=True, sigma=1.5, use_sample_covariance=False,
        data_range=9000.0, full=True,
    )  # fmt: skip
    assert ssim(image, reference, corner, 9000.0) == pytest.approx(similarity[corner].mean(), abs=1e-9)


def test_what_cannot_be_compared_is_refused_in_one_sentence(pair):
    image, reference, mask = pair
    with pytest.raises(BadInput, match=r"share one grid.*\(29, 34, 28\)"):
        score(image[1:], reference, mask)
    with pytest.raises(BadInput, match="covers no voxel"):
        score(image, reference, np.zeros_like(mask))
    with pytest.raises(BadInput, match="image must be finite"):
        score(np.where(mask, np.nan, image), reference, mask)
    with pytest.raises(BadInput, match="reference must be finite"):
        score(image, np.where(mask, np.nan, reference), mask)
    speck = np.zeros_like(reference)
    speck[15, 17, 14] = 1.0
    with pytest.raises(BadInput, match="must show activity"):
        score(image, speck, mask)
    with pytest.raises(BadInput, match="zero everywhere"):
        score(image, 0 * reference, mask)
    with pytest.raises(BadInput, match="at least 11 voxels"):
        score(image[:8], reference[:8], np.ones((8, 34, 28), dtype=bool))
