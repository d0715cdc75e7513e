"""Uptake follows the table of normals, Alzheimer's spares what it spares, lesions are recorded as they are."""

import numpy as np
import pytest

from m2diff.simulate import regions, tracer
from m2diff.simulate.anatomy import Anatomy


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
    head = np.full(shape, tracer.BRAIN, dtype=np.uint8)
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
            if len(lesions) == 1:  # alone, so no other lesion overlaps it
                pet, mri = (lesion.factor, 1.0) if lesion.kind != "mri_only" else (1.0, lesion.factor)
                assert np.allclose(changed[inside], pet) and np.allclose(t1[inside], 100 * mri)
                assert np.allclose(changed[~inside], 1) and np.allclose(t1[~inside], 100)
    assert seen == {"pet_hot", "pet_cold", "mri_only"}
