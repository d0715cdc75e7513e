"""The second simulated world: projector and reconstruction against analytic truths, and the cohort that it writes."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from scipy import ndimage

import persons
import physics
import uptake
from m2diff.errors import BadInput
from m2diff.evaluation.case import Case
from m2diff.io import bids, nifti
from physics import Scanner
from tof import Geometry, Projector
from world import make_cohort

pytestmark = pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
SMALL = Geometry(pixels=32, slices=24, pixel_mm=4.0, slice_mm=4.0, angles=16, ring_mm=300.0, psf_mm=6.0)
TINY = Scanner(SMALL, blur_mm=6.0, trues=2e6, iterations=2, subsets=4, filter_mm=4.0)


def cylinder(geometry: Geometry, radius_mm: float) -> np.ndarray:
    inside = np.hypot(geometry.across[:, None], geometry.across) < radius_mm
    return np.repeat(inside[..., None], geometry.shape[2], axis=2).astype(np.float32)


@pytest.mark.parametrize("fine", [1, 2])
@pytest.mark.parametrize("angle", [0, 3, 8])
def test_back_is_the_transpose_of_forward(fine, angle):
    geometry = replace(SMALL, fine=fine)
    projector, generator = Projector(geometry), torch.Generator().manual_seed(0)
    image = torch.rand(*geometry.shape, 2, generator=generator)
    views = projector.forward(image, angle)
    others = [torch.rand(view.shape, generator=generator) for view in views]
    there = sum((view * other).sum(dtype=torch.float64) for view, other in zip(views, others, strict=True))
    back = (image * projector.back(others, angle)).sum(dtype=torch.float64)
    assert float(there) == pytest.approx(float(back), rel=1e-5)


def test_a_ray_through_a_cylinder_measures_its_chord():
    geometry = replace(SMALL, fine=2, slopes=(0.0, 0.3), ring_mm=200.0)  # steep: a chord is 4 % longer
    image = torch.from_numpy(cylinder(geometry, 50.0))[..., None]
    for angle in (0, 3, 8):
        views, paths = Projector(geometry).forward(image, angle), Projector(geometry).paths(image, angle)
        for slope, view, path in zip(geometry.slopes, views, paths, strict=True):
            chord = 100 * np.hypot(1, slope)
            for line in (view[..., 0].sum(1), path):
                assert float(line[30:34, 5:-5].mean()) == pytest.approx(chord, rel=0.02)


def test_time_of_flight_tells_where_on_its_ray_a_source_lies():
    geometry, image = SMALL, torch.zeros(*SMALL.shape, 1)
    image[16, 22, 12] = 1.0  # 26 mm along the rays of the first angle
    view = Projector(geometry).forward(image, 0)[1][..., 0].sum((0, 2))
    centres = (np.arange(geometry.tof_bins) + 0.5) / geometry.tof_bins * 128 - 64
    wide = replace(geometry, tof_bins=40)  # fine bins: the spread itself
    bins = Projector(wide).forward(image, 0)[1][..., 0].sum((0, 2)).numpy()
    places = (np.arange(40) + 0.5) / 40 * 128 - 64
    assert centres[int(view.argmax())] == pytest.approx(26, abs=16)
    assert places[1:-1][bins[1:-1].argmax()] == pytest.approx(26, abs=2)
    half = places[1:-1][bins[1:-1] > bins[1:-1].max() / 2].min()
    assert 26 - half == pytest.approx(400 * 0.1499 / 2, abs=3.5)  # 400 ps: 60 mm from half to half


def test_without_noise_a_uniform_cylinder_comes_back_at_its_value():
    scanner = replace(TINY, iterations=4)
    solid = cylinder(replace(SMALL, fine=2), 50.0)
    with torch.inference_mode():
        counts = physics.expect(7000 * solid, 0.0096 * solid, scanner)
        image = physics.reconstruct(counts, physics.draw(counts, [1.0], np.random.default_rng(0)), scanner)[..., -1]
    inner = cylinder(SMALL, 36.0)[..., 4:-4] > 0
    assert image[..., 4:-4][inner].mean() == pytest.approx(7000, rel=0.01)
    assert image[..., 4:-4][inner].std() < 0.02 * 7000
    assert image[cylinder(SMALL, 61.0) == 0].max() < 700


def test_doses_are_nested_poisson_counts_of_the_same_mean():
    expected = np.full((60, 8, 30), 6.0, np.float32)
    counts = physics.Counts([[expected]], [], [], 1.0)
    factors = np.array([1.0, 4.0, 20.0])
    drawn = physics.draw(counts, factors, np.random.default_rng(0))[0][0].numpy()
    kept = drawn[..., :3] / factors
    np.testing.assert_allclose(kept, np.rint(kept), atol=1e-5)
    assert (np.diff(kept, axis=-1) <= 1e-5).all()  # no count appears at a lower dose
    error = np.sqrt(6.0 / factors / expected.size)
    assert (abs(kept.mean((0, 1, 2)) - 6.0 / factors) < 4 * error).all()
    np.testing.assert_allclose(kept.var((0, 1, 2)), 6.0 / factors, rtol=0.05)
    assert np.corrcoef(kept[..., 0].ravel(), kept[..., 1].ravel())[0, 1] == pytest.approx(0.5, abs=0.03)  # sqrt(1 / 4)
    np.testing.assert_array_equal(drawn[..., 3], expected)


def test_every_region_has_a_level_of_its_own_and_sides_differ_a_little():
    names = {code: f"{side} region {code // 2}" for code in range(100, 500) for side in [("Right", "Left")[code % 2]]}
    levels = uptake.draw_levels(names, np.random.default_rng(0))
    assert len(set(levels.values())) == 400
    logs = np.log([levels[code] for code in range(100, 500)]).reshape(-1, 2)
    assert logs.mean(1).std() == pytest.approx(0.12, abs=0.02)
    assert (logs[:, 0] - logs[:, 1]).std() == pytest.approx(0.05, abs=0.008)
    means = uptake.draw_levels({61: "Right Ventral DC", 51: "Right Lateral Ventricle"}, np.random.default_rng(0))
    assert means[61] > 5 * means[51]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A made-up head in the anatomies' files: white matter in a ball of grey, a nucleus, a gap, a capsule outside."""
    folder = tmp_path_factory.mktemp("anatomies")
    place = np.indices((80, 84, 76)) - np.array([40, 42, 38]).reshape(3, 1, 1, 1)
    radius = np.sqrt((place**2).sum(0))
    right = place[0] >= 0
    tissues = np.select([radius < 22, radius < 30, radius < 32], [3, 2, 1], 0)
    labels = np.select([radius < 22, radius < 31], [np.where(right, 44, 45), np.where(right, 142, 143)], 0)
    labels[np.sqrt(((place - np.array([10, 0, 0]).reshape(3, 1, 1, 1)) ** 2).sum(0)) < 7] = 59
    labels[(place[1] > 26) & (abs(place[0]) < 4)] = 0  # a gap in the atlas
    tissues[:6, :6, :6] = 3  # the capsule
    t1 = np.array([0, 30, 80, 120])[tissues] * (radius < 33)
    affine = np.diag([-1.0, 1.0, 1.0, 1.0])  # as filed: the first axis towards the left
    for what, image in (("SS", t1), ("glm", labels), ("tissues", tissues)):
        nib.save(nib.Nifti1Image(image[::-1].astype(np.int16), affine), folder / f"7_{what}.nii.gz")
    names = {
        44: "Right Cerebral White Matter",
        45: "Left Cerebral White Matter",
        46: "CSF",
        59: "Right Thalamus Proper",
    }
    names |= {142: "Right MFG   middle frontal gyrus", 143: "Left MFG   middle frontal gyrus"}
    rows = ["Label Number,Label Name,Class", *(f"{code},{name},GM" for code, name in names.items())]
    (folder / "Label-Information.csv").write_text("\n".join(rows))
    return folder


