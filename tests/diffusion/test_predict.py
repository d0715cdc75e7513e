"""Noise and clean image say the same; a learned variance lies between its bounds and is learned towards the truth."""

from __future__ import annotations

import math

import pytest
import torch

from m2diff.diffusion import Denoised, Schedule, q_sample, sample
from m2diff.diffusion.predict import (
    log_variance,
    noise_weight,
    variational_term,
)
from m2diff.errors import BadInput

CHAIN = Schedule.cosine(200)


def test_the_cosine_chain_falls_from_one_to_nothing_and_stays_above_it():
    abar = CHAIN.abar
    assert abar[0] > 0.999 and abar[-1] < 1e-4 and (abar[1:] < abar[:-1]).all() and (CHAIN.betas <= 0.999).all()
    assert float(CHAIN.betas.max()) == 0.999
    t = 100
    expected = math.cos((101 / 200 + 0.008) / 1.008 * math.pi / 2) ** 2 / math.cos(0.008 / 1.008 * math.pi / 2) ** 2
    assert float(abar[t]) == pytest.approx(expected, rel=1e-9)


def test_the_share_runs_from_the_posteriors_variance_to_beta():
    t = torch.tensor([5, 150])
    low, high = (log_variance(torch.full((2, 1), share, dtype=torch.float64), t, CHAIN) for share in (0.0, 1.0))
    torch.testing.assert_close(low[:, 0].exp(), CHAIN.posterior_variance[t])
    torch.testing.assert_close(high[:, 0].exp(), CHAIN.betas[t])


def test_the_lowest_variance_of_the_first_step_is_that_of_the_second():
    """The posterior's own is zero there, which has no logarithm."""
    share = torch.zeros(2, 1, dtype=torch.float64)
    first, second = log_variance(share, torch.tensor([0, 1]), CHAIN)
    assert float(first) == float(second) == pytest.approx(math.log(float(CHAIN.posterior_variance[1])))


def test_the_variational_term_is_the_divergence_of_the_two_steps():
    """By PyTorch's own formula, of the means as Ho et al. 2020, equation 7, have them."""
    generator = torch.Generator().manual_seed(0)
    clean, estimate, x_t = torch.randn(3, 4, 50, generator=generator, dtype=torch.float64)
    share, t = torch.rand(4, 50, generator=generator, dtype=torch.float64), torch.tensor([1, 40, 120, 198])
    before, now, beta = (table[t][:, None] for table in (CHAIN.abar_before, CHAIN.abar, CHAIN.betas))

    def step(image, variance):
        mean = before.sqrt() * beta * image + (1 - beta).sqrt() * (1 - before) * x_t
        return torch.distributions.Normal(mean / (1 - now), variance.sqrt())

    posterior = CHAIN.posterior_variance[t][:, None]
    learned = (share * beta.log() + (1 - share) * posterior.log()).exp()
    expected = torch.distributions.kl_divergence(step(clean, posterior), step(estimate, learned))
    torch.testing.assert_close(variational_term(clean, estimate, share, x_t, t, CHAIN), expected)


def test_the_weight_turns_an_error_of_the_image_into_that_of_the_noise_but_for_the_first_steps():
    clean, noise, error = torch.randn(3, 4, 9, dtype=torch.float64)
    t = torch.tensor([0, 50, 120, 190])
    abar = CHAIN.abar[t][:, None]

    def noise_of(x_t, image):  # Ho et al. 2020, equation 15
        return (x_t - abar.sqrt() * image) / (1 - abar).sqrt()

    implied = noise_of(q_sample(clean, t, noise, CHAIN), clean + error) - noise
    weights = noise_weight(t, CHAIN)
    torch.testing.assert_close(weights[:, None].double() * error**2, implied**2, rtol=1e-5, atol=1e-8)
    assert torch.equal(noise_weight(t, CHAIN, most=5.0), weights.clamp(max=5.0)) and weights[0] > 5.0 > weights[-1]


