"""The filters: units kept, MRI edges kept where they are read, parameters found by search and looked up by dose."""

import numpy as np
import pytest
import torch
import yaml

from m2diff.batch import Conditions
from m2diff.errors import BadInput
from m2diff.families import filters
from m2diff.families.filters import FILTERS, Bowsher, Gaussian, MRGuided, tuned
from tune_filters import TuningCase, tune, tuning_table

EVERY = pytest.mark.parametrize("name", FILTERS)


@pytest.fixture(scope="module")
def phantom():
    """(noisy PET, MRI, true PET), each (d, h, w): two tissues in a head, the PET bright where the MRI is dark."""
    rng = np.random.default_rng(0)
    z, y, x = np.meshgrid(*(np.linspace(-1, 1, n) for n in (20, 28, 24)), indexing="ij")
    inside = (x**2 + y**2 + z**2) < 0.8
    true = np.where(inside, np.where(x > 0.1, 1.0, 0.4), 0.0)
    mri = np.where(inside, np.where(x > 0.1, 0.6, 1.0), 0.0) + rng.normal(0, 0.01, x.shape)
    noisy = true + rng.normal(0, 0.3, x.shape)
    return tuple(torch.from_numpy(image).float() for image in (noisy, mri, true))


def nrmse(image, true):
    inside = true > 0
    return float(((image - true)[inside].square().mean() / true[inside].square().mean()).sqrt())


@EVERY
def test_multiplying_the_input_multiplies_the_output(name, phantom):
    low, mri, _ = phantom
    for guide in (mri[None], None):
        once = FILTERS[name]().enhance(Conditions(low[None], guide))
        thousandfold = FILTERS[name]().enhance(Conditions(1000 * low[None], guide))
        torch.testing.assert_close(thousandfold / 1000, once, rtol=1e-4, atol=1e-4)


@EVERY
def test_a_filter_calms_the_noise_with_and_without_an_mri(name, phantom):
    low, mri, true = phantom
    for guide in (mri[None], None):
        filtered = FILTERS[name]().enhance(Conditions(low[None], guide))
        assert filtered.shape == low[None].shape
        assert nrmse(filtered[0], true) < 0.8 * nrmse(low, true)


@EVERY
def test_the_input_stays_as_it_was_and_a_flat_image_too(name, phantom):
    low, mri, _ = phantom
    before = low.clone()
    FILTERS[name]().enhance(Conditions(low[None], mri[None]))
    assert torch.equal(low, before)
    for value in (0.0, 3.0):
        flat = torch.full((1, 12, 12, 12), value)
        torch.testing.assert_close(FILTERS[name]().enhance(Conditions(flat, torch.rand(1, 12, 12, 12))), flat)


@EVERY
def test_volumes_in_one_batch_are_filtered_apart(name, phantom):
    low, mri, true = phantom
    chosen = FILTERS[name]()
    together = chosen.enhance(Conditions(torch.stack([low, 5 * true]), torch.stack([mri, mri])))
    assert torch.equal(together[0], chosen.enhance(Conditions(low[None], mri[None]))[0])


def test_the_gaussian_has_half_its_height_at_half_its_width():
    point = torch.zeros(1, 21, 21, 21)
    point[0, 10, 10, 10] = 1
    spread = Gaussian(fwhm_mm=8.0).enhance(Conditions(point))[0]  # voxels of 2 mm: half width at 2 voxels
    assert float(spread[10, 10, 12] / spread[10, 10, 10]) == pytest.approx(0.5, abs=1e-3)


def test_a_voxel_of_the_guided_filter_is_the_mean_of_the_ridge_fits_around_it(phantom):
    low, mri, _ = (image.double().numpy() for image in phantom)
    chosen, at, eps = MRGuided(radius=1, eps=0.1), (10, 14, 12), 0.1 * filters.foreground_variance(mri)
    fits = []
    for dz, dy, dx in np.ndindex(3, 3, 3):
        box = tuple(slice(c + d - 2, c + d + 1) for c, d in zip(at, (dz, dy, dx), strict=True))
        p, guide = low[box].ravel(), mri[box].ravel()
        a = np.mean((guide - guide.mean()) * p) / (guide.var() + eps)
        fits.append(a * (mri[at] - guide.mean()) + p.mean())
    assert chosen.filter(low, mri)[at] == pytest.approx(np.mean(fits), rel=1e-6)


