"""The pieces of training: learning rate, slow copy, checkpoints, validation, precision."""

from __future__ import annotations

import math
import pathlib
from dataclasses import replace

import numpy as np
import pytest
import torch
from fabricate import fabricate
from torch import nn

from m2diff.batch import Conditions, Estimate, Needs
from m2diff.data.cohort import Box, PreparedSubject, open_cohort
from m2diff.diffusion import Schedule
from m2diff.errors import BadInput
from m2diff.families import DiffusionFamily
from m2diff.families.config import SamplingConfig
from m2diff.nn.precision import autocast, best_precision
from m2diff.training.checkpoint import Checkpoint, clear, load_latest, save_checkpoint
from m2diff.training.config import TrainConfig
from m2diff.training.export import export
from m2diff.training.journal import Means
from m2diff.training.loop import averaging
from m2diff.training.schedule import learning_rate
from m2diff.training.validate import calls_of, enhance_stack, psnr, validate

# --- learning rate -----------------------------------------------------------------------------------------------


def test_the_rate_rises_to_its_peak_and_falls_to_nothing():
    config = TrainConfig(steps=100, warmup=10, lr=1.0)
    rates = [learning_rate(step, config) for step in range(101)]
    assert rates[0] == pytest.approx(1 / 11)
    assert max(rates) == rates[10] == 1.0
    assert rates == sorted(rates[:11]) + sorted(rates[11:], reverse=True)
    assert rates[100] == pytest.approx(0.0, abs=1e-12)


def test_a_constant_rate_cools_down_over_the_last_steps():
    config = TrainConfig(steps=100, warmup=0, lr=1.0, schedule="constant", cooldown=20)
    assert learning_rate(80, config) == learning_rate(1, config) == 1.0
    assert learning_rate(90, config) == pytest.approx(0.5)


def test_a_constant_rate_does_not_know_how_long_the_run_will_be():
    short, long = (TrainConfig(steps=steps, schedule="constant") for steps in (100, 1000))
    assert [learning_rate(s, short) for s in range(100)] == [learning_rate(s, long) for s in range(100)]


# --- averaged weights --------------------------------------------------------------------------------------------


def test_an_average_goes_where_constant_weights_are_and_its_first_updates_forget_faster():
    weights = [torch.ones(3)]
    for k, decay in ((0, 0.1), (10_000, 0.999)):
        averaged = [torch.zeros(3)]
        averaging(0.999)(averaged, weights, k)
        torch.testing.assert_close(averaged[0], torch.full((3,), 1 - decay))
    for k in range(300):
        averaging(0.9)(averaged, weights, k)
    torch.testing.assert_close(averaged, weights)


def test_without_an_average_the_weights_are_the_last_ones():
    averaged, weights = [torch.zeros(3)], [torch.randn(3)]
    averaging(0.0)(averaged, weights, 5)
    assert torch.equal(averaged[0], weights[0])


# --- checkpoints -------------------------------------------------------------------------------------------------


def checkpoint(step: int) -> Checkpoint:
    return Checkpoint(step, {"w": torch.full((100,), float(step))}, {}, {"state": {}}, -math.inf, {"gain": 1.0}, "{}")


def test_a_checkpoint_comes_back_as_it_was_saved(tmp_path):
    save_checkpoint(checkpoint(3), tmp_path)
    back = load_latest(tmp_path)
    assert back is not None and back.step == 3 and back.best == -math.inf and back.results == {"gain": 1.0}
    assert torch.equal(back.model["w"], torch.full((100,), 3.0))


