"""The made-up cohort of tests/data and a small network, for the tests of training."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))

from fabricate import fabricate

from m2diff.training.config import Preset, load_preset

SMALL = (
    "model.network.slices=4",
    "model.network.width=8",
    "model.network.groups=4",
    "model.network.multipliers=[1, 1.5]",
    "model.network.dropout=0.1",
    "data.crop=[16, 16]",
    "data.batch=2",
    "data.held_out_fraction=0.34",
    "train.warmup=2",
    "train.lr=0.002",
    "train.precision=fp32",
    "train.log_every=2",
    "train.validate_scans=1",
    "train.threads=1",
)


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cache")
    fabricate(folder)
    return folder


@pytest.fixture
def small():
    """A preset of a network that trains a step in milliseconds, with further overrides."""

    def preset(*overrides: str, name: str = "m2diff-base") -> Preset:
        return load_preset(name, [*SMALL, *overrides])

    return preset
