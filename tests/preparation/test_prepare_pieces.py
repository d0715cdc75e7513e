"""Cubes of a brain stay in place under their own MRI, and scatter under another."""

import numpy as np
import pytest
from scipy import ndimage

from m2diff.preparation import pieces

SHAPE = (72, 80, 64)
BRAIN = np.linalg.norm((np.indices(SHAPE).T - np.array(SHAPE) / 2) / np.array(SHAPE), axis=-1).T < 0.42


def folds(seed):
    rough = np.random.default_rng(seed).normal(size=SHAPE)
    return (ndimage.gaussian_filter(rough, 2.0) > 0).astype(np.float32) * BRAIN


def pet_of(mri, noise=0.1):
    rough = np.random.default_rng(1).normal(size=SHAPE)
    return ndimage.gaussian_filter((1.2 - mri) * BRAIN + noise * rough, 1.2).astype(np.float32)


def test_the_folds_of_the_own_mri_lie_in_place():
    assert pieces.folds(pet_of(folds(0)), folds(0), BRAIN) > 1.0


def test_those_of_another_do_not():
    assert pieces.folds(pet_of(folds(0)), folds(2), BRAIN) < 0.5


def test_those_of_an_mri_6_mm_off_do_not():
    assert pieces.folds(pet_of(folds(0)), np.roll(folds(0), 3, axis=1), BRAIN) < 0.5


@pytest.mark.parametrize("factor", [1e-4, 1e4])
def test_units_do_not_matter(factor):
    pet, mri = pet_of(folds(0), noise=0.5), folds(0)
    once = pieces.folds(pet, mri, BRAIN)
    assert pieces.folds(pet * np.float32(factor), mri, BRAIN) == pytest.approx(once, abs=0.05)
    assert pieces.folds(pet, mri * np.float32(factor), BRAIN) == pytest.approx(once, abs=0.05)


def test_an_mri_that_shows_nothing_proves_nothing():
    assert pieces.folds(pet_of(folds(0)), np.zeros(SHAPE, dtype=np.float32), BRAIN) < 0.5


def test_too_few_cubes_prove_nothing():
    speck = np.zeros(SHAPE, dtype=bool)
    speck[30:36, 30:36, 30:36] = True
    assert pieces.folds(pet_of(folds(0)), folds(0), speck) == 0.0