def test_the_last_two_are_kept_and_nothing_else_lies_about(tmp_path):
    for step in (1, 2, 30, 100):
        save_checkpoint(checkpoint(step), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000030.pt", "step-000000100.pt"]


@pytest.fixture
def full_disk():
    """No file may grow beyond 4000 bytes: the operating system's own refusal, whoever writes."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_write_that_fails_leaves_the_former_checkpoint(tmp_path, full_disk):
    save_checkpoint(checkpoint(1), tmp_path)
    with pytest.raises(BadInput, match="larger than"):
        save_checkpoint(replace(checkpoint(2), model={"w": torch.zeros(5000)}), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.pt"]
    assert load_latest(tmp_path).step == 1


def test_weights_and_card_are_both_written_or_neither(tmp_path, full_disk):
    with pytest.raises(BadInput, match="larger than"):
        export(torch.nn.Linear(100, 100), {"model": {}}, tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("damage", [b"", b"garbage", None])
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(tmp_path, damage):
    save_checkpoint(checkpoint(1), tmp_path)
    newest = save_checkpoint(checkpoint(2), tmp_path)
    newest.write_bytes(newest.read_bytes()[:-200] if damage is None else damage)
    with pytest.warns(UserWarning, match="cannot be read"):
        assert load_latest(tmp_path).step == 1


class Harmful:
    """Unpickled, it would make a file."""

    def __init__(self, path) -> None:
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def test_a_checkpoint_that_holds_code_is_not_run(tmp_path):
    save_checkpoint(checkpoint(1), tmp_path)
    torch.save({**vars(checkpoint(2)), "results": Harmful(tmp_path / "made")}, tmp_path / "step-000000002.pt")
    with pytest.warns(UserWarning, match="cannot be read"):
        assert load_latest(tmp_path).step == 1
    assert not (tmp_path / "made").exists()


def test_no_checkpoint_is_no_error_and_clearing_forgets_them(tmp_path):
    assert load_latest(tmp_path / "none") is None
    save_checkpoint(checkpoint(1), tmp_path)
    clear(tmp_path)
    assert load_latest(tmp_path) is None


# --- validation --------------------------------------------------------------------------------------------------


class Identity(nn.Module):
    """Answers the low-dose image."""

    needs = Needs("slab", slices=4, multiple=8, mri=True)

    def enhance(self, conditions: Conditions, *, generator: torch.Generator) -> torch.Tensor:
        assert conditions.low.shape[-1] % 8 == conditions.low.shape[-2] % 8 == 0
        return conditions.low


def test_a_network_that_changes_nothing_gains_nothing(cache):
    result = validate(Identity(), open_cohort(cache), device=torch.device("cpu"), precision="fp32")
    assert len(result.scans) == 6
    assert result.gain == pytest.approx(0.0, abs=1e-4)
    rows = result.by_dose()
    assert rows["4"]["input_psnr"] > rows["20"]["input_psnr"]  # less dose, more noise
    assert rows["4"]["scans"] == 3


class Noiseless(PreparedSubject):
    """Its low-dose scans are the standard scan, each on its own scale."""

    def low(self, drf):
        return self.standard.astype(np.float32) * self.meta.ratio[drf]


def test_a_scan_is_held_against_its_standard_on_the_scale_of_its_own_dose(cache):
    subject = open_cohort(cache)[0]
    even = Noiseless(subject.folder, replace(subject.meta, ratio={4.0: 0.8, 20.0: 1.3}))
    result = validate(Identity(), [even], device=torch.device("cpu"), precision="fp32")
    assert [scan.drf for scan in result.scans] == [4.0, 20.0]
    assert all(scan.input_psnr > 100 and scan.psnr > 100 for scan in result.scans)


class Heated(Noiseless):
    """The same, and hot outside the brain."""

    def low(self, drf):
        return super().low(drf) + 5.0 * ~self.mask


def test_only_the_brain_is_scored_and_against_the_standard_scan(tmp_path):
    subject = fabricate(tmp_path, persons=1)[0]
    np.save(subject.folder / "noise_free.npy", subject.standard + np.float16(0.25))
    hot = Heated(subject.folder, subject.meta)
    result = validate(Identity(), [hot], device=torch.device("cpu"), precision="fp32")
    assert all(scan.psnr > 100 for scan in result.scans)


class Curious(Identity):
    """Answers the MRI, and keeps what else it is told and how large a part it sees."""

    def __init__(self) -> None:
        super().__init__()
        self.doses, self.sizes = set(), set()

    def enhance(self, conditions: Conditions, *, generator: torch.Generator) -> torch.Tensor:
        self.doses |= set(conditions.drf.tolist())
        self.sizes.add(tuple(conditions.low.shape[-2:]))
        return conditions.mri


def test_a_validated_network_sees_the_scans_own_mri_its_dose_and_8_voxels_around_the_brain(cache):
    subject = open_cohort(cache)[0]
    subject = PreparedSubject(subject.folder, replace(subject.meta, brain=Box((4, 9, 10), (8, 17, 18))))
    model = Curious()
    result = validate(model, [subject], device=torch.device("cpu"), precision="fp32")
    assert model.doses == {4.0, 20.0} and model.sizes == {(24, 24)}
    seen = (slice(None), slice(1, 25), slice(2, 26))
    mri, standard, mask = (
        torch.from_numpy(np.array(stack[seen])) for stack in (subject.mri, subject.standard, subject.mask)
    )
    for scan in result.scans:
        reference = standard[mask].float() * subject.meta.ratio[scan.drf]
        assert scan.psnr == pytest.approx(psnr(mri[mask].float(), reference), abs=1e-3)


def test_a_whole_stack_comes_back_in_its_own_size():
    low = torch.randn(9, 13, 21)
    generator = torch.Generator().manual_seed(0)
    torch.testing.assert_close(enhance_stack(Identity(), low, low, 20.0, "fp32", generator), low)


class Chained(DiffusionFamily):
    """A diffusion whose estimate is the low-dose slab and a little of x_t; it keeps the steps that it is asked at."""

    needs = Needs("slab", slices=4, multiple=8, mri=False)

    def __init__(self, **sampling) -> None:
        super().__init__()
        self.schedule, self.sampling = Schedule.linear(), SamplingConfig(**sampling)
        self.asked: list[int] = []
        self.seen: list[torch.Tensor] = []

    def loss(self, batch, *, generator):
        raise NotImplementedError

    def forward(self, x_t, t, conditions):
        self.asked.append(int(t[0]))
        self.seen.append(x_t)
        return Estimate(conditions.low + 0.1 * x_t, variance=torch.full_like(x_t, 0.5))


PAPER = {"steps": 1000, "eta": 1.0, "variance": "large", "spacing": "linspace"}


def sampled(model, low, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return enhance_stack(model, low, None, 20.0, "fp32", generator, calls=calls_of(model, None))


@pytest.mark.parametrize(
    ("sampling", "wanted", "calls"),
    [({}, None, 1), (PAPER, None, 5), ({"steps": 3}, None, 3), (PAPER, 20, 20), ({}, 2, 2)],
)
def test_a_validation_makes_the_familys_own_calls_but_few(sampling, wanted, calls):
    assert calls_of(Chained(**sampling), wanted) == calls
    assert calls_of(Identity(), wanted) == 1


def test_more_calls_than_a_chain_has_are_refused():
    with pytest.raises(BadInput, match="the chain's 11 steps, got 12"):
        calls_of(Chained(start=10), 12)


@pytest.mark.parametrize(
    ("sampling", "asked"),
    [
        ({}, [999]),
        (PAPER, [999, 749, 500, 250, 0]),
        ({"steps": 25, "spacing": "quadratic"}, [999, 562, 250, 62, 0]),
        ({"steps": 25, "variance": "learned", "stochastic_every": 5, "start": 960}, [960, 768, 576, 383, 191]),
        ({"start": 960}, [960]),
    ],
)
def test_a_chain_is_validated_by_few_steps_of_its_own(sampling, asked):
    model, low = Chained(**sampling), torch.randn(4, 13, 21)
    assert sampled(model, low).shape == low.shape
    assert model.asked == asked


def test_a_chain_from_a_first_estimate_starts_from_the_noised_scan():
    low = torch.full((4, 8, 8), 100.0)
    model = Chained(start=10)
    sampled(model, low)
    assert float(model.seen[0].mean()) == pytest.approx(100 * float(model.schedule.abar[10]) ** 0.5, abs=1.0)


def test_overlapping_slabs_of_a_chain_are_noised_as_one_stack():
    model = Chained(**PAPER)
    sampled(model, torch.randn(6, 8, 8))  # two slabs of four slices, two of which are shared
    assert all(torch.equal(x_t[0, 2:], x_t[1, :2]) for x_t in model.seen)


def test_a_validation_by_a_chance_chain_is_the_same_each_time(cache):
    subjects, device = open_cohort(cache), torch.device("cpu")
    one, two, other = (
        validate(Chained(**PAPER), subjects, device=device, precision="fp32", seed=seed, calls=5) for seed in (0, 0, 1)
    )
    assert one == two and one.calls == 5 and one.gain != other.gain


def test_psnr_is_that_of_known_noise():
    rng = np.random.default_rng(0)
    reference = torch.from_numpy(np.ones(200_000, dtype=np.float32))
    noisy = reference + torch.from_numpy(rng.normal(0, 0.1, 200_000).astype(np.float32))
    assert psnr(noisy, reference) == pytest.approx(20.0, abs=0.05)
    assert psnr(1000 * noisy, 1000 * reference) == pytest.approx(psnr(noisy, reference), abs=1e-3)


def test_the_peak_of_the_psnr_is_what_one_voxel_in_a_thousand_exceeds():
    reference = torch.randperm(1001, generator=torch.Generator().manual_seed(0)).float()
    assert psnr(reference + 9.99, reference) == pytest.approx(40.0, abs=1e-3)


# --- the rest ----------------------------------------------------------------------------------------------------


def test_means_count_a_term_only_where_it_was():
    means = Means()
    means.add({"loss": torch.tensor(1.0), "mri": torch.tensor(4.0)})
    means.add({"loss": torch.tensor(3.0)})
    assert means.read() == {"loss": 2.0, "mri": 4.0}
    assert means.read() == {}


def test_a_forward_pass_runs_at_the_precision_that_was_asked_for():
    layer, x = nn.Linear(4, 4), torch.ones(1, 4)
    for precision, dtype in (("bf16", torch.bfloat16), ("fp32", torch.float32)):
        with autocast("cpu", precision):
            assert layer(x).dtype == dtype
    with autocast("cpu", "auto"):
        assert layer(x).dtype == (torch.bfloat16 if best_precision("cpu") == "bf16" else torch.float32)