@pytest.fixture(scope="module")
def cohort(folder, tmp_path_factory):
    out = tmp_path_factory.mktemp("world") / "cohort"
    return make_cohort(folder, ["7"], out, drfs=[4, 20], scanner=TINY)


def test_anatomies_are_read_without_gaps_and_without_what_lies_outside(folder):
    anatomy = persons.read(folder, "7")
    assert (anatomy.labels[anatomy.tissues > 0] > 0).all()
    assert anatomy.labels[40, 42 + 29, 38] in (142, 143)  # in the gap
    assert anatomy.labels[40, 42 + 31, 38] == persons.FLUID
    assert anatomy.tissues[:6, :6, :6].max() == 0
    assert np.argwhere(anatomy.labels == 142)[:, 0].mean() > np.argwhere(anatomy.labels == 143)[:, 0].mean()


def test_a_made_person_is_a_case(cohort):
    (subject,) = bids.find_subjects(cohort)
    case = Case.load(cohort, subject)
    assert (subject.label, subject.person, subject.group) == ("7", "7", "healthy")
    assert sorted(case.low) == [4.0, 20.0]
    assert np.shape(case.record["t1_header_error"]) == (4, 4)
    assert all(case.standard.same_grid(other) for other in (case.noise_free, case.mask, case.labels, case.lesions))
    assert case.standard.unit == "Bq/mL"
    assert {str(int(code)) for code in np.unique(case.labels.data[case.mask.data > 0])} <= {
        "0",
        *case.record["regions"],
    }
    inside, worst = case.mask.data > 0, []
    for image in (case.standard, case.low[4.0], case.low[20.0]):
        worst.append(np.abs(image.data - case.noise_free.data)[inside].mean())
        assert image.data[inside].mean() == pytest.approx(case.noise_free.data[inside].mean(), rel=0.02)
    assert worst == sorted(worst)
    assert np.isfinite(case.judge(case.low[20.0], 20.0).scores.psnr)


