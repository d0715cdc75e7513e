"""The fitting head: what it reproduces exactly, what it averages, and that it is least squares."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from m2diff.nn import FitHead, Folding
from m2diff.nn.fit import CELL, RIDGE, _cell_means, _solve, local_fits
from m2diff.nn.smooth import along_axes, neighbours


def classes(count: int = 3, size: int = 24, *, seed: int = 0) -> torch.Tensor:
    """Soft classes, (1, count, 8, size, size), that vary from voxel to voxel."""
    generator = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(1, count, 8, size, size, generator=generator)).softmax(dim=1)


def test_levels_mixed_by_the_classes_come_back() -> None:
    guide = classes()
    levels = torch.tensor([0.2, 1.0, 2.5]).reshape(1, 3, 1, 1, 1)
    image = (levels * guide).sum(dim=1)
    fits = local_fits(image, guide, (1, 3))
    assert fits.shape == (1, 2, 8, 24, 24)
    assert (fits - image[:, None]).abs().max() < 0.02  # the ridge


def test_a_class_without_voxels_takes_the_mean_and_no_image_is_pulled_to_zero() -> None:
    guide = torch.cat([torch.ones(1, 1, 8, 24, 24), torch.zeros(1, 2, 8, 24, 24)], dim=1)
    image = torch.full((1, 8, 24, 24), 7.0)
    torch.testing.assert_close(local_fits(image, guide, (1,))[:, 0], image)


def test_noise_is_averaged_over_theneighbours() -> None:
    noise = torch.randn(1, 8, 96, 96, generator=torch.Generator().manual_seed(1))
    narrow, wide = local_fits(noise, classes(size=96), (1, 3))[0]
    # Three levels from the 12 x 12 x 6 voxels of the narrow window at least: a variance below 3 / 864.
    assert narrow.var() < 2 * 3 / (9 * CELL**2 * 6)
    assert wide.var() < 0.6 * narrow.var()


@pytest.mark.parametrize(("axis", "cell"), [(0, 2), (1, 4), (2, 4)])
def test_levels_are_means_of_cells_and_linear_between_their_middles(axis: int, cell: int) -> None:
    """Of one class and a ramp: the ramp itself, but for the halves of the outermost cells, which hold their mean."""
    size = (8, 24, 24)
    ramp = torch.arange(size[axis]).float()
    image = ramp.reshape([-1 if a == axis else 1 for a in range(3)]).expand(size)
    fit = local_fits(image[None], torch.ones(1, 1, *size), (0,))[0, 0]
    expected = ramp.clamp((cell - 1) / 2, size[axis] - 1 - (cell - 1) / 2)
    torch.testing.assert_close(fit.movedim(axis, 0)[:, 3, 3], expected)


def test_it_is_least_squares() -> None:
    """The levels of the middle cell equal numpy's ridge regression over its 3 x 3 x 3 cells."""
    guide, size = classes(size=5 * CELL), 5 * CELL
    image = torch.rand(1, 8, size, size, generator=torch.Generator().manual_seed(2))
    window = (slice(2, 8), slice(CELL, 4 * CELL), slice(CELL, 4 * CELL))
    a = guide[0][:, window[0], window[1], window[2]].reshape(3, -1).T.double().numpy()
    y = image[0][window].reshape(-1).double().numpy()
    n, mean = len(y), y.mean()
    levels = mean + np.linalg.solve(a.T @ a / n + RIDGE * np.eye(3), a.T @ (y - mean) / n)

    # Levels are interpolated between cells, so they are read where they are still the cells' own.
    sums = _cell_means(torch.cat([guide, image[:, None]], dim=1), (2, CELL, CELL))
    ours = _solve(along_axes(sums, [neighbours(n, 1, sums.device) for n in sums.shape[-3:]]))[0, :, 2, 2, 2]
    np.testing.assert_allclose(ours.numpy(), levels, rtol=1e-3)


def test_twice_the_image_twice_the_fit() -> None:
    guide, image = classes(), torch.rand(1, 8, 24, 24)
    torch.testing.assert_close(local_fits(1000 * image, guide, (1, 3)), 1000 * local_fits(image, guide, (1, 3)))


def test_the_head_starts_between_the_input_and_its_fits_and_learns() -> None:
    torch.manual_seed(0)
    head = FitHead(16, Folding(slices=8, fold=2), classes=4, windows=(1, 3))
    features = torch.randn(2, 16, 12, 12)
    low = torch.rand(2, 8, 24, 24)
    clean, classes = head(features, low)
    assert clean.shape == low.shape and classes.shape == (2, 4, 8, 24, 24)
    assert clean.std() < low.std()
    (clean - 1).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in head.parameters())


def test_what_inference_kept_serves_training_too():
    image, guide = torch.rand(1, 4, 40, 40), torch.rand(1, 3, 4, 40, 40, requires_grad=True)
    with torch.inference_mode():
        local_fits(image, guide, (1,))
    local_fits(image, guide.softmax(dim=1), (1,)).sum().backward()
    assert guide.grad is not None
