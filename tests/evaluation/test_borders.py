"""The step that is worth a dose is found from a cohort."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from fabricate import fabricate

from m2diff.diffusion import Schedule
from m2diff.evaluation.borders import borders, degraded, nearest, probes

CHAIN = Schedule.linear()


def test_a_scan_that_was_noised_like_a_step_is_found_at_that_step(tmp_path):
    subjects = fabricate(tmp_path, persons=2, doses=(2.0, 4.0, 10.0))
    for subject in subjects:
        for dose, step in ((2.0, 12), (4.0, 30), (10.0, 70)):
            standard = subject.standard.astype(np.float32) * np.float32(subject.meta.ratio[dose])
            np.save(subject.folder / f"low_drf{dose:g}.npy", degraded(standard, step, CHAIN, seed=1))
    found = borders(tmp_path, CHAIN)
    assert list(found) == [2.0, 4.0, 10.0]
    assert list(found.values()) == pytest.approx([12, 30, 70], abs=2)
    assert borders(tmp_path, CHAIN, [4.0]) == {4.0: found[4.0]}


def test_both_measures_have_a_say():
    curve = np.array([[0.0, 0.0], [0.1, 0.5], [0.2, 1.0]])
    assert nearest(np.array([0.1, 0.5]), curve, [0, 10, 20]) == 10
    assert 0 < nearest(np.array([0.2, 0.0]), curve, [0, 10, 20]) < 10


def test_probes_run_from_the_first_step_to_the_last_and_are_dense_at_the_first():
    steps = probes(CHAIN)
    assert steps[0] == 0 and steps[-1] == 999
    assert (np.diff(np.diff(steps)) >= -1).all()
