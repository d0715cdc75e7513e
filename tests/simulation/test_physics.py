"""Every piece of the physics is noticed when it is missing: attenuation, blur, bias field, noise, texture, the disease.

Most promises are kept at the level of draws: nothing is projected but one coarse phantom.
"""

from dataclasses import asdict, replace
from types import SimpleNamespace

import numpy as np
import pytest
from scipy import ndimage

from m2diff.simulation import cohort, regions, scanner, tracer
from m2diff.simulation import head as head_classes
from m2diff.simulation.anatomy import Anatomy
from m2diff.simulation.cohort import ATTENUATION, DosePlan, Recipe
from m2diff.simulation.mri import render_t1
from m2diff.simulation.projector import Geometry
from m2diff.simulation.scanner import FWHM_TO_SIGMA, Protocol, acquire, random_protocol, reconstruct
from m2diff.simulation.tissue_maps import Tissues

WATER = 0.0096  # 1/mm at 511 keV
DRAWS = 200
COARSE = Protocol(
    voxel_mm=5.0, slice_mm=5.0, pixels=48, slices=3, views=84, bin_mm=4.0, subsets=7, iterations=12, postfilter_mm=0.0,
    scatter_fraction=0.0, randoms_fraction=0.0,
)  # fmt: skip


# The scanner


@pytest.fixture(scope="module")
def cylinder():
    """A warm water cylinder of 80 mm radius on the coarse grid, edges shared with the air: (activity, attenuation)."""
    fine = (np.arange(48 * 10) - (48 * 10 - 1) / 2) * 0.5
    disc = (np.hypot(fine[:, None], fine[None, :]) < 80).reshape(48, 10, 48, 10).mean((1, 3))
    activity = np.repeat(disc[:, :, None], 3, axis=2).astype(np.float32)
    return activity, activity * np.float32(WATER)


def per_activity(acquisition):
    """Trues a ray in units of the line integral of the activity, (views, bins): without the scale to the counts."""
    bins = acquisition.protocol.geometry.bins
    trues = [e - b for e, b in zip(acquisition.expected, acquisition.background, strict=True)]
    return np.concatenate([t[:, 1].reshape(-1, bins) for t in trues]) / acquisition.sensitivity


def test_counts_are_attenuated_as_the_line_integral_says(cylinder):
    activity, attenuation = cylinder
    with_, without = (per_activity(acquire(activity, mu, COARSE)) for mu in (attenuation, attenuation * 0))
    bins = COARSE.geometry.bins
    s = (np.arange(bins) - (bins - 1) / 2) * COARSE.bin_mm
    inner = np.abs(s) < 70
    chord = 2 * np.sqrt(80**2 - s[inner] ** 2)
    survived = with_[:, inner] / without[:, inner]
    assert np.abs(survived - np.exp(-WATER * chord)).max() < 0.05
    assert survived.mean(0) == pytest.approx(np.exp(-WATER * chord), abs=0.01)  # a fifth, on a ray through the middle


def test_reconstruction_undoes_the_attenuation_and_would_not_without_its_map(cylinder):
    activity, attenuation = cylinder
    acquisition = acquire(activity, attenuation, COARSE)
    middle = activity[:, :, 1] == ndimage.minimum_filter(activity, (5, 5, 1))[:, :, 1]
    middle &= activity[:, :, 1] == 1
    corrected = reconstruct(acquisition, acquisition.expected)[:, :, 1][middle]
    assert np.abs(corrected - 1).mean() < 0.02
    blind = replace(acquisition, survival=[np.ones_like(a) for a in acquisition.survival])
    uncorrected = reconstruct(blind, acquisition.expected)[:, :, 1]
    assert uncorrected[24, 24] < 0.3 * corrected.mean()  # the middle looks cold where nothing corrects it


class Stopped(Exception):
    """Before anything is projected."""


