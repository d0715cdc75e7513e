"""A brain mask comes from the MRI alone, with a skull and without, wherever the head lies."""

import functools

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from m2diff.errors import BadInput
from m2diff.preparation.brain import brain_mask
from m2diff.simulation.anatomy import Anatomy, make_person
from m2diff.simulation.cohort import DosePlan, Recipe, find_anatomies
from m2diff.volume import Volume


@functools.cache
def person() -> Anatomy:
    """A simulated head: MNI152, warped, in a grown skull."""
    source = find_anatomies(Recipe(doses=DosePlan.parse("20")))[0]
    return make_person(source, np.random.default_rng(3), head="grown", resolution_mm=2.0)


def dice(one, two):
    return 2 * (one & two).sum() / (one.sum() + two.sum())


@pytest.mark.parametrize("skull", [True, False])
def test_the_brain_of_a_turned_head_is_found(skull):
    head = person()
    brain = head.labels > 0
    turn = np.eye(4)
    turn[:3, :3] = Rotation.from_euler("xyz", [12, -5, 8], degrees=True).as_matrix()
    turn[:3, 3] = [15, -20, 10]
    data = head.t1 if skull else head.t1 * brain
    found = brain_mask(Volume(data, turn @ head.affine)).data > 0.5
    assert dice(found, brain) > 0.9


def test_noise_and_a_ball_have_no_brain():
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    with pytest.raises(BadInput, match="No brain"):
        brain_mask(Volume(np.random.default_rng(0).random((56, 64, 52)).astype(np.float32), affine))
    distance = np.linalg.norm(np.indices((56, 64, 52)).T - np.array([28, 32, 26]), axis=-1).T
    with pytest.raises(BadInput, match="No brain"):
        brain_mask(Volume(np.clip(25 - distance, 0, None).astype(np.float32), affine))
