"""The working grid and the way back."""

import time

import numpy as np
import pytest
from nibabel import orientations

from m2diff.errors import BadInput
from m2diff.preparation import grid
from m2diff.volume import Volume


def affine(edges, origin=(-40.0, -50.0, -30.0)):
    matrix = np.diag([*map(float, edges), 1.0])
    matrix[:3, 3] = origin
    return matrix


def blobs(shape, edges, sigma=8.0):
    """Smooth spots in world space, the same whatever the grid, centred on the grid's middle."""
    axes = [(np.arange(n) - (n - 1) / 2) * e for n, e in zip(shape, edges, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    spots = [(0, 0, 0, 1.0), (10, -8, 6, 0.7), (-12, 9, -7, 0.5)]
    return sum(h * np.exp(-((x - a) ** 2 + (y - b) ** 2 + (z - c) ** 2) / 2 / sigma**2) for a, b, c, h in spots).astype(
        np.float32
    )


def turned(volume, codes):
    """The same world image stored along other axes."""
    there = orientations.ornt_transform(
        orientations.io_orientation(volume.affine), orientations.axcodes2ornt(tuple(codes))
    )
    data = orientations.apply_orientation(volume.data, there)
    return Volume(np.ascontiguousarray(data), volume.affine @ orientations.inv_ornt_aff(there, volume.shape))


@pytest.mark.parametrize("codes", ["RAS", "LPS", "SRA", "ILP"])
def test_a_2_mm_scan_is_left_bit_exact_there_and_back(codes):
    data = np.random.default_rng(0).normal(size=(20, 22, 18)).astype(np.float32)
    volume = turned(Volume(data, affine((2, 2, 2))), codes)
    working = grid.to_working(volume)
    assert np.array_equal(working.data, data)
    assert np.allclose(working.affine, affine((2, 2, 2)))
    assert np.array_equal(working.undo(working.data), volume.data)


@pytest.mark.parametrize("edges", [(1, 1, 1), (1.5, 1.5, 3), (2.04, 2.04, 2.03), (1.9, 2, 3.27), (0.8, 2.6, 4)])
def test_a_smooth_scan_comes_back_within_one_percent(edges):
    shape = tuple(round(90 / e) for e in edges)
    volume = Volume(blobs(shape, edges), affine(edges))
    working = grid.to_working(volume)
    assert np.abs(working.undo(working.data) - volume.data).max() < 0.01 * volume.data.max()
    assert np.allclose(np.linalg.norm(working.affine[:3, :3], axis=0), 2, rtol=0.01)


@pytest.mark.parametrize("edges", [(1, 1.3, 1.7), (2.04, 2.6, 4)])
def test_the_working_image_shows_the_same_world(edges):
    volume = Volume(blobs(tuple(round(90 / e) for e in edges), edges), affine(edges))
    working = grid.to_working(volume)
    middle = volume.affine[:3, :3] @ ((np.array(volume.shape) - 1) / 2) + volume.affine[:3, 3]
    there = working.affine[:3, :3] @ ((np.array(working.data.shape) - 1) / 2) + working.affine[:3, 3]
    assert np.allclose(middle, there)
    expected = blobs(working.data.shape, np.linalg.norm(working.affine[:3, :3], axis=0))
    assert np.abs(working.data - expected).max() < 0.01


def test_activity_is_neither_lost_nor_made():
    data = np.random.default_rng(0).gamma(1.0, size=(50, 50, 50)).astype(np.float32)
    working = grid.to_working(Volume(data, affine((1, 1, 1))))
    assert working.undo(working.data).sum() == pytest.approx(data.sum(), rel=1e-5)
    assert np.allclose(grid.to_working(Volume(np.ones_like(data), affine((1, 1, 1)))).data, 1, atol=1e-5)


def test_noise_of_fine_voxels_is_averaged_not_aliased():
    data = np.random.default_rng(0).normal(size=(60, 60, 60)).astype(np.float32)
    working = grid.to_working(Volume(data, affine((1, 1, 1))))
    assert working.data[5:-5, 5:-5, 5:-5].std() < 0.75  # picking every other voxel would keep 1


def test_an_image_that_comes_back_goes_there_again_unchanged():
    volume = Volume(np.random.default_rng(0).normal(size=(50, 40, 40)).astype(np.float32), affine((1, 1.2, 1.5)))
    working = grid.to_working(volume)
    again = grid.to_working(volume.with_data(working.undo(working.data), "there and back"))
    assert np.abs(again.data - working.data).max() < 1e-4


@pytest.mark.parametrize("codes", ["LPS", "PSR", "IAL"])
def test_how_the_file_orders_its_axes_does_not_matter(codes):
    volume = Volume(blobs((60, 50, 40), (1.5, 1.7, 2.4)), affine((1.5, 1.7, 2.4)))
    straight, other = grid.to_working(volume), grid.to_working(turned(volume, codes))
    assert np.allclose(straight.data, other.data, atol=1e-6)
    assert np.allclose(straight.affine, other.affine)


def test_undo_refuses_another_shape():
    working = grid.to_working(Volume(blobs((20, 20, 20), (2, 2, 2)), affine((2, 2, 2))))
    with pytest.raises(ValueError, match="working grid"):
        working.undo(np.zeros((3, 3, 3), np.float32))


def test_an_affine_without_an_axis_is_refused():
    matrix = affine((2, 2, 2))
    matrix[:, 1] = 0
    with pytest.raises(BadInput, match="affine"):
        grid.to_working(Volume(blobs((20, 20, 20), (2, 2, 2)), matrix))


def test_sampling_on_the_own_grid_changes_nothing():
    volume = Volume(np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32), affine((2, 2, 2)))
    assert np.array_equal(grid.onto(volume, volume.affine, volume.shape), volume.data)


def test_sampling_follows_the_placement():
    volume = Volume(blobs((40, 40, 40), (2, 2, 2)), affine((2, 2, 2)))
    shift = np.eye(4)
    shift[0, 3] = 4.0  # two voxels to the right
    moved = grid.onto(volume, volume.affine, volume.shape, shift)
    assert np.allclose(moved[5:-5, 5:-5, 5:-5], volume.data[3:-7, 5:-5, 5:-5], atol=1e-4)


def test_a_large_scan_takes_seconds_of_computing():
    volume = Volume(np.ones((256, 256, 258), np.float32), affine((1, 1, 1)))
    begin = time.process_time()
    working = grid.to_working(volume)
    working.undo(working.data)
    assert time.process_time() - begin < 6
