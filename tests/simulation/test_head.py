"""A head has its layers in order, and the brain lies inside the skull."""

from itertools import pairwise

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from m2diff.errors import BadInput
from m2diff.simulation import head
from m2diff.simulation.head import AIR, BRAIN, SKULL, SOFT

STEP = 3.0
AFFINE = np.diag([STEP, STEP, STEP, 1.0])


def ellipsoid(shape, centre, radii):
    grid = np.indices(shape).reshape(3, *shape)
    return sum(((axis - c) / r) ** 2 for axis, c, r in zip(grid, centre, radii, strict=True)) < 1


@pytest.fixture(scope="module")
def brain():
    return ellipsoid((66, 80, 80), (33, 40, 42), (23, 29, 24))


@pytest.fixture
def head_file(tmp_path):
    """A head whose brain lies elsewhere and is smaller, with a skull of two kinds of bone and skin."""
    shape, centre = (80, 90, 90), (40, 43, 46)
    labels = np.zeros(shape, dtype=np.int16)
    for code, radius in ((511, 30), (507, 29), (515, 26), (516, 24.7), (24, 23), (42, 21), (2, 21)):
        labels[ellipsoid(shape, centre, (radius, radius * 1.15, radius))] = code
    affine = np.array([[-STEP, 0, 0, 200], [0, STEP, 0, -90], [0, 0, STEP, -60], [0, 0, 0, 1.0]])
    path = tmp_path / "head_seg.nii.gz"
    nib.save(nib.Nifti1Image(labels, affine), path)
    return path


def assert_brain_is_inside_the_skull(classes, brain):
    assert (classes[brain] == BRAIN).all()
    top = brain.nonzero()[2].min() + int(0.55 * np.ptp(brain.nonzero()[2]))
    air, _ = ndimage.label(classes == AIR)
    outside = air == air[0, 0, -1]
    bone = ndimage.binary_dilation(classes == SKULL)
    reach = ndimage.binary_propagation(brain, mask=~bone & (np.arange(brain.shape[2]) >= top))
    assert not (reach & outside).any()  # nothing leads from the upper brain to the air but through bone


def layers_going_up(classes, brain):
    """The classes met from the brain's middle to the top of the box, each once."""
    i, j, k = (int(np.mean(axis)) for axis in brain.nonzero())
    line = classes[i, j, k:]
    return [int(line[0]), *(int(b) for a, b in pairwise(line) if a != b)]


def test_a_grown_head_is_brain_skull_scalp_and_air(brain):
    for seed in range(3):
        classes = head.grow_head(brain, np.random.default_rng(seed), STEP)
        assert layers_going_up(classes, brain) == [BRAIN, SKULL, SOFT, AIR]
        assert_brain_is_inside_the_skull(classes, brain)


def test_a_grown_head_has_a_face_in_front_and_a_neck_below(brain):
    classes = head.grow_head(brain, np.random.default_rng(0), STEP)
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    below = classes[:, :, : box[2].start]
    assert (below == SOFT).mean() > 0.1
    assert (classes == head.EYES).any()
    eyes = np.argwhere(classes == head.EYES)
    assert eyes[:, 1].mean() > 60  # in front
    assert np.ptp(eyes[:, 0]) * STEP > 50  # two of them


def test_two_grown_heads_differ(brain):
    first, second = (head.grow_head(brain, np.random.default_rng(seed), STEP) for seed in (0, 1))
    assert (first != second).mean() > 0.01


def test_a_mapped_head_follows_the_brain_that_wears_it(brain, head_file):
    classes = head.map_head(brain, AFFINE, head_file)
    assert layers_going_up(classes, brain) == [BRAIN, SKULL, SOFT, AIR]
    assert_brain_is_inside_the_skull(classes, brain)
    middle = [np.mean(axis) for axis in (classes == SKULL).nonzero()]
    assert np.allclose(middle, [33, 40, 42], atol=2)


def test_a_mapped_head_that_ends_at_the_skull_base_gets_a_neck(brain, head_file):
    image = nib.load(head_file)
    labels = np.asarray(image.dataobj).copy()
    labels[:, :, :24] = 0
    nib.save(nib.Nifti1Image(labels, image.affine), head_file)
    head._read_head.cache_clear()
    classes = head.map_head(brain, AFFINE, head_file)
    assert (classes[:, :, 1] != AIR).mean() > 0.1


def test_a_brain_that_pokes_out_of_the_mapped_head_is_still_inside_the_skull(brain, head_file):
    horned = brain | ellipsoid(brain.shape, (33, 40, 60), (6, 6, 9))
    assert_brain_is_inside_the_skull(head.map_head(horned, AFFINE, head_file), horned)


def test_a_folder_without_heads_is_refused(tmp_path):
    with pytest.raises(BadInput, match="no head label maps"):
        head.find_heads(tmp_path)


def test_a_head_that_is_no_image_is_refused(tmp_path, brain):
    path = tmp_path / "broken.nii.gz"
    path.write_bytes(b"no image")
    with pytest.raises(BadInput, match="cannot be read"):
        head.map_head(brain, AFFINE, path)
