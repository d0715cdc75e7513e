"""Noise and regions whose truth is known, for the tests of ``trust``."""

import numpy as np
from scipy import ndimage

SHAPE = (64, 72, 60)


def noise(rng: np.random.Generator, fwhm_voxels: float = 2.5, sd: float = 1.0) -> np.ndarray:
    """Stationary correlated noise of this standard deviation."""
    white = rng.standard_normal(SHAPE).astype(np.float32)
    smooth = ndimage.gaussian_filter(white, fwhm_voxels / 2.355, mode="wrap")
    return (sd * smooth / smooth.std()).astype(np.float32)


def brain() -> np.ndarray:
    """An ellipsoid of some 150,000 voxels."""
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    return np.sqrt(sum(axis**2 for axis in axes)) < 0.92


def parcels(inside: np.ndarray, cells: int = 5) -> np.ndarray:
    """The brain cut into blocks: labels from 1."""
    index = np.zeros(SHAPE, dtype=np.int32)
    for axis, size in enumerate(SHAPE):
        place = (np.arange(size) * cells // size).reshape([-1 if a == axis else 1 for a in range(3)])
        index = index * cells + place
    labels = np.where(inside, index + 1, 0)
    return np.unique(labels, return_inverse=True)[1].reshape(SHAPE).astype(np.int32)
