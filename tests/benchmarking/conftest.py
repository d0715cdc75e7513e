"""The cohorts of the comparison: whom to train on, and whom to score."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_up import simulated


@pytest.fixture(scope="session")
def learners(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four persons to train on, at DRF 4."""
    people = {f"{n:03d}": (f"learner-{n % 4}", "ad" if n > 4 else "healthy") for n in range(1, 6)}
    return simulated(tmp_path_factory.mktemp("train") / "cohort", people, (4.0,))


@pytest.fixture(scope="session")
def judges(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two persons to score, each healthy and as a patient, at DRF 4 and 20."""
    people = {f"{n:03d}": (f"judge-{n % 2}", "ad" if n > 12 else "healthy") for n in range(11, 15)}
    return simulated(tmp_path_factory.mktemp("test") / "cohort", people, (4.0, 20.0))