@pytest.fixture
def scanned(monkeypatch):
    """What reaches the scanner of a person with one bright voxel: (activity, attenuation, activity, protocol)."""
    seen = []

    def stop(activity, attenuation, protocol):
        seen.extend((activity, attenuation))
        raise Stopped

    monkeypatch.setattr(scanner, "acquire", stop)
    shape = (41, 41, 41)
    tissue = np.zeros(shape, dtype=np.uint8)
    tissue[4:-4, 4:-4, 4:-4], tissue[7:-7, 7:-7, 7:-7], tissue[10:-10, 10:-10, 10:-10] = 1, 2, 3
    brain = (tissue == 3).astype(np.float32)
    zero = np.zeros(shape, dtype=np.float32)
    labels = brain.astype(np.int16)
    person = Anatomy("cube", brain, labels, brain, zero, zero, tissue, np.diag([3.0, 3.0, 3.0, 1.0]), True)
    protocol = Protocol(voxel_mm=3.0, slice_mm=3.0, pixels=48, slices=48, resolution_mm=12.0)
    activity = zero.copy()
    activity[20, 20, 20] = 1000.0
    with pytest.raises(Stopped):
        cohort._scan(
            person, SimpleNamespace(), protocol, activity, labels, (), DosePlan((4.0,)), np.random.default_rng(0)
        )
    return (*seen, activity, protocol)


def test_the_scanner_sees_activity_at_its_resolution(scanned):
    activity, _, before, protocol = scanned
    assert activity.sum() == pytest.approx(before.sum(), rel=0.01)
    sigma = protocol.resolution_mm * FWHM_TO_SIGMA
    for axis, step in enumerate(protocol.spacing):
        profile = activity.sum(tuple(a for a in range(3) if a != axis))
        place = np.arange(profile.size) * step
        centre = np.average(place, weights=profile)
        width = float(np.average((place - centre) ** 2, weights=profile)) ** 0.5
        assert width == pytest.approx(sigma, rel=0.1)  # the interpolation onto the grid adds a little


def test_the_scanner_is_given_the_attenuation_of_bone_brain_and_air(scanned):
    _, attenuation, _, _ = scanned
    assert attenuation.min() == 0  # air around the head
    assert attenuation[22:26, 22:26, 22:26] == pytest.approx(ATTENUATION[3], rel=1e-3)  # the brain
    assert ATTENUATION[2] * 0.8 < attenuation.max() <= ATTENUATION[2]  # the skull
    assert ATTENUATION[3] == pytest.approx(WATER, rel=0.1) and ATTENUATION[2] > 1.3 * ATTENUATION[3]


def test_random_scanners_vary_in_everything_within_their_ranges_and_are_legal():
    drawn = [random_protocol(np.random.default_rng(seed)) for seed in range(DRAWS)]
    ranges = {
        "voxel_mm": (1.6, 3.2),
        "slice_mm": (1.6, 3.4),
        "views": (110, 290),
        "bin_mm": (1.8, 3.0),
        "iterations": (1, 90),
        "subsets": (1, 21),
        "resolution_mm": (3.0, 7.0),
        "postfilter_mm": (0.0, 6.5),
        "scatter_fraction": (0.15, 0.45),
        "randoms_fraction": (0.1, 0.8),
        "counts": (0.35, 2.5),
    }
    for name, (low, high) in ranges.items():
        values = np.array([asdict(protocol)[name] for protocol in drawn])
        assert values.min() >= low and values.max() <= high, name
        assert np.ptp(values) > 0.6 * (high - low), name
        assert len(set(values)) >= min(7, DRAWS), name
    assert 0.05 < np.mean([protocol.postfilter_mm == 0 for protocol in drawn]) < 0.25
    assert {1, 4, 6, 8, 12, 14, 21} == {protocol.subsets for protocol in drawn}
    updates = [protocol.iterations * protocol.subsets for protocol in drawn]
    assert min(updates) >= 14 and max(updates) <= 100 and max(updates) > 2 * min(updates)
    for protocol in drawn:
        assert protocol.views % protocol.subsets == 0 and isinstance(protocol.geometry, Geometry)
        assert protocol.pixels % 2 == 0 and protocol.pixels * protocol.voxel_mm >= 256
        assert protocol.slices * protocol.slice_mm >= 180
        assert protocol.geometry.bins * protocol.bin_mm >= 256  # no ray through a head is missed


