"""Samplers held to what is known exactly: a Gaussian, and another library."""

from __future__ import annotations

import math

import pytest
import torch

from m2diff.diffusion import Schedule, sample

SCHEDULE = Schedule.linear()
MEAN = 0.3
COUNT = 40_000


def gaussian_denoiser(spread):
    """The exact posterior mean of the clean value when the data are normal with MEAN and ``spread``."""

    def denoise(x, t):
        abar = float(SCHEDULE.abar[t])
        gain = math.sqrt(abar) * spread**2 / (abar * spread**2 + 1.0 - abar)
        return MEAN + gain * (x - math.sqrt(abar) * MEAN)

    return denoise


def drawn(spread, steps, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)

    def noise(_=0):
        return torch.randn(COUNT, generator=generator, dtype=torch.float64)

    return sample(gaussian_denoiser(spread), SCHEDULE, noise(), steps=steps, noise_for_step=noise, **options)


def exact_spread(spread, chain, eta, variance):
    """Standard deviation of the chain's result by carrying the variance through its (linear) steps.

    Written from the other form of each formula: Ho et al. 2020, equation 7, for eta = 1; a rotation for eta = 0.
    """
    var = 1.0
    abars = [float(a) for a in chain.abar]
    for i in reversed(range(len(chain))):
        abar = abars[i]
        gain = math.sqrt(abar) * spread**2 / (abar * spread**2 + 1.0 - abar)
        if i == 0:
            return math.sqrt(gain**2 * var)
        before = abars[i - 1]
        alpha = abar / before
        if eta == 1.0:
            keep = math.sqrt(alpha) * (1 - before) / (1 - abar)
            slope = math.sqrt(before) * (1 - alpha) / (1 - abar) * gain + keep
            extra = (1 - alpha) * ((1 - before) / (1 - abar) if variance == "small" else 1.0)
        else:
            keep = math.sqrt((1 - before) / (1 - abar))
            slope = math.sqrt(before) * gain + keep * (1 - math.sqrt(abar) * gain)
            extra = 0.0
        var = slope**2 * var + extra
    raise AssertionError("a chain has steps")


@pytest.mark.parametrize("spacing", ["linspace", "trailing"])
@pytest.mark.parametrize("spread", [0.02, 1.0])
@pytest.mark.parametrize(
    ("steps", "eta", "variance"), [(5, 0.0, "small"), (50, 1.0, "small"), (50, 1.0, "large"), (1000, 1.0, "large")]
)
def test_samples_have_the_mean_and_the_spread_that_the_formulas_give(spread, steps, eta, variance, spacing):
    x = drawn(spread, steps, eta=eta, variance=variance, spacing=spacing)
    expected = exact_spread(spread, SCHEDULE.respaced(steps, spacing), eta, variance)
    assert float(x.std()) == pytest.approx(expected, rel=0.02)
    # the chain starts from N(0, 1), not from its own t = T - 1, which leaves up to sqrt(abar_T) of the mean behind
    assert float(x.mean()) == pytest.approx(MEAN, abs=5 * expected / math.sqrt(COUNT) + 0.0065 * MEAN)


@pytest.mark.parametrize("spread", [0.02, 1.0])
def test_a_thousand_ancestral_steps_hit_the_target_distribution(spread):
    x = drawn(spread, 1000, eta=1.0, variance="large")
    assert float(x.mean()) == pytest.approx(MEAN, abs=5 * spread / math.sqrt(COUNT))
    assert float(x.std()) == pytest.approx(spread, rel=0.04)


def test_fifty_ancestral_steps_come_within_a_tenth_of_a_wide_target():
    assert float(drawn(1.0, 50, eta=1.0).std()) == pytest.approx(1.0, rel=0.1)


@pytest.mark.parametrize("spacing", ["linspace", "trailing"])
def test_five_ddim_steps_leave_no_noise_above_a_narrow_target(spacing):
    assert float(drawn(0.02, 5, spacing=spacing).std()) < 0.02


def test_many_ddim_steps_come_nearer_to_the_target_than_few():
    errors = [abs(float(drawn(1.0, steps).std()) - 1.0) for steps in (5, 50, 500)]
    assert errors[0] > errors[1] > errors[2]


def network_like(x, t):
    """Any smooth function of x and t: parity is about the steps, not about the denoiser."""
    return torch.tanh(x * (1.2 - t / 1000.0)) + 0.1


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_agrees_with_diffusers(eta, spacing):
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDIMScheduler(prediction_type="sample", clip_sample=False, timestep_spacing=spacing)
    theirs.alphas_cumprod = SCHEDULE.abar
    theirs.set_timesteps(10)
    tape = torch.randn(11, 3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = tape[0]
    for number, t in enumerate(theirs.timesteps, start=1):
        x = theirs.step(network_like(x, int(t)), t, x, eta=eta, variance_noise=tape[number]).prev_sample
    ours = sample(
        network_like, SCHEDULE, tape[0], steps=10, eta=eta, spacing=spacing, noise_for_step=lambda number: tape[number]
    )
    torch.testing.assert_close(ours, x, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("spacing", "variance"), [("leading", "small"), ("leading", "large"), ("trailing", "small")])
def test_ancestral_sampling_agrees_with_diffusers(spacing, variance):
    diffusers = pytest.importorskip("diffusers")
    theirs = diffusers.DDPMScheduler(
        prediction_type="sample", clip_sample=False, timestep_spacing=spacing, variance_type=f"fixed_{variance}"
    )
    theirs.alphas_cumprod = SCHEDULE.abar
    theirs.set_timesteps(10)
    start = torch.randn(3, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x, generator = start, torch.Generator().manual_seed(2)
    for t in theirs.timesteps:
        x = theirs.step(network_like(x, int(t)), int(t), x, generator=generator).prev_sample
    same_draws = torch.Generator().manual_seed(2)
    ours = sample(
        network_like,
        SCHEDULE,
        start,
        steps=10,
        eta=1.0,
        variance=variance,
        spacing=spacing,
        noise_for_step=lambda _: torch.randn(3, 4, generator=same_draws, dtype=torch.float64),
    )
    torch.testing.assert_close(ours, x, rtol=0, atol=1e-8)
