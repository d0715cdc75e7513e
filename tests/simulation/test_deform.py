"""Warps are smooth, invertible, and as large as asked."""

import numpy as np
import pytest

from m2diff.simulation import deform


def longest(displacement):
    return float(np.linalg.norm(displacement, axis=0).max())


@pytest.mark.parametrize("seed", range(4))
def test_no_tissue_folds(seed):
    displacement = deform.random_diffeomorphism(np.random.default_rng(seed), 8.0)
    assert deform.jacobian(displacement).min() >= deform.LEAST_JACOBIAN
    assert 4.0 < longest(displacement) < 9.0


def test_even_absurd_warps_do_not_fold():
    displacement = deform.random_diffeomorphism(np.random.default_rng(0), 60.0)
    assert deform.jacobian(displacement).min() > 0


def test_the_flow_backwards_undoes_the_flow_forwards():
    velocity = deform.random_velocity(np.random.default_rng(1), 7.0)
    forth, back = deform.exponential(velocity), deform.exponential(-velocity)
    points = np.random.default_rng(2).uniform(-80, 80, (3, 2000))
    moved = points + deform.field_at(forth, points)
    returned = moved + deform.field_at(back, moved)
    assert np.abs(returned - points).max() < 0.3  # mm, of about 7


def test_a_jacobian_of_a_uniform_stretch_is_its_volume_change():
    grid = deform._coarse_points((9, 9, 9))
    assert np.allclose(deform.jacobian(0.1 * grid), 1.1**3, rtol=1e-4)


def test_a_pose_moves_nothing_nearer_or_farther():
    pose = deform.random_pose(np.random.default_rng(3))
    assert np.allclose(pose[:3, :3] @ pose[:3, :3].T, np.eye(3)) and np.linalg.det(pose) == pytest.approx(1)


def test_a_warp_without_amplitude_or_pose_is_the_identity():
    warp = deform.random_warp(np.random.default_rng(4), amplitude_mm=0.0, pose=False)
    points = np.random.default_rng(5).uniform(-90, 90, (3, 50))
    assert np.allclose(warp(points), points, atol=1e-4)


@pytest.mark.parametrize("step", [0.0, 4.0])
def test_stretching_a_linear_ramp_keeps_it_linear(step):
    coarse = np.add.outer(np.arange(5.0), np.add.outer(np.arange(6.0), np.zeros(4))).astype(np.float32)
    fine = deform.stretch(coarse, (13, 17, 9), step)
    assert fine.shape == (13, 17, 9)
    assert np.allclose(np.diff(fine, 2, axis=0), 0, atol=1e-5)
    assert fine[0, 0, 0] == 0 and fine[4, 0, 0] == pytest.approx(1.0 if step else 4 / 3)


def test_a_part_of_a_stretch_is_that_part_of_the_whole():
    coarse = np.random.default_rng(6).random((5, 6, 7)).astype(np.float32)
    part = (slice(2, 9), slice(0, 3), slice(5, 20))
    assert np.array_equal(deform.stretch(coarse, (16, 20, 24), 4, part), deform.stretch(coarse, (16, 20, 24), 4)[part])
