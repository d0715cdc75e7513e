"""Uptake follows the table of normals, Alzheimer's spares what it spares, lesions are recorded as they are."""

from dataclasses import replace

import numpy as np
import pytest

from m2diff.simulation import head as head_classes
from m2diff.simulation import regions, tracer
from m2diff.simulation.anatomy import Anatomy


def codes(stem: str) -> list[int]:
    """Both sides of a region."""
    return [code for code, name in regions.REGIONS.items() if name.startswith(stem)]


def levels(group: str, stem: str, persons: int = 60) -> float:
    drawn = [tracer.draw_uptake(np.random.default_rng(seed), group) for seed in range(persons)]
    return float(np.mean([uptake.grey[code] for uptake in drawn for code in codes(stem)]))


@pytest.fixture(scope="module")
def block() -> Anatomy:
    """A cube of grey matter around a cube of white matter, 2 mm, without a head."""
    shape = (40, 40, 40)
    labels = np.full(shape, 1, dtype=np.int16)
    labels[:20] = 2
    wm = np.zeros(shape, dtype=np.float32)
    wm[12:28, 12:28, 12:28] = 1
    labels[wm > 0] = 53
    gm = 1 - wm
    csf = np.zeros(shape, dtype=np.float32)
    head = np.full(shape, head_classes.BRAIN, dtype=np.uint8)
    return Anatomy("block", np.full(shape, 100, np.float32), labels, gm, wm, csf, head, np.diag([2.0, 2, 2, 1]), False)


def test_healthy_uptake_has_the_mean_of_the_normals():
    normals = regions.normals()
    drawn = np.array(
        [list(tracer.draw_uptake(np.random.default_rng(s), "healthy").grey.values())[:52] for s in range(300)]
    )
    assert np.abs(drawn.mean(0) - normals.mean).max() < 0.05
    correlation = np.corrcoef(drawn.T)[0, 1]  # superior frontal, left and right: they rise and fall together
    assert correlation > 0.8


@pytest.mark.parametrize("stem", ["posterior_cingulate_cortex", "precuneus", "dorsolateral_parietal_cortex"])
def test_alzheimer_persons_lose_uptake_where_the_disease_strikes(stem):
    assert levels("ad", stem) < 0.9 * levels("healthy", stem)


@pytest.mark.parametrize("stem", ["postcentral_gyrus", "pericalcarine_cortex", "putamen", "cerebellar_cortex"])
def test_alzheimer_persons_keep_uptake_where_it_is_spared(stem):
    assert levels("ad", stem) == pytest.approx(levels("healthy", stem), rel=0.03)


def test_random_uptake_has_no_usual_picture():
    drawn = [tracer.draw_uptake(np.random.default_rng(seed), "healthy", "random") for seed in range(200)]
    ratio = [np.mean(list(uptake.grey.values())) / uptake.white for uptake in drawn]
    assert min(ratio) < 0.9 and max(ratio) > 3


def test_activity_follows_levels_and_tissue(block):
    rng = np.random.default_rng(3)
    uptake = tracer.draw_uptake(rng, "healthy")
    activity = tracer.activity_map(block, uptake, rng)
    assert activity[block.wm > 0].mean() == pytest.approx(uptake.white, rel=0.1)
    assert activity[(block.gm > 0) & (block.labels == 1)].mean() == pytest.approx(uptake.grey[1], rel=0.1)
    assert activity.min() >= 0


def test_pet_lesions_leave_the_mri_alone_and_the_reverse(block):
    activity = np.ones(block.labels.shape, dtype=np.float32)
    seen = set()
    for seed in range(40):
        changed, t1, labels, lesions = tracer.add_lesions(block, activity, np.random.default_rng(seed))
        assert {lesion.code for lesion in lesions} == set(np.unique(labels)) - {0}
        for lesion in lesions:
            inside = labels == lesion.code
            seen.add(lesion.kind)
            pet, mri = (lesion.factor, 1.0) if lesion.kind != "mri_only" else (1.0, lesion.factor)
            assert np.allclose(changed[inside], pet) and np.allclose(t1[inside], 100 * mri)
        assert np.allclose(changed[labels == 0], 1) and np.allclose(t1[labels == 0], 100)
    assert seen == {"pet_hot", "pet_cold", "mri_only"}


def placed_once(anatomy, rng, activity):
    """The lesions where each is placed once, and left out where it would lie on another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracer, "TRIES", 1)
        return tracer.add_lesions(anatomy, activity, rng)


def test_no_two_lesions_share_a_voxel_and_who_had_none_that_did_is_who_they_were(block):
    """In a block this small they meet often: in one person in ten."""
    activity = np.ones(block.labels.shape, dtype=np.float32)
    again = 0
    for seed in range(400):
        rng, alone = np.random.default_rng(seed), np.random.default_rng(seed)
        changed, t1, labels, lesions = tracer.add_lesions(block, activity, rng)
        sizes = [len(tracer._ball(block, lesion.centre_mm, lesion.radii_mm)[0]) for lesion in lesions]
        assert [int((labels == lesion.code).sum()) for lesion in lesions] == sizes  # each is whole
        assert [lesion.code for lesion in lesions] == list(range(1, len(lesions) + 1))
        before = placed_once(block, alone, activity)
        if len(before[3]) == len(lesions) and rng.bit_generator.state == alone.bit_generator.state:
            assert before[3] == lesions and all(map(np.array_equal, before[:3], (changed, t1, labels)))
        else:
            again += 1
    assert 5 < again < 100


def test_the_lesions_of_a_seed_are_what_they_were_before_overlaps_were_looked_for(block):
    rng = np.random.default_rng(6)
    *_, lesions = tracer.add_lesions(block, np.ones(block.labels.shape, dtype=np.float32), rng)
    assert [lesion.centre_mm for lesion in lesions] == [(28, 60, 40), (20, 48, 24), (16, 22, 72)]
    assert [lesion.factor for lesion in lesions] == pytest.approx([1.3898, 1.4481, 0.6778], abs=1e-4)
    assert rng.random() == pytest.approx(0.3191495024)  # and so is whatever is drawn after them


def test_a_lesion_that_finds_no_place_is_left_out(block):
    tight = replace(block, gm=np.zeros_like(block.gm), wm=np.zeros_like(block.wm))
    tight.gm[20:22, 20, 20] = 1  # all lesions would lie here
    counts = set()
    for seed in range(60):
        *_, labels, lesions = tracer.add_lesions(
            tight, np.ones(block.labels.shape, np.float32), np.random.default_rng(seed)
        )
        counts.add(len(lesions))
        assert set(np.unique(labels)) - {0} == {lesion.code for lesion in lesions}
    assert counts == {0, 1}
