"""The judge of a fitted answer: nothing at first, without units, and it learns to lean on what the noise speaks for."""

import pytest
import torch
from torch import Tensor

from m2diff.nn.blocks import Folding
from m2diff.nn.fit import FitHead, local_fits
from m2diff.nn.judge import Judge, corrections, features
from m2diff.nn.smooth import structure

SLAB = (2, 8, 24, 24)
OF_SLAB = 14  # features of the slab before those of the dose: its noise, and ratios


def scene(noise: float, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Clean, low-dose, fits and guide of two tissues."""
    generator = torch.Generator().manual_seed(seed)
    inside = (torch.arange(24) // 6 % 2).float().expand(SLAB)
    guide = torch.stack([inside, 1 - inside], dim=1)
    clean = 0.5 + 0.5 * inside
    low = clean + noise * torch.randn(SLAB, generator=generator)
    return clean, low, local_fits(low, guide, (1, 4)), guide


def test_it_starts_as_the_answer() -> None:
    torch.manual_seed(0)
    plain = FitHead(16, Folding(slices=8, fold=2), classes=2, windows=(1, 4))
    judged = FitHead(16, Folding(slices=8, fold=2), classes=2, windows=(1, 4), judged=True)
    missing, unexpected = judged.load_state_dict(plain.state_dict(), strict=False)
    assert missing and all(key.startswith("judge.") for key in missing) and not unexpected
    features, low = torch.randn(2, 16, 12, 12), torch.rand(SLAB)
    torch.testing.assert_close(judged(features, low)[0], plain(features, low)[0], rtol=0, atol=0)


def test_it_minds_the_dose_and_an_unknown_one_is_the_same_absent_and_nan() -> None:
    torch.manual_seed(0)
    head = FitHead(16, Folding(slices=8, fold=2), classes=2, windows=(1, 4), judged=True)
    torch.nn.init.normal_(head.judge.weigh.weight)
    feats, low = torch.randn(2, 16, 12, 12), torch.rand(SLAB)
    answers = [head(feats, low, drf)[0] for drf in (None, torch.full((2,), torch.nan), torch.full((2,), 20.0))]
    torch.testing.assert_close(answers[0], answers[1], rtol=0, atol=0)
    assert not torch.allclose(answers[0], answers[2])


def test_the_weights_do_not_depend_on_how_many_voxels_are_taken_at_once(monkeypatch) -> None:
    torch.manual_seed(0)
    judge = Judge(classes=2, fits=2)
    torch.nn.init.normal_(judge.weigh.weight)
    clean, low, fits, guide = scene(0.2)
    whole = judge(clean, low, fits, guide)
    monkeypatch.setattr("m2diff.nn.judge.CHUNK", 1000)
    torch.testing.assert_close(judge(clean, low, fits, guide), whole, rtol=1e-5, atol=1e-6)


def test_contrast_is_what_smoothing_takes_and_an_even_slab_has_none() -> None:
    clean, *_ = scene(0.0)
    narrow, broad = structure(clean).unbind(dim=1)
    torch.testing.assert_close(structure(torch.full(SLAB, 0.7)), torch.zeros(2, 2, *SLAB[1:]), atol=1e-6, rtol=0)
    assert float(narrow.abs().mean()) > 0.1  # stripes of 12 mm
    assert bool((torch.sign(narrow[..., 8:16]) == torch.sign(clean - clean.mean())[..., 8:16]).all())
    assert broad.shape == SLAB


def test_contrast_that_a_scan_has_lost_is_learnt_back_where_the_dose_says_so() -> None:
    """Half of the scans have lost a fifth of their contrast, and only their dose says which."""
    torch.manual_seed(0)
    judge = Judge(classes=2, fits=2)
    clean, _, _, guide = scene(0.0)
    lost = clean - 0.2 * structure(clean)[:, 0]
    both = [(clean, torch.full((2,), 2.0)), (lost, torch.full((2,), 100.0))]
    optimizer = torch.optim.Adam(judge.parameters(), 1e-2)
    for _ in range(150):
        losses = [(judge(x, x, torch.stack([x, x], dim=1), guide, drf) - clean).square().mean() for x, drf in both]
        optimizer.zero_grad()
        sum(losses).backward()
        optimizer.step()
    kept, regained = (float(loss.detach()) for loss in losses)
    assert kept < 1e-5 and regained < 0.05 * float((lost - clean).square().mean())


def test_what_may_be_added_leads_to_each_candidate() -> None:
    _, low, fits, _ = scene(0.3)
    answer = torch.rand(SLAB)
    added = corrections(answer, low, fits)
    assert added.shape == (2, 2 + 6, 8, 24, 24)
    torch.testing.assert_close(answer[:, None] + added[:, :2], fits)
    torch.testing.assert_close(answer + added[:, 2], low)
    torch.testing.assert_close(added[:, 5], fits[:, -1])  # a share of the level, for what the scan itself has wrong
    torch.testing.assert_close(added[:, 6:], structure(answer))


def test_features_go_with_the_noise_and_not_with_its_size() -> None:
    """Everything that is not the noise level itself, the level or a class is a ratio."""
    clean, low, fits, guide = scene(0.1)
    louder, louder_fits = clean + 2 * (low - clean), clean[:, None] + 2 * (fits - clean[:, None])
    (voxel, slab), (voxel_2, slab_2) = (
        features(clean, *each, guide, None) for each in ((low, fits), (louder, louder_fits))
    )
    ratios = slice(1, 1 + 2 + 4 + 1)
    torch.testing.assert_close(voxel_2[:, ratios], voxel[:, ratios], rtol=2e-3, atol=2e-3)  # the floor of the noise
    assert float((voxel_2[:, 0] - voxel[:, 0]).mean()) == pytest.approx(0.693, abs=0.01)
    assert float((slab_2[:, 0] - slab[:, 0]).mean()) == pytest.approx(0.693, abs=0.01)
    # Of two fits the middle one is the widest: they differ by nothing, and the floor alone is left of that.
    torch.testing.assert_close(slab_2[:, 1:], slab[:, 1:], rtol=2e-3, atol=2e-2)


def test_the_dose_is_told_as_a_number_and_whether_it_is_known() -> None:
    clean, low, fits, guide = scene(0.1)
    told = features(clean, low, fits, guide, torch.tensor([1.0, torch.nan]))[1][:, OF_SLAB:]
    assert told.tolist() == [[-1.0, 1.0], [0.0, 0.0]]
    beyond = features(clean, low, fits, guide, torch.tensor([128.0, 5000.0]))[1][:, OF_SLAB:]
    assert beyond.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_the_slab_tells_whether_the_wide_windows_hold() -> None:
    """Even tissues and tissues whose level drifts, at a noise in which single voxels say nothing of it."""
    drift = 0.3 * torch.linspace(-1, 1, 24)[:, None].expand(8, 24, 24)

    def missed_by_the_widest(slope: Tensor | float) -> float:
        generator = torch.Generator().manual_seed(3)
        guide = torch.stack([torch.zeros(SLAB), torch.ones(SLAB)], dim=1)
        low = 1 + slope + 0.5 * torch.randn(SLAB, generator=generator)
        fits = torch.stack([low * 0 + 1 + slope, torch.ones(SLAB)], dim=1)  # the narrow one follows, the wide does not
        whole = features(fits[:, 0], low, fits, guide, None)[1][0]
        return float(whole[9] - whole[7])  # smoothed most: the widest against the narrowest

    assert abs(missed_by_the_widest(0.0)) < 0.02
    assert missed_by_the_widest(drift) > 0.3


def test_the_noise_it_sees_is_the_noise_that_is_there() -> None:
    _, low, fits, guide = scene(0.2)
    told, _ = features(low, low, fits, guide, None)
    level = (told[:, 0] - 1.5).exp().mean()
    assert 0.17 < level < 0.21  # the fit follows a little of it


def test_its_features_carry_no_gradient_and_what_it_adds_does() -> None:
    _, low, fits, guide = scene(0.2)
    answer, guide = low.clone().requires_grad_(), guide.requires_grad_()
    assert not any(each.requires_grad for each in features(answer, low, fits, guide, None))
    assert corrections(answer, low, fits).requires_grad


def test_it_learns_to_leave_an_answer_that_is_as_noisy_as_the_scan() -> None:
    """The answer is the scan itself at two doses; the judge must lean on the wide fit, the more the noisier."""
    torch.manual_seed(0)
    judge = Judge(classes=2, fits=2)
    scenes = [scene(noise, seed) for seed, noise in enumerate((0.02, 0.4))]
    optimizer = torch.optim.Adam(judge.parameters(), 1e-2)
    for _ in range(60):
        loss = sum((judge(low, low, fits, guide) - clean).square().mean() for clean, low, fits, guide in scenes)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    for seed, noise in enumerate((0.02, 0.4), start=7):
        clean, low, fits, guide = scene(noise, seed)
        assert (judge(low, low, fits, guide) - clean).square().mean() < 0.3 * noise**2
