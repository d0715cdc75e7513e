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


def ball(shape, edge, fwhm, centre=(0.0, 0.0, 0.0)):
    """A Gaussian spot of ``fwhm`` mm and height 1, ``centre`` mm from the middle of a grid of one voxel size."""
    axes = [(np.arange(n) - (n - 1) / 2) * edge - at for n, at in zip(shape, centre, strict=True)]
    squares = sum(x**2 for x in np.meshgrid(*axes, indexing="ij"))
    return np.exp(-0.5 * squares * (grid.FWHM_PER_SIGMA / fwhm) ** 2).astype(np.float32)


def centred(shape, edge):
    """The affine that puts the middle of a grid at the world's origin."""
    return affine((edge,) * 3, [-(n - 1) / 2 * edge for n in shape])


def test_an_image_of_finer_voxels_is_sampled_at_the_resolution_of_the_grid():
    """A Gaussian stays one: its width after a filter that brings 1 mm voxels to 2 mm is known, and so its height."""
    fine, coarse, fwhm = (41, 41, 41), (21, 21, 21), 4.0
    sampled = grid.onto(Volume(ball(fine, 1.0, fwhm), centred(fine, 1.0)), centred(coarse, 2.0), coarse)
    wider = np.sqrt(fwhm**2 + 2.0**2 - 1.0**2)
    assert np.allclose(sampled, (fwhm / wider) ** 3 * ball(coarse, 2.0, wider), atol=0.02)


def test_a_pattern_finer_than_the_grid_leaves_no_false_one():
    """Stripes of 2.5 mm, sampled every 2 mm as they are, would show as stripes of 10 mm."""
    fine, coarse = (80, 20, 20), (36, 8, 8)
    stripes = np.cos(2 * np.pi * np.arange(80) / 2.5)[:, None, None] * np.ones(fine)
    sampled = grid.onto(Volume(stripes.astype(np.float32), centred(fine, 1.0)), centred(coarse, 2.0), coarse)
    assert np.abs(sampled[2:-2]).max() < 0.25


@pytest.mark.parametrize("shift", [0.1, 1.0])
def test_a_part_of_a_voxel_is_followed_too(shift):
    shape, fwhm = (24, 24, 24), 8.0
    moved = np.eye(4)
    moved[1, 3] = shift
    found = grid.onto(Volume(ball(shape, 2.0, fwhm), centred(shape, 2.0)), centred(shape, 2.0), shape, moved)
    assert np.abs(found - ball(shape, 2.0, fwhm, (0.0, shift, 0.0))).max() < 0.01


@pytest.mark.parametrize("fwhm", [5.0, 10.0])
def test_a_gaussian_of_known_width_widens_a_spot_by_the_rule(fwhm):
    shape, before = (30, 30, 30), 8.0
    after = np.hypot(before, fwhm)
    expected = (before / after) ** 3 * ball(shape, 2.0, after)
    assert np.allclose(grid.smoothed(ball(shape, 2.0, before), fwhm), expected, atol=0.01)


@pytest.mark.parametrize(("edge", "inside"), [(1.0, True), (1.7, True), (2.7, False), (3.27, False)])
def test_the_working_grid_stays_inside_a_finer_scan_and_covers_a_coarser_one(edge, inside):
    for size in (30, 31, 32):
        image = Volume(np.zeros((size, 4, 4), np.float32), affine((edge, 2, 2)))
        (steps, *_), span = grid.to_working(image).data.shape, (size - 1) * edge
        assert ((steps - 1) * 2.0 <= span + 1e-6) == inside


@pytest.mark.parametrize(("size", "edge"), [(1, 4.0), (3, 1.0), (6, 0.8)])
def test_an_axis_of_too_few_voxels_for_a_spline_is_left_as_it_is(size, edge):
    image = Volume(np.random.default_rng(0).normal(size=(9, 8, size)).astype(np.float32), affine((2, 2, edge)))
    working = grid.to_working(image)
    assert np.array_equal(working.data, image.data) and np.array_equal(working.undo(working.data), image.data)


def test_beyond_the_last_working_voxel_its_value_holds():
    working = grid.to_working(Volume(np.zeros((50, 8, 8), np.float32), affine((1, 2, 2))))
    data = np.random.default_rng(0).normal(size=working.data.shape).astype(np.float32)
    back = working.undo(data)
    assert np.allclose(back[0], data[0], atol=1e-5) and np.allclose(back[-1], data[-1], atol=1e-5)


def test_a_large_scan_takes_seconds_of_computing():
    volume = Volume(np.ones((256, 256, 258), np.float32), affine((1, 1, 1)))
    begin = time.process_time()
    working = grid.to_working(volume)
    working.undo(working.data)
    assert time.process_time() - begin < 6