def test_the_variational_term_is_nothing_for_the_true_step_and_least_at_the_right_variance():
    t, clean = torch.full((1,), 60), torch.zeros(1, 20_000, dtype=torch.float64)
    x_t = q_sample(clean, t, torch.randn(clean.shape, dtype=torch.float64), CHAIN)

    def term(share, error):
        return float(variational_term(clean, clean + error, torch.full_like(clean, share), x_t, t, CHAIN).mean())

    assert term(0.0, 0.0) == pytest.approx(0.0, abs=1e-9)
    assert term(0.5, 0.0) > 0
    error = 0.6 * torch.randn(clean.shape, dtype=torch.float64)  # the estimate errs: the step must be wider
    shares = torch.linspace(0, 1, 21)
    best = float(shares[torch.tensor([term(float(s), error) for s in shares]).argmin()])
    gain = float(CHAIN.abar_before[60].sqrt() * CHAIN.betas[60] / (1 - CHAIN.abar[60]))
    wanted = math.log(float(CHAIN.posterior_variance[60]) + (0.6 * gain) ** 2)
    low, high = math.log(float(CHAIN.posterior_variance[60])), math.log(float(CHAIN.betas[60]))
    assert best == pytest.approx(min(max((wanted - low) / (high - low), 0), 1), abs=0.06)


def exact(x, t, spread=0.5):
    abar = float(CHAIN.abar[t])
    return math.sqrt(abar) * spread**2 / (abar * spread**2 + 1.0 - abar) * x


def noise(generator):
    return lambda _=0: torch.randn(40_000, generator=generator, dtype=torch.float64)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_a_learned_variance_at_its_bounds_is_the_small_and_the_large_one(share):
    def both(x, t):
        return Denoised(exact(x, t), torch.full_like(x, share))

    results = []
    for denoise, variance in ((both, "learned"), (exact, "large" if share else "small")):
        draw = noise(torch.Generator().manual_seed(0))
        results.append(sample(denoise, CHAIN, draw(), steps=40, eta=1.0, variance=variance, noise_for_step=draw))
    torch.testing.assert_close(*results)


def test_mixed_steps_lie_between_ddim_and_ancestral_sampling_and_hit_the_target():
    draw = noise(torch.Generator().manual_seed(0))
    x = sample(exact, CHAIN, draw(), steps=200, stochastic_every=5, noise_for_step=draw, spacing="trailing")
    assert float(x.std()) == pytest.approx(0.5, rel=0.04)


@pytest.mark.parametrize(("steps", "every", "ancestral"), [(25, 5, [5, 10, 15, 20]), (7, 3, [3, 6]), (4, 1, [1, 2, 3])])
def test_every_so_many_steps_are_ancestral_counted_from_the_noisy_end(steps, every, ancestral):
    asked = []

    def noise_for_step(number):
        asked.append(number)
        return torch.zeros(3, dtype=torch.float64)

    start = torch.ones(3, dtype=torch.float64)
    sample(exact, CHAIN, start, steps=steps, stochastic_every=every, noise_for_step=noise_for_step)
    assert asked == ancestral


def test_with_every_step_ancestral_a_chain_is_ancestral_sampling():
    results = []
    for options in ({"stochastic_every": 1}, {"eta": 1.0}):
        draw = noise(torch.Generator().manual_seed(0))
        results.append(sample(exact, CHAIN, draw(), steps=10, noise_for_step=draw, **options))
    assert torch.equal(*results)


def test_a_chain_may_start_from_a_noised_first_estimate():
    asked = []

    def denoise(x, t):
        asked.append((t, x.clone()))
        return torch.full_like(x, 2.0)

    generator = torch.Generator().manual_seed(0)
    first = torch.full((40_000,), 3.0, dtype=torch.float64)
    options = {"steps": 4, "spacing": "trailing", "start": 99}
    assert (sample(denoise, CHAIN, noise(generator)(), first=first, **options) == 2.0).all()
    assert [t for t, _ in asked] == [99, 74, 49, 24]
    abar = float(CHAIN.abar[99])
    assert float(asked[0][1].mean()) == pytest.approx(math.sqrt(abar) * 3.0, abs=0.02)
    assert float(asked[0][1].std()) == pytest.approx(math.sqrt(1 - abar), rel=0.02)
    with pytest.raises(BadInput, match="first estimate"):
        sample(denoise, CHAIN, noise(generator)(), **options)