# The MRI


@pytest.fixture(scope="module")
def plain():
    """A ball of white matter whose T1 is the same everywhere, 2 mm."""
    shape = (64, 64, 64)
    ball = (np.sum((np.indices(shape) - 31.5) ** 2, axis=0) < 28**2).astype(np.float32)
    zero = np.zeros(shape, dtype=np.float32)
    return Tissues(100 * ball, 53 * ball.astype(np.int16), zero, ball, zero, np.diag([2.0, 2.0, 2.0, 1.0]))


def mri_of(plain, seed):
    """(shading, noise): the relative range of the smooth part of a T1 of white matter, the deviation of the rest."""
    tissue = np.where(plain.wm > 0, 3, 0).astype(np.uint8)
    t1 = render_t1(plain, tissue, np.random.default_rng(seed), spacing_mm=2.0, has_head=False)
    inside = ndimage.binary_erosion(plain.wm > 0, iterations=6)
    smooth = ndimage.gaussian_filter(t1, 4.0)
    shading = np.log(smooth[inside])
    beside = np.diff(t1, axis=0) / t1[:-1].clip(1e-3)
    return float(np.ptp(shading)), float(beside[inside[:-1]].std() / np.sqrt(2))


def test_every_mri_has_a_bias_field_and_noise_of_its_own(plain):
    shading, noise = np.array([mri_of(plain, seed) for seed in range(8)]).T
    assert shading.min() > 0.06 and shading.max() < 0.65
    assert noise.min() > 0.008 and noise.max() < 0.06
    assert np.ptp(shading) > 0.05 and np.ptp(noise) > 0.005


# The tracer


