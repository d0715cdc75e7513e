"""Training slabs: a pure function of (seed, n), with low-dose, target and MRI always of one place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from fabricate import SHAPE, fabricate
from scipy.ndimage import gaussian_filter
from torch.utils.data import DataLoader

from m2diff.data.augment import MARGIN, Augmentation, Draw, filtered, recontrasted, shifted
from m2diff.data.cohort import Box, PreparedSubject
from m2diff.data.dataset import SlabDataset, StepSampler, collate, expected, window

PLAIN = Augmentation(enabled=False)


@pytest.fixture(scope="module")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> list[PreparedSubject]:
    return fabricate(tmp_path_factory.mktemp("cache"))


def same(a, b) -> bool:
    return all(torch.equal(getattr(a, k), getattr(b, k)) for k in ("low", "mri", "target")) and a.drf == b.drf


def test_an_item_is_the_same_whenever_it_is_asked_for(cohort):
    first = SlabDataset(cohort, slices=4, crop=(16, 16), seed=3)
    items = [first[n] for n in range(20)]
    again = SlabDataset(cohort, slices=4, crop=(16, 16), seed=3)
    assert all(same(again[n], items[n]) for n in reversed(range(20)))


def test_another_seed_gives_other_items(cohort):
    one, two = (SlabDataset(cohort, slices=4, crop=(16, 16), seed=seed) for seed in (0, 1))
    assert not any(same(one[n], two[n]) for n in range(10))


def test_the_items_do_not_depend_on_the_number_of_workers(cohort):
    dataset = SlabDataset(cohort, slices=4, crop=(16, 16))
    batches = [
        list(DataLoader(dataset, batch_sampler=StepSampler(2, 6, batch=3), num_workers=w, collate_fn=collate))
        for w in (0, 2)
    ]
    for alone, shared in zip(*batches, strict=True):
        assert torch.equal(alone.target, shared.target)
        assert torch.equal(alone.conditions.low, shared.conditions.low)


def test_a_batch_has_the_shapes_that_the_contract_names(cohort):
    dataset = SlabDataset(cohort, slices=4, crop=(16, 24))
    batch = collate([dataset[n] for n in range(5)])
    assert batch.target.shape == batch.conditions.low.shape == batch.conditions.mri.shape == (5, 4, 16, 24)
    assert batch.conditions.drf.shape == (5,)
    assert set(batch.conditions.drf.tolist()) <= {4.0, 20.0}


def test_every_subject_and_every_dose_is_seen(cohort):
    dataset = SlabDataset(cohort, slices=2, crop=(8, 8), augmentation=PLAIN)
    assert {dataset[n].drf for n in range(60)} == {4.0, 20.0}
    means = {round(float(s.standard.astype(np.float32).mean()), 4) for s in cohort}
    assert len(means) == 3  # three subjects, told apart by their images
    whole = SlabDataset(cohort, slices=SHAPE[0], crop=SHAPE[1:], augmentation=PLAIN)
    ratios = [s.meta.ratio for s in cohort]
    seen = {round(float(whole[n].target.mean()) / ratios[0][whole[n].drf], 3) for n in range(60)}
    assert len(seen) == 3


def test_without_augmentation_a_slab_is_a_window_of_the_volume_on_the_low_dose_scale(cohort):
    whole = SlabDataset(cohort[:1], slices=SHAPE[0], crop=SHAPE[1:], augmentation=PLAIN)
    item = whole[0]
    standard = torch.from_numpy(cohort[0].standard.astype(np.float32))
    torch.testing.assert_close(item.target, standard * cohort[0].meta.ratio[item.drf])
    torch.testing.assert_close(item.low, torch.from_numpy(cohort[0].low(item.drf).astype(np.float32)))


@pytest.mark.parametrize("target", ["standard", "noise_free"])
def test_a_slab_becomes_the_image_that_the_settings_name(tmp_path, target):
    subject = fabricate(tmp_path, persons=1)[0]
    np.save(subject.folder / "noise_free.npy", subject.standard + np.float16(0.25))
    item = SlabDataset([subject], slices=SHAPE[0], crop=SHAPE[1:], augmentation=PLAIN, target=target)[0]
    wanted = torch.from_numpy(getattr(subject, target).astype(np.float32)) * subject.meta.ratio[item.drf]
    torch.testing.assert_close(item.target, wanted)


def test_in_a_mixed_cohort_a_batch_has_an_mri_or_none_and_every_session_its_share(tmp_path):
    subjects = fabricate(tmp_path, persons=4)
    (subjects[1].folder / "mri.npy").unlink()
    dataset = SlabDataset(subjects, slices=4, crop=(8, 8), batch=3)
    batches = [[dataset.plan(3 * n + k).subject for k in range(3)] for n in range(600)]
    assert all(len({subjects[number].mri is None for number in batch}) == 1 for batch in batches)
    drawn = np.bincount(np.ravel(batches)) / np.size(batches)
    np.testing.assert_allclose(drawn, 0.25, atol=0.05)


def test_one_item_without_an_mri_leaves_its_batch_without(cohort):
    item = SlabDataset(cohort, slices=4, crop=(8, 8))[0]
    assert collate([item, item]).conditions.mri.shape == (2, 4, 8, 8)
    assert collate([item, replace(item, mri=None)]).conditions.mri is None


def test_low_and_target_are_scaled_and_smoothed_alike(cohort):
    """Where the input has no noise, it stays equal to its target whatever is drawn."""
    subject = cohort[0]
    twin = _TargetAsInput(subject.folder, subject.meta)
    dataset = SlabDataset([twin], slices=4, crop=(16, 16), augmentation=Augmentation(smooth=0.9))
    for n in range(30):
        item = dataset[n]
        torch.testing.assert_close(item.low * subject.meta.ratio[item.drf], item.target, rtol=1e-5, atol=1e-6)


def test_the_expected_target_is_the_mean_of_the_standard_scans_that_a_low_dose_may_come_from():
    """Counts thinned one by one: among scans with the same low dose, the standard scan's mean is the target."""
    rng = np.random.default_rng(0)
    mean, drf = 6.0, 3.0
    standard = rng.poisson(mean, 400_000)
    low = rng.binomial(standard, 1 / drf)
    for counts in range(5):
        alike = standard[low == counts]
        target = expected(np.float32([mean]), np.float32([counts * drf]), drf)
        assert alike.mean() == pytest.approx(float(target[0]), abs=5 * alike.std() / np.sqrt(len(alike)))


