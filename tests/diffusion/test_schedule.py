"""The schedule, what training draws from it, and the sampler's edges."""

from __future__ import annotations

import pytest
import torch

from m2diff.diffusion import Schedule, draw_noise, draw_steps, noised, q_sample, sample
from m2diff.errors import BadInput

SCHEDULE = Schedule.linear()


def test_a_respaced_chain_keeps_abar_at_the_steps_it_keeps():
    for spacing in ("linspace", "trailing", "leading", "quadratic"):
        chain = SCHEDULE.respaced(7, spacing)
        torch.testing.assert_close(chain.abar, SCHEDULE.abar[list(chain.timesteps)], rtol=1e-12, atol=0)


def test_five_steps_are_the_five_of_the_release():
    assert SCHEDULE.respaced(5).timesteps == (0, 250, 500, 749, 999)
    assert SCHEDULE.respaced(5, "trailing").timesteps == (199, 399, 599, 799, 999)
    assert SCHEDULE.respaced(5, "leading").timesteps == (0, 200, 400, 600, 800)
    assert SCHEDULE.respaced(5, "quadratic").timesteps == (0, 62, 250, 562, 999)
    assert all(len(SCHEDULE.respaced(n, "quadratic")) == n for n in (2, 25, 50, 250, 999, 1000))


def test_all_steps_are_the_chain_itself():
    chain = SCHEDULE.respaced(1000)
    assert chain.timesteps == SCHEDULE.timesteps
    torch.testing.assert_close(chain.betas, SCHEDULE.betas)


def test_a_part_of_a_part_of_a_chain_still_names_the_first_ones_steps():
    part = SCHEDULE.respaced(10, "trailing").at([2, 0])
    assert part.timesteps == (99, 299)
    torch.testing.assert_close(part.abar, SCHEDULE.abar[[99, 299]], rtol=1e-12, atol=0)


@pytest.mark.parametrize("steps", [[], [-1, 3], [1000]])
def test_steps_that_a_chain_does_not_have_are_refused(steps):
    with pytest.raises(BadInput, match=r"0 \.\.\. 999"):
        SCHEDULE.at(steps)


@pytest.mark.parametrize("steps", [0, 1001])
def test_an_impossible_number_of_steps_is_refused(steps):
    with pytest.raises(BadInput, match="between 1 and 1000"):
        SCHEDULE.respaced(steps)


def test_one_step_returns_the_estimate_at_the_last_step_untouched():
    asked = []

    def denoise(x, t):
        asked.append(t)
        return x + 5.0

    noise = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    for spacing in ("linspace", "trailing", "leading", "quadratic"):
        assert torch.equal(sample(denoise, SCHEDULE, noise, steps=1, eta=1.0, spacing=spacing), noise + 5.0)
    assert asked == [999, 999, 999, 999]


def test_whoever_watches_sees_every_clean_estimate_from_the_noisy_end():
    seen = []
    noise = torch.zeros(3, dtype=torch.float64)
    x = sample(lambda x, t: x + t, SCHEDULE, noise, steps=3, watch=lambda t, clean: seen.append((t, clean)))
    assert [t for t, _ in seen] == [999, 500, 0]
    assert torch.equal(seen[-1][1], x)


def test_estimates_are_clipped_where_asked():
    noise = torch.zeros(3, dtype=torch.float64)
    for way in (1.0, -1.0):
        found = sample(lambda x, t, way=way: x + 9.0 * way, SCHEDULE, noise, steps=3, clip=1.5)
        assert (found == 1.5 * way).all()


def test_a_stochastic_chain_without_noise_is_refused():
    with pytest.raises(BadInput, match="noise_for_step"):
        sample(lambda x, t: x, SCHEDULE, torch.zeros(3), steps=2, eta=1.0)
    with pytest.raises(BadInput, match="noise_for_step"):
        sample(lambda x, t: x, SCHEDULE, torch.zeros(3), steps=2, stochastic_every=2)


def test_the_large_variance_is_refused_outside_ancestral_sampling():
    with pytest.raises(BadInput, match="eta = 1"):
        sample(lambda x, t: x, SCHEDULE, torch.zeros(3), steps=2, eta=0.0, variance="large")


def test_noised_images_keep_unit_variance():
    generator = torch.Generator().manual_seed(0)
    clean = torch.randn(4, 100_000, generator=generator)
    noised = q_sample(clean, torch.tensor([0, 300, 700, 999]), draw_noise(clean, generator=generator), SCHEDULE)
    torch.testing.assert_close(noised.std(dim=1), torch.ones(4), rtol=0.02, atol=0)


def test_every_step_is_drawn_alike():
    t = draw_steps(20_000, Schedule.linear(5), generator=torch.Generator().manual_seed(0))
    shares = torch.bincount(t) / len(t)
    torch.testing.assert_close(shares, torch.full((5,), 0.2), rtol=0, atol=0.02)


def test_at_the_last_step_little_but_fresh_noise_is_left():
    clean, generator = torch.full((2, 50_000), 3.0), torch.Generator().manual_seed(0)
    first, second = noised(clean, torch.tensor([999, 999]), SCHEDULE, generator=generator)
    kept = 3.0 * float(SCHEDULE.abar[-1]) ** 0.5
    assert float(first.mean()) == pytest.approx(kept, abs=0.02) and float(first.std()) == pytest.approx(1, abs=0.02)
    assert abs(float(torch.corrcoef(torch.stack([first, second]))[0, 1])) < 0.02


def test_the_stated_share_of_draws_is_the_step_where_sampling_starts():
    t = draw_steps(20_000, SCHEDULE, generator=torch.Generator().manual_seed(0), first_step_share=0.3)
    assert float((t == 999).float().mean()) == pytest.approx(0.3, abs=0.02)
    assert float(t[t < 999].float().mean()) == pytest.approx(499, abs=10)
