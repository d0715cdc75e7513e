"""The projector keeps its promises: line integrals are right, and back-projection is the exact adjoint."""

import numpy as np
import pytest

from m2diff.simulation.projector import Geometry, Projector

GEOMETRY = Geometry(pixels=48, pixel_mm=4.0, views=60, bin_mm=3.0, subsets=5)


@pytest.mark.parametrize("subset", range(5))
def test_back_projection_is_the_adjoint_of_projection(subset):
    rng = np.random.default_rng(subset)
    system = Projector(GEOMETRY)
    image = rng.standard_normal((48 * 48, 3)).astype(np.float32)
    sinogram = rng.standard_normal((60 // 5 * GEOMETRY.bins, 3)).astype(np.float32)
    forward = np.vdot(system.forward(image, subset).astype(np.float64), sinogram)
    backward = np.vdot(image.astype(np.float64), system.back(sinogram, subset))
    assert forward == pytest.approx(backward, rel=1e-4)


def test_a_disc_projects_to_its_chords():
    radius = 60.0
    centre = (np.arange(48) - 23.5) * 4.0
    fine = (np.arange(48 * 8) - (48 * 8 - 1) / 2) * 0.5
    disc = (np.hypot(fine[:, None], fine[None, :]) < radius).reshape(48, 8, 48, 8).mean((1, 3))
    assert len(centre) == disc.shape[0]
    bins = (np.arange(GEOMETRY.bins) - (GEOMETRY.bins - 1) / 2) * GEOMETRY.bin_mm
    chords = 2 * np.sqrt(np.maximum(radius**2 - bins**2, 0))
    system = Projector(GEOMETRY)
    for subset in range(GEOMETRY.subsets):
        views = system.forward(disc.reshape(-1, 1).astype(np.float32), subset).reshape(-1, GEOMETRY.bins)
        inner = np.abs(bins) < radius - 6
        assert np.abs(views[:, inner] - chords[inner]).max() < 0.06 * 2 * radius
        assert np.abs(views.sum(1) * GEOMETRY.bin_mm - np.pi * radius**2).max() < 0.02 * np.pi * radius**2


def test_slices_do_not_touch_each_other():
    system = Projector(GEOMETRY)
    image = np.zeros((48 * 48, 3), dtype=np.float32)
    image[:, 1] = 1
    sinogram = system.forward(image, 0)
    assert sinogram[:, 1].any() and not sinogram[:, [0, 2]].any()


def test_uneven_subsets_are_refused():
    with pytest.raises(ValueError, match="do not divide"):
        Geometry(pixels=8, pixel_mm=1.0, views=10, bin_mm=1.0, subsets=3)