def test_an_expected_slab_takes_its_share_of_the_noise_on_the_scale_of_the_low_dose_scan(cohort):
    clean, mixed = (
        SlabDataset(cohort, slices=4, crop=(16, 16), augmentation=Augmentation(smooth=0.9), target=target)
        for target in ("noise_free", "expected")
    )
    for n in range(10):
        one, other = clean[n], mixed[n]
        torch.testing.assert_close(other.target, one.target + (one.low - one.target) / one.drf)


class _TargetAsInput(PreparedSubject):
    def low(self, drf: float):
        return self.standard


def test_left_and_right_are_swapped_in_all_images_alike(cohort):
    always, never = (
        SlabDataset(cohort, slices=4, crop=(16, 16), augmentation=_only(flip=share)) for share in (1.0, 0.0)
    )
    for n in range(5):
        one, two = always[n], never[n]
        assert torch.equal(one.low, two.low.flip(-1))
        assert torch.equal(one.mri, two.mri.flip(-1))
        assert torch.equal(one.target, two.target.flip(-1))


def _only(**settings: float) -> Augmentation:
    nothing = {"flip": 0, "scale_sd": 0, "smooth": 0, "mri_gamma_sd": 0, "mri_gain_sd": 0, "mri_shift": 0}
    return Augmentation(**{**nothing, **settings})


def test_the_mri_is_varied_as_was_drawn_and_the_scan_is_not(cohort):
    plain, other = (
        SlabDataset(cohort, slices=4, crop=(16, 16), augmentation=_only(**how))
        for how in ({}, {"mri_gamma_sd": 0.5, "mri_gain_sd": 0.5})
    )
    for n in range(5):
        one, two, draw = plain[n], other[n], other.plan(n).draw
        assert torch.equal(one.low, two.low) and torch.equal(one.target, two.target)
        torch.testing.assert_close(two.mri, draw.gain * one.mri.clamp(min=0) ** draw.gamma, rtol=1e-4, atol=1e-6)
        assert abs(draw.gain - 1) > 0.001 and abs(draw.gamma - 1) > 0.001


