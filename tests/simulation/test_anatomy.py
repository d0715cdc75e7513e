"""Persons: no two alike, the same seed the same person, every region where it belongs, sources found or refused."""

import os
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from m2diff.errors import BadInput
from m2diff.simulation import mni, regions, sources
from m2diff.simulation.anatomy import make_person
from m2diff.simulation.sources import AnatomySource, find_sources, mni_source

SHARED = Path(os.environ.get("M2DIFF_SHARED", Path(__file__).parents[2] / "../shared"))
COARSE = 2.5


def person(seed, source=None, **kwargs):
    kwargs = {"head": "none", "resolution_mm": COARSE} | kwargs
    return make_person(source or mni_source(), np.random.default_rng(seed), **kwargs)


@pytest.fixture(scope="module")
def two():
    return person(0), person(1)


def centre(anatomy, name):
    """The middle of a region in mm from the middle of the brain."""
    where = np.argwhere(anatomy.labels == regions.CODES[name])
    brain = np.argwhere(anatomy.labels > 0)
    return (where.mean(0) - (brain.min(0) + brain.max(0)) / 2) * COARSE


def common(first, second):
    """Two images cut to the box that both have."""
    cut = tuple(slice(0, min(a, b)) for a, b in zip(first.shape, second.shape, strict=True))
    return first[cut], second[cut]


def test_the_same_seed_gives_the_same_person_and_another_seed_another(two):
    again = person(0)
    for name in ("t1", "labels", "gm", "wm", "csf", "tissue_class", "affine"):
        assert np.array_equal(getattr(two[0], name), getattr(again, name)), name
    first, second = common(two[0].t1, two[1].t1)
    assert np.corrcoef(first.ravel(), second.ravel())[0, 1] < 0.95
    grey, other = common(two[0].gm > 0.5, two[1].gm > 0.5)
    assert 2 * (grey & other).sum() / (grey.sum() + other.sum()) < 0.9


def test_contrast_differs_between_people(two):
    def ratio(p):
        return np.median(p.t1[p.gm > 0.95]) / np.median(p.t1[p.wm > 0.95])

    ratios = [ratio(p) for p in two]
    assert max(ratios) < 1 and abs(ratios[0] - ratios[1]) > 0.02


def test_the_default_anatomy_has_every_region(two):
    for anatomy in two:
        counts = np.bincount(anatomy.labels.ravel(), minlength=61)
        small = [regions.REGIONS[code] for code in range(1, 53) if counts[code] * COARSE**3 < 300]
        assert not small


def test_fractions_are_fractions_and_agree_with_the_labels(two):
    for anatomy in two:
        total = anatomy.gm + anatomy.wm + anatomy.csf
        assert total.min() >= 0 and total.max() < 1.001
        assert (total[anatomy.labels == 0] > 0.5).mean() < 1e-2
        white = np.isin(anatomy.labels, regions.WHITE_MATTER)
        assert (
            anatomy.wm[white].mean() > 0.75
            and anatomy.gm[~white & (anatomy.labels > 0) & (anatomy.labels < 60)].mean() > 0.6
        )


def test_the_axes_point_right_front_and_up():
    anatomy = person(3, pose=False)
    assert (np.diag(anatomy.affine)[:3] == COARSE).all()
    assert centre(anatomy, "thalamus_left")[0] < 0 < centre(anatomy, "thalamus_right")[0]
    assert (
        centre(anatomy, "orbitofrontal_cortex_left")[1] > 30
        and centre(anatomy, "lateral_occipital_cortex_left")[1] < -40
    )
    assert centre(anatomy, "paracentral_lobule_left")[2] > 40 and centre(anatomy, "cerebellar_cortex_left")[2] < -25


def test_regions_lie_where_they_belong(two):
    for anatomy in two:
        posterior, anterior = (centre(anatomy, f"{name}_cingulate_cortex_left") for name in ("posterior", "anterior"))
        assert posterior[1] < anterior[1] - 20
        assert centre(anatomy, "precuneus_left")[1] < posterior[1]
        assert abs(centre(anatomy, "insula_right")[0]) > abs(centre(anatomy, "putamen_right")[0])
        assert centre(anatomy, "pons")[2] < centre(anatomy, "thalamus_left")[2] - 20