def test_the_truth_has_the_recorded_levels_and_lesions(cohort):
    (subject,) = bids.find_subjects(cohort)
    case, truth = Case.load(cohort, subject), nifti.load(subject.truth).data
    healthy = case.lesions.data == 0
    for code in (44, 59):
        core = ndimage.binary_erosion(case.labels.data == code) & healthy
        assert truth[core].mean() == pytest.approx(case.record["levels"][str(code)], rel=0.2)
    for lesion in case.record["lesions"]:
        index = np.linalg.inv(case.labels.affine) @ [*lesion["centre_mm"], 1]
        assert case.lesions.data[tuple(np.rint(index[:3]).astype(int))] == lesion["code"]


@pytest.mark.parametrize("seed", range(3))
def test_the_t1_lies_where_its_header_and_the_error_say(folder, seed):
    anatomy, rng = persons.read(folder, "7"), np.random.default_rng(seed)
    warp = persons.draw_warp(anatomy, rng, reach_mm=80)
    image, affine, error = persons.make_t1(anatomy, warp, rng)
    assert 0.4 < np.linalg.norm(error[:3, 3]) <= 3.0
    assert 0.4 < np.degrees(np.arccos((np.trace(error[:3, :3]) - 1) / 2)) <= 3.0
    points = rng.uniform(-36, 36, (3, 20000)).astype(np.float32)
    expected = persons.read_at(anatomy.t1, warp.native(points))

    def likeness(error: np.ndarray) -> float:
        placed = np.linalg.inv(affine) @ error @ np.vstack([points, np.ones(points.shape[1])])
        return float(np.corrcoef(persons.read_at(image, placed[:3]), expected)[0, 1])

    assert likeness(error) > 0.98
    assert likeness(error) > max(likeness(np.eye(4)), likeness(np.linalg.inv(error))) + 0.005


def test_making_goes_on_and_refuses_other_settings(cohort, folder, monkeypatch):
    (subject,) = bids.find_subjects(cohort)
    before = {path: path.read_bytes() for path in cohort.rglob("*.nii.gz")}
    monkeypatch.setattr("world.simulate", lambda *_: pytest.fail("a finished person is made again"))
    make_cohort(folder, ["7"], cohort, drfs=[4, 20], scanner=TINY)
    monkeypatch.undo()
    subject.record.unlink()
    make_cohort(folder, ["7"], cohort, drfs=[4, 20], scanner=TINY)
    assert {path: path.read_bytes() for path in cohort.rglob("*.nii.gz")} == before
    with pytest.raises(BadInput, match="other settings"):
        make_cohort(folder, ["7"], cohort, drfs=[4], scanner=TINY)


@pytest.mark.parametrize(("persons_asked", "drfs", "says"), [(["8"], [4], "does not exist"), (["7"], [1], "above 1")])
def test_what_is_not_there_or_makes_no_sense_is_refused(folder, tmp_path, persons_asked, drfs, says):
    with pytest.raises(BadInput, match=says):
        make_cohort(folder, persons_asked, tmp_path / "out", drfs=drfs, scanner=TINY)
    with pytest.raises(BadInput, match="no table"):
        persons.names(Path(tmp_path))
