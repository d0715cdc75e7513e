"""The regions: their atlas, their place in the brain, left and right, and the way to other grids."""

import numpy as np
import pytest

from m2diff.errors import BadInput
from m2diff.parcellation import atlas, segment, space
from m2diff.volume import Volume

FLIP = np.diag([-1.0, 1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def template() -> Volume:
    from nilearn import datasets

    image = datasets.load_mni152_template(resolution=2)
    return Volume(np.asarray(image.dataobj, dtype=np.float32), np.asarray(image.affine))


@pytest.fixture(scope="module")
def found(template: Volume) -> np.ndarray:
    return segment.find(template).regions_on(template.affine, template.shape)


def centre(labels: np.ndarray, affine: np.ndarray, name: str) -> np.ndarray:
    number = {name: number for number, name in atlas.regions().items()}[name]
    return (affine @ [*np.argwhere(labels == number).mean(0), 1.0])[:3]


@pytest.mark.parametrize(
    ("name", "world"),
    [  # centres of mass in MNI152, mm, as any atlas of it has them
        ("hippocampus_left", (-26, -22, -14)),
        ("hippocampus_right", (27, -21, -14)),
        ("caudate_left", (-13, 10, 10)),
        ("putamen_right", (26, 3, 0)),
        ("thalamus_left", (-11, -18, 8)),
        ("precuneus_right", (9, -56, 45)),
        ("cerebellar_cortex_left", (-25, -63, -35)),
        ("pons", (0, -28, -32)),
        ("precentral_gyrus_left", (-40, -8, 48)),
        ("lingual_gyrus_right", (13, -68, -4)),
    ],
)
def test_regions_lie_where_anatomy_has_them(found, template, name, world):
    assert np.abs(centre(found, template.affine, name) - world).max() < 8


def test_there_are_fifty_regions_and_more_and_all_are_found(found):
    assert len(atlas.regions()) >= 50
    volumes = np.bincount(found.ravel(), minlength=80) * 8 / 1000
    assert [name for number, name in atlas.regions().items() if volumes[number] < 0.2] == []


def test_a_mirrored_head_has_its_sides_exchanged(found, template):
    """The same voxels, the x axis of the header reversed: what was left is right."""
    mirrored = Volume(template.data, FLIP @ template.affine)
    theirs = segment.find(mirrored).regions_on(mirrored.affine, mirrored.shape)
    names = {name: number for number, name in atlas.regions().items()}
    for stem in ("hippocampus", "putamen", "superior_temporal_gyrus"):
        left, right = (found == names[f"{stem}_{side}"] for side in ("left", "right"))
        swapped = theirs == names[f"{stem}_right"]
        assert (left & swapped).sum() > 5 * (right & swapped).sum()


def test_what_holds_no_brain_is_refused():
    noise = np.random.default_rng(0).random((60, 60, 60)).astype(np.float32)
    with pytest.raises(BadInput, match="No brain was found"):
        segment.find(Volume(noise, np.diag([3.0, 3.0, 3.0, 1.0])))


def test_labels_on_their_own_grid_are_unchanged():
    labels = np.random.default_rng(1).integers(0, 5, (9, 8, 7)).astype(np.int16)
    assert np.array_equal(segment.voted(labels, np.eye(4), labels.shape), labels)


def test_a_shifted_grid_takes_the_label_of_the_larger_share():
    labels = np.zeros((10, 6, 6), dtype=np.int16)
    labels[5:] = 3
    for shift, edge in ((0.4, 5), (0.6, 4)):
        index = np.eye(4)
        index[0, 3] = shift
        out = segment.voted(labels, index, (9, 6, 6))
        assert np.flatnonzero(out[:, 3, 3])[0] == edge


def test_the_pons_is_the_middle_of_the_brain_stem():
    fine = np.zeros(space.SHAPE, dtype=np.int16)
    stem = next(n for n, each in enumerate(atlas.classes()) if each.group == "brainstem")
    fine[38:42, 40:44, 10:50] = 2 * stem
    out = segment.grouped(fine)
    names = {name: number for number, name in atlas.regions().items()}
    heights = np.flatnonzero((out == names["pons"]).any((0, 1)))
    assert heights.min() == pytest.approx(10 + 0.35 * 39, abs=1.5)
    assert heights.max() == pytest.approx(10 + 0.75 * 39, abs=1.5)
    assert (out == names["brainstem"]).any()


def test_every_neuromorphometrics_label_has_its_class_and_side():
    numbers = np.array([[[47, 48, 35, 71, 4, 46, 126, 131, 250]]])
    classes, sides = atlas.from_neuromorphometrics(numbers)
    names = [atlas.classes()[n].name for n in classes.ravel()]
    assert names[:6] == ["hippocampus", "hippocampus", "brain stem", "vermis I-V", "ventricles", "fluid"]
    assert names[6:] == ["opercular", "anterior orbital", "outside"]
    assert sides.ravel().tolist() == [1, -1, 0, 0, 0, 0, 1, -1, 0]


def test_without_an_mri_the_average_lies_on_the_pet(template):
    """A PET that looks as FDG does: grey is bright. The hippocampus of the average lies within a centimetre."""
    from nilearn import datasets
    from scipy import ndimage

    grey = datasets.load_mni152_gm_template(resolution=2)
    white = datasets.load_mni152_wm_template(resolution=2)
    uptake = np.asarray(grey.dataobj) + 0.4 * np.asarray(white.dataobj)
    pet = Volume(ndimage.gaussian_filter(uptake.astype(np.float32), 1.5), np.asarray(grey.affine))
    parcels = segment.from_template(pet)
    assert parcels.source == "template"
    labels = parcels.regions_on(pet.affine, pet.shape)
    assert np.abs(centre(labels, pet.affine, "hippocampus_left") - (-26, -22, -14)).max() < 10