def test_nuclei_count_as_grey_matter(two):
    for code in regions.both("thalamus", "globus_pallidus"):
        assert two[0].gm[two[0].labels == code].mean() > 0.8


@pytest.mark.parametrize("head", ["none", "grown"])
def test_a_stripped_person_is_dark_outside_and_a_head_is_not(head):
    anatomy = person(4, head=head)
    outside = (anatomy.gm + anatomy.wm + anatomy.csf) < 0.01
    assert anatomy.has_head == (head == "grown")
    assert (anatomy.t1[outside].max() > 0) == anatomy.has_head
    assert set(np.unique(anatomy.tissue_class)) == ({0, 3} if head == "none" else {0, 1, 2, 3, 4})


def test_a_finer_grid_shows_the_same_shape():
    fine, coarse = person(5, resolution_mm=2.0), person(5, resolution_mm=4.0)
    assert fine.gm.sum() * 8 == pytest.approx(coarse.gm.sum() * 64, rel=0.03)


def test_seeds_without_an_affine_fit_the_brains_box():
    brain = np.zeros((40, 48, 42), dtype=bool)
    brain[2:-2, 2:-2, 2:-2] = True
    labels = mni.label_by_seeds(brain)
    assert set(range(1, 53)) <= set(np.unique(labels))
    assert np.argwhere(labels == regions.CODES["cuneus_left"])[:, 1].mean() < 16


# Folders of anatomies


def save(path, data, affine=None):
    nib.save(nib.Nifti1Image(data, np.diag([3.0, 3.0, 3.0, 1.0]) if affine is None else affine), path)


@pytest.fixture
def people(tmp_path):
    """One person in the labelled layout: a ball of grey around white, left and right, and a capsule beside the head."""
    shape = (48, 56, 48)
    place = np.indices(shape) - np.array([24, 28, 24]).reshape(3, 1, 1, 1)
    radius = np.sqrt((place**2).sum(0))
    tissues = np.select([radius < 4, radius < 13, radius < 18, radius < 20], [1, 3, 2, 1], 0).astype(np.int16)
    right = place[0] > 0
    labels = np.select([tissues == 2, tissues == 3], [np.where(right, 168, 169), np.where(right, 44, 45)], 0)
    labels[:, 28:36, 40] = 0  # a gap of the atlas, still grey in the tissues
    tissues[2:4, 2:4, 2:4], labels[2:4, 2:4, 2:4] = 2, 74
    t1 = np.choose(tissues, [0, 100, 300, 500]).astype(np.int16)
    for ending, data in (("SS", t1), ("glm", labels.astype(np.int16)), ("tissues", tissues)):
        save(tmp_path / f"ann_{ending}.nii.gz", data)
    return tmp_path


def test_labelled_people_are_found_and_loaded(people):
    (source,) = find_sources(people)
    tissues = source.load()
    assert (source.person, source.kind) == ("ann", "labelled")
    assert max(tissues.labels.shape) < 48  # the capsule is gone, the box is the brain's
    grey = (tissues.gm > 0.9) & (tissues.labels != regions.CSF)
    assert set(np.unique(tissues.labels[grey])) == set(regions.both("precuneus"))  # the gap is filled
    anatomy = person(0, source, resolution_mm=4.0, head="grown")
    assert anatomy.person == "ann" and np.isin(regions.WHITE_MATTER[:2], anatomy.labels).all()


def tissue_maps(people, folder):
    """The same person as a T1 with tissue maps, without labels; the folder."""
    folder.mkdir()
    tissues = np.asarray(nib.load(people / "ann_tissues.nii.gz").dataobj)
    save(folder / "sub-1_desc-preproc_T1w.nii.gz", np.choose(tissues, [0, 100, 300, 500]).astype(np.int16))
    for code, name in ((1, "CSF"), (2, "GM"), (3, "WM")):
        save(folder / f"sub-1_label-{name}_probseg.nii.gz", (tissues == code).astype(np.float32))
    return folder


def test_tissue_maps_are_enough(people, tmp_path):
    (source,) = find_sources(tissue_maps(people, tmp_path / "bids"))
    assert (source.person, source.kind) == ("sub-1", "tissue maps")
    found = np.unique(source.load().labels)
    assert len(set(found) & set(range(1, 53))) > 25