def test_mr_guidance_keeps_an_edge_that_a_gaussian_of_equal_calm_blurs(phantom):
    low, mri, true = phantom
    guided = MRGuided().enhance(Conditions(low[None], mri[None]))[0]
    smoothed = [Gaussian(fwhm).enhance(Conditions(low[None]))[0] for fwhm in (3.0, 4.0, 5.0, 6.0)]
    assert nrmse(guided, true) < 0.8 * min(nrmse(image, true) for image in smoothed)


def test_bowsher_takes_nothing_from_across_an_mri_edge(phantom):
    _, mri, true = phantom
    clean_mri = (mri * 5).round() / 5
    result = Bowsher(k=9, radius=2.0, passes=1).enhance(Conditions(true[None], clean_mri[None]))[0]
    edge = slice(8, 12), slice(10, 18), slice(8, 18)
    torch.testing.assert_close(result[edge], true[edge])


def test_bowsher_with_every_neighbour_is_the_mean_of_the_ball():
    image = np.random.default_rng(1).random((9, 9, 9)).astype(np.float32)
    ball = [(z, y, x) for z, y, x in np.ndindex(5, 5, 5) if (z - 2) ** 2 + (y - 2) ** 2 + (x - 2) ** 2 <= 4]
    mean = np.mean([image[2 + z, 2 + y, 2 + x] for z, y, x in ball])
    assert Bowsher(k=len(ball), radius=2.0, passes=1).filter(image, image)[4, 4, 4] == pytest.approx(mean, rel=1e-5)
    with pytest.raises(BadInput, match="choose a smaller k"):
        Bowsher(k=34, radius=2.0).filter(image, image)


def test_tuning_picks_the_width_with_the_lowest_error_and_its_table_reads_back(phantom):
    low, mri, true = phantom
    widths = [0.5, 4.0, 30.0]
    found = tune(Gaussian, [TuningCase(low, mri, true, true > 0)], {"fwhm_mm": widths})
    errors = [nrmse(Gaussian(width).enhance(Conditions(low[None]))[0], true) for width in widths]
    assert found.parameters == {"fwhm_mm": widths[int(np.argmin(errors))]} == {"fwhm_mm": 4.0}
    assert found.nrmse == pytest.approx(min(errors), rel=1e-5)
    assert yaml.safe_load(tuning_table({20.0: [found]})) == {"gaussian": {20.0: {"fwhm_mm": 4.0}}}
    with pytest.raises(BadInput, match="at least one training scan"):
        tune(Gaussian, [], {"fwhm_mm": widths})


def test_the_tuning_search_runs_over_every_combination(phantom):
    low, mri, true = phantom
    found = tune(MRGuided, [TuningCase(low, mri, true, true > 0)], {"radius": [1, 2], "eps": [0.01, 0.1, 1.0]})
    assert len(found.tried) == 6
    assert found.nrmse == min(error for _, error in found.tried)


@EVERY
def test_a_tuned_filter_is_that_of_the_nearest_dose_on_a_log_scale(name):
    table = filters.presets()[name]
    assert {20.0, 100.0} <= table.keys()
    for dose, nearest in ((20, 20), (40, 50), (1000, 100), (13, 10), (15, 20)):
        assert tuned(name, dose) == FILTERS[name](**table[nearest])
    assert tuned(name) == tuned(name, float("nan")) == FILTERS[name]()


def test_an_unknown_filter_and_an_impossible_dose_are_refused():
    with pytest.raises(BadInput, match="gaussian, nlm, bowsher, mr-guided"):
        tuned("median", 20)
    with pytest.raises(BadInput, match="positive"):
        tuned("gaussian", -3)