def test_variations_are_drawn_as_often_and_as_strongly_as_the_settings_say():
    how, rng = (
        Augmentation(flip=0.3, smooth=0.4, smooth_sigma=1.2, mri_shift=0.2, scale_sd=0.3),
        np.random.default_rng(0),
    )
    draws = [Draw.random(rng, how) for _ in range(4000)]
    assert np.mean([draw.flip for draw in draws]) == pytest.approx(0.3, abs=0.03)
    sigmas = np.array([draw.sigma for draw in draws])
    assert np.mean(sigmas > 0) == pytest.approx(0.4, abs=0.03)
    assert sigmas[sigmas > 0].min() == pytest.approx(0.4, abs=0.01) and sigmas.max() == pytest.approx(1.2, abs=0.01)
    shifts = np.array([draw.shift for draw in draws])
    assert np.mean(shifts.any(axis=1)) == pytest.approx(0.2, abs=0.03)
    assert (shifts.min(), shifts.max()) == (pytest.approx(-1, abs=0.02), pytest.approx(1, abs=0.02))
    logs = np.log([[draw.scale, draw.gamma, draw.gain] for draw in draws])
    assert logs.std(axis=0) == pytest.approx([0.3, how.mri_gamma_sd, how.mri_gain_sd], rel=0.05)
    assert logs.mean(axis=0) == pytest.approx([0, 0, 0], abs=0.02)


def test_slabs_taller_than_the_volume_repeat_its_edge(cohort):
    item = SlabDataset(cohort, slices=SHAPE[0] + 4, crop=(8, 8), augmentation=PLAIN)[0]
    assert torch.equal(item.low[-1], item.low[SHAPE[0] - 1])


def test_crops_larger_than_the_image_still_come_out_whole(cohort):
    item = SlabDataset(cohort, slices=4, crop=(48, 40))[0]
    assert item.low.shape == (4, 48, 40)
    assert torch.isfinite(item.low).all() and torch.isfinite(item.mri).all()


def test_most_slabs_show_the_brain(cohort):
    dataset = SlabDataset(cohort, slices=4, crop=(16, 16), augmentation=PLAIN)
    assert np.mean([float((dataset[n].mri > 0.2).float().mean()) > 0.2 for n in range(50)]) > 0.9


@pytest.fixture
def small_brain(cohort):
    """A session whose brain is a few slices of a head that fills more of the image."""
    meta = replace(cohort[0].meta, brain=Box((7, 14, 12), (9, 20, 16)), head=Box((0, 4, 3), (12, 30, 26)))
    return PreparedSubject(cohort[0].folder, meta)


@pytest.mark.parametrize(("slices", "first", "last"), [(1, 7, 8), (4, 5, 6)])
def test_nine_slabs_in_ten_are_centred_on_a_slice_of_the_brain_and_one_lies_anywhere_on_the_head(
    small_brain, slices, first, last
):
    dataset = SlabDataset([small_brain], slices=slices, crop=(8, 8))
    begins = [dataset.plan(n).corner[0] for n in range(1500)]
    on_brain = np.mean([first <= begin <= last for begin in begins])
    assert on_brain == pytest.approx(0.9 + 0.1 * 2 / 12, abs=0.02)
    assert (min(begins), max(begins)) == (0, SHAPE[0] - slices)


def test_a_crop_lies_anywhere_over_the_head_and_not_beside_it(small_brain):
    dataset = SlabDataset([small_brain], slices=1, crop=(8, 6))
    corners = np.array([dataset.plan(n).corner for n in range(1000)])
    assert sorted(set(corners[:, 1])) == list(range(4, 30 - 8 + 1))
    assert sorted(set(corners[:, 2])) == list(range(3, 26 - 6 + 1))


def test_a_crop_larger_than_the_head_holds_all_of_it(small_brain):
    dataset = SlabDataset([small_brain], slices=1, crop=(28, 24))
    corners = np.array([dataset.plan(n).corner for n in range(300)])
    assert sorted(set(corners[:, 1])) == [2, 3, 4] and sorted(set(corners[:, 2])) == [2, 3]


def test_doses_are_drawn_alike(tmp_path):
    dataset = SlabDataset(fabricate(tmp_path, doses=(1.0, 4.0, 100.0)), slices=4)
    drawn = [dataset.plan(n).drf for n in range(2000)]
    found = [drawn.count(dose) / len(drawn) for dose in (1.0, 4.0, 100.0)]
    np.testing.assert_allclose(found, [1 / 3] * 3, atol=0.04)