def test_orientation_on_disk_makes_no_difference(people, tmp_path):
    flipped = tmp_path / "flipped"
    flipped.mkdir()
    for path in people.glob("ann_*.nii.gz"):
        image = nib.load(path)
        save(flipped / path.name, np.asarray(image.dataobj)[::-1], np.diag([-3.0, 3.0, 3.0, 1.0]))
    ours, theirs = (person(2, find_sources(folder)[0], resolution_mm=4.0) for folder in (people, flipped))
    assert np.array_equal(ours.labels, theirs.labels)


def test_what_is_no_folder_of_anatomies_is_refused(tmp_path, people):
    with pytest.raises(BadInput, match="expected a folder"):
        find_sources(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="holds no anatomy"):
        find_sources(tmp_path / "empty")
    (people / "ann_tissues.nii.gz").unlink()
    with pytest.raises(BadInput, match="ann_tissues"):
        find_sources(people)


def test_images_on_two_grids_are_refused(people):
    save(people / "ann_tissues.nii.gz", np.ones((10, 10, 10), dtype=np.int16))
    with pytest.raises(BadInput, match="another grid"):
        find_sources(people)[0].load()


def test_a_truncated_anatomy_is_refused(people):
    path = people / "ann_SS.nii.gz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(BadInput, match="cannot be read"):
        find_sources(people)[0].load()


def test_a_mapped_head_needs_a_folder_of_heads():
    with pytest.raises(BadInput, match="folder of head label maps"):
        person(0, head="map")


def test_a_source_is_not_read_before_it_is_needed():
    assert AnatomySource("ghost", "labelled", (("t1", Path("nowhere.nii")),)).person == "ghost"


def test_real_people_have_every_region_and_lose_what_lies_beside_the_head():
    folder = SHARED / "data/malf"
    if not folder.is_dir():
        pytest.skip("needs data/malf under M2DIFF_SHARED")
    source = next(s for s in find_sources(folder) if s.person == "1002")
    anatomy = person(0, source)
    counts = np.bincount(anatomy.labels.ravel(), minlength=61)
    assert [regions.REGIONS[code] for code in range(1, 53) if counts[code] == 0] == []
    assert centre(anatomy, "precuneus_left")[1] < -15 and centre(anatomy, "hippocampus_left")[0] < -8
    assert max(anatomy.labels.shape) * COARSE < 215


UNKNOWN = {"nothing": lambda labels: labels * 0, "another atlas": lambda labels: np.where(labels > 0, labels + 400, 0)}


@pytest.mark.parametrize("what", UNKNOWN)
def test_labels_of_no_known_atlas_are_refused_in_one_sentence(people, what):
    """Silently, they would make a brain whose grey matter takes up nothing."""
    path = people / "ann_glm.nii.gz"
    save(path, UNKNOWN[what](np.asarray(nib.load(path).dataobj)).astype(np.int16))
    came = {"nothing": "none", "another atlas": "444, 445, 568, 569"}[what]
    told = rf"ann_glm.*must hold FreeSurfer.*Neuromorphometrics.*its labels \({came}\) give a region to 0% of it; give"
    with pytest.raises(BadInput, match=told):
        find_sources(people)[0].load()


def test_an_empty_label_map_beside_tissue_maps_is_refused(people, tmp_path):
    folder = tissue_maps(people, tmp_path / "bids")
    save(folder / "sub-1_desc-aparcaseg_dseg.nii.gz", np.zeros((48, 56, 48), dtype=np.int16))
    with pytest.raises(BadInput, match=r"aparcaseg_dseg.*its labels \(none\) give a region to 0% of it"):
        find_sources(folder)[0].load()


def test_labels_that_miss_the_grey_matter_are_refused():
    codes, grey = np.zeros((4, 4, 4), dtype=np.int16), np.ones((4, 4, 4), dtype=np.float32)
    with pytest.raises(BadInput, match="must name a region of its grey matter"):
        sources.complete_labels(codes, grey, 0 * grey, 0 * grey)


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("ending", ["SS", "tissues"])
def test_an_anatomy_that_holds_no_number_is_refused(people, value, ending):
    path = people / f"ann_{ending}.nii.gz"
    data = np.asarray(nib.load(path).dataobj).astype(np.float32)
    data[24, 28, 24:26] = value
    save(path, data)
    with pytest.raises(BadInput, match=rf"ann_{ending}.*must hold finite numbers, but 2 of its voxels.*mend it"):
        find_sources(people)[0].load()