def test_uptake_within_a_region_is_not_flat_but_smoothly_textured():
    shape = (32, 32, 32)
    ones, zero = np.ones(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    labels = np.ones(shape, dtype=np.int16)
    head = np.full(shape, head_classes.BRAIN, dtype=np.uint8)
    person = Anatomy("one region", ones, labels, ones, zero, zero, head, np.diag([2.0, 2.0, 2.0, 1.0]), False)
    for seed in range(10):
        rng = np.random.default_rng(seed)
        uptake = tracer.draw_uptake(rng, "healthy")
        inside = tracer.activity_map(person, uptake, rng) / uptake.grey[1]
        assert 0.012 < inside.std() < 0.09 and inside.mean() == pytest.approx(1, abs=0.06)
        assert np.corrcoef(inside[1:].ravel(), inside[:-1].ravel())[0, 1] > 0.8  # no noise: neighbours are alike


def stem(code):
    return regions.REGIONS[code].removesuffix("_left").removesuffix("_right")


def patients():
    return [tracer.draw_uptake(np.random.default_rng(seed), "ad") for seed in range(DRAWS)]


def frontal(uptake):
    """Mean uptake of the frontal regions that are lost late, over that of spared cortex."""
    spared = [uptake.grey[code] for code in regions.both("postcentral_gyrus", "pericalcarine_cortex", "cuneus")]
    late = ("dorsolateral_frontal_cortex", "superior_frontal_gyrus")
    return np.mean([uptake.grey[code] for code in regions.both(*late)]) / np.mean(spared)


def test_frontal_uptake_is_lost_late_by_the_severe_and_not_by_the_mild():
    healthy = [frontal(tracer.draw_uptake(np.random.default_rng(seed), "healthy")) for seed in range(DRAWS)]
    people = patients()
    mild = [frontal(uptake) for uptake in people if uptake.severity < 0.5]
    severe = [frontal(uptake) for uptake in people if uptake.severity > 0.85]
    assert len(mild) > 30 and len(severe) > 20
    assert np.mean(mild) == pytest.approx(np.mean(healthy), rel=0.025)
    assert np.mean(severe) < 0.92 * np.mean(healthy)


def lean(uptake):
    """How much more the left side lost than the right, over the regions that the disease strikes."""
    struck = [code for code in range(1, 53, 2) if stem(code) in tracer.AD_LOSS and stem(code).endswith("cortex")]
    return float(np.mean([np.log(uptake.grey[code + 1] / uptake.grey[code]) for code in struck]))


def test_patients_lose_more_on_one_side_and_on_either_by_chance():
    flat = dict.fromkeys(range(1, 53), 1.0)
    leans = []
    for seed in range(DRAWS):
        after = tracer._with_ad_pattern(flat, 0.9, np.random.default_rng(seed))
        leans.append(lean(SimpleNamespace(grey=after)))
    assert np.std(leans) > 0.06  # regions alone, each a tenth up or down, would give 0.03
    assert 0.4 < np.mean(np.array(leans) > 0) < 0.6
    healthy = [lean(tracer.draw_uptake(np.random.default_rng(seed), "healthy")) for seed in range(DRAWS)]
    assert np.std([lean(uptake) for uptake in patients()]) > 1.4 * np.std(healthy)


def test_random_uptake_records_no_severity_since_it_has_no_pattern():
    """The group is the drawn one; nothing in the levels shows it."""
    for group in ("healthy", "ad"):
        uptake = tracer.draw_uptake(np.random.default_rng(0), group, "random")
        assert (uptake.group, uptake.pattern, uptake.severity) == (group, "random", None)
    assert tracer.draw_uptake(np.random.default_rng(0), "healthy").severity == 0


# The cohort


def test_mixed_heads_are_none_grown_and_mapped_in_the_stated_shares(tmp_path):
    recipe = Recipe(DosePlan((4.0,)), head="mixed", heads=tmp_path)
    rng = np.random.default_rng(0)
    for chosen, shares in ((recipe, (0.4, 0.3, 0.3)), (replace(recipe, heads=None), (0.4, 0.6, 0.0))):
        kinds = [cohort._head(chosen, rng) for _ in range(2000)]
        assert [kinds.count(kind) / 2000 for kind in ("none", "grown", "map")] == pytest.approx(shares, abs=0.04)


@pytest.mark.parametrize("head", ["none", "grown"])
def test_a_head_that_was_asked_for_is_not_mixed(head):
    recipe = Recipe(DosePlan((4.0,)), head=head, randomise=True)
    assert {cohort._head(recipe, np.random.default_rng(seed)) for seed in range(20)} == {head}


@pytest.fixture
def drawn(monkeypatch):
    """What is drawn for a cohort's people before anybody is made: their heads and the patterns of their uptake."""
    seen = SimpleNamespace(heads=[], patterns=[])
    draw = tracer.draw_uptake

    def uptake(rng, group, pattern):
        seen.patterns.append(pattern)
        return draw(rng, group, pattern)

    def stop(source, rng, head, heads):
        seen.heads.append(head)
        raise Stopped

    monkeypatch.setattr(cohort.tracer, "draw_uptake", uptake)
    monkeypatch.setattr(cohort, "make_person", stop)

    def people(recipe, count=DRAWS):
        for number in range(count):
            with pytest.raises(Stopped):
                cohort.simulate_person(recipe, number)
        return seen

    return people


def test_of_a_randomised_cohort_half_wear_a_head_and_a_quarter_has_random_uptake(drawn):
    seen = drawn(Recipe(DosePlan((4.0,)), seed=2, randomise=True, head="mixed"))
    assert len(seen.heads) == DRAWS and sum(head != "none" for head in seen.heads) >= DRAWS / 2
    assert 0.15 < seen.patterns.count("random") / DRAWS < 0.35
    assert set(seen.patterns) == {"fdg", "random"}


def test_without_randomise_nobody_has_random_uptake(drawn):
    assert set(drawn(Recipe(DosePlan((4.0,)), head="mixed"), 20).patterns) == {"fdg"}