def test_anchors_are_the_doses_between_on_the_scale_of_the_input(tmp_path):
    subjects = fabricate(tmp_path, doses=(2.0, 4.0, 20.0))
    dataset = SlabDataset(subjects, slices=SHAPE[0], crop=SHAPE[1:], augmentation=PLAIN, anchors=True)
    items = [dataset[n] for n in range(12)]
    assert {item.drf: item.anchor_doses for item in items} == {2.0: (), 4.0: (2.0,), 20.0: (2.0, 4.0)}
    for item in items:
        noise = [float((image - item.target).std()) for image in (item.target, *item.anchors, item.low)]
        assert noise == sorted(noise)  # more dose, nearer to the standard: only if both are on one scale
    batch = collate(items)
    assert batch.anchors.images.shape == (12, 2, *SHAPE)
    there = ~torch.isnan(batch.anchors.doses)
    assert there.sum(dim=1).tolist() == [len(item.anchors) for item in items]
    assert (batch.anchors.images[~there] == 0).all()
    assert collate([item for item in items if not item.anchors]).anchors is None
    assert SlabDataset(subjects, slices=4)[0].anchors == ()  # nobody pays who does not ask


def test_an_mri_that_nobody_wants_is_not_read(cohort):
    dataset = SlabDataset(cohort, slices=4, crop=(16, 16), mri=False)
    assert all(dataset[n].mri is None for n in range(4))


def test_a_post_filter_keeps_the_mean_of_a_flat_image():
    flat = np.full((4 + 2 * MARGIN,) * 3, 2.0, dtype=np.float32)
    np.testing.assert_allclose(filtered(flat, 1.0), 2.0, rtol=1e-5)


@pytest.mark.parametrize("sigma", [0.4, 1.1, 1.3])
def test_a_post_filtered_slab_is_cut_from_the_post_filtered_volume(sigma):
    volume = np.random.default_rng(0).standard_normal((24, 24, 24)).astype(np.float32)
    near, inner = (slice(10 - margin, 14 + margin) for margin in (MARGIN, 0))
    whole = gaussian_filter(volume, sigma, mode="nearest", truncate=8.0)
    np.testing.assert_allclose(filtered(volume[near, near, near], sigma), whole[inner, inner, inner], atol=3e-3)


def test_a_shift_by_one_voxel_is_a_shift_by_one_voxel():
    cube = np.random.default_rng(0).standard_normal((4 + 2 * MARGIN,) * 3).astype(np.float32)
    inner = slice(MARGIN, -MARGIN)
    expected = cube[MARGIN - 1 : -MARGIN - 1, MARGIN + 1 : -MARGIN + 1, inner]
    np.testing.assert_allclose(shifted(cube, (1.0, -1.0, 0.0)), expected, rtol=1e-6)


def test_another_contrast_keeps_air_black_and_the_order_of_tissues():
    tissues = np.array([0.0, 0.5, 1.0, 1.5], dtype=np.float32)
    other = recontrasted(tissues, 1.7, 0.8)
    assert other[0] == 0 and other[2] == pytest.approx(0.8)
    assert (np.diff(other) > 0).all()
    assert recontrasted(np.float32([-0.1]), 1.7, 0.8).tolist() == [0.0]


def test_disabled_augmentation_draws_as_much_and_does_nothing():
    on, off = np.random.default_rng(1), np.random.default_rng(1)
    Draw.random(on, Augmentation())
    assert Draw.random(off, PLAIN) == Draw()
    assert on.random() == off.random()


def test_a_window_across_the_border_repeats_the_edge():
    stack = np.arange(4.0)[:, None, None] * np.ones((1, 3, 3))
    assert window(stack, (-2, 0, 0), (8, 3, 3))[:, 0, 0].tolist() == [0, 0, 0, 1, 2, 3, 3, 3]


def test_the_processes_of_a_step_share_its_items_and_repeat_none():
    lists = [list(StepSampler(5, 7, batch=3, rank=rank, ranks=2)) for rank in range(2)]
    flat = sorted(n for one in lists for step in one for n in step)
    assert flat == list(range(30, 42))


def test_steps_after_a_resume_are_the_steps_that_were_left():
    left = StepSampler(4, 10, batch=2)
    assert list(StepSampler(0, 10, batch=2))[4:] == list(left) and len(left) == 6


def test_the_folder_of_a_subject_remembers_its_meta(cohort, tmp_path: Path):
    meta = cohort[0].meta
    assert type(meta).from_json(meta.to_json()) == meta
