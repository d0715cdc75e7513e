"""docs/adding-a-family.md is true: its blocks, put into a copy of the package, are a family that keeps the contract."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import m2diff

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "adding-a-family.md").read_text()
NAME = "fastddpm"

# What the page's last block does, on a made-up cohort with a small network.
TRAIN_AND_ENHANCE = f"""
import sys
from pathlib import Path

import numpy as np

import m2diff
from conftest import SMALL
from fabricate import fabricate
from m2diff.families import family_names
from m2diff.training.config import load_preset
from m2diff.volume import Volume

out = Path(sys.argv[1])
assert Path(m2diff.__file__).is_relative_to(out) and "{NAME}" in family_names()
fabricate(out / "cohort")
preset = load_preset("{NAME}-base", [*SMALL, "train.steps=2", "model.network.fit=null"])
m2diff.train(preset, out / "cohort", out / "run", device="cpu", progress=False)
at = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in (30, 34, 16)), indexing="ij"))
noise = np.random.default_rng(0).uniform(0.5, 1.5, at.shape[1:])
scan = Volume((((at**2).sum(axis=0) < 0.7) * 9000 * noise).astype(np.float32), np.diag([2.0, 2, 2, 1]), "Bq/mL")
enhanced = m2diff.enhance(scan, weights=out / "run", drf=20)
assert enhanced.volume.data.shape == scan.data.shape and np.isfinite(enhanced.volume.data).all()
assert enhanced.settings["weights"]["name"]
"""


def blocks(kind: str) -> list[str]:
    """The page's code blocks of one language."""
    return re.findall(rf"^```{kind}\n(.*?)^```$", PAGE, flags=re.M | re.S)


@pytest.fixture(scope="module")
def copy(tmp_path_factory) -> Path:
    """A copy of the package with the page's file, preset and row put in."""
    root = tmp_path_factory.mktemp("copy")
    package = root / "m2diff"
    shutil.copytree(Path(m2diff.__file__).parent, package, ignore=shutil.ignore_patterns("weights", "__pycache__"))
    file, row = blocks("python")
    (package / "families" / f"{NAME}.py").write_text(file)
    (package / "presets" / f"{NAME}-base.yaml").write_text(*blocks("yaml"))
    registry = package / "families" / "registry.py"
    text = registry.read_text()
    assert text.count('    "regress": ') == 1
    registry.write_text(text.replace('    "regress": ', row + '    "regress": '))
    return root


def run(copy: Path, *command: str) -> None:
    """A Python of its own that finds the copy first; its words, if it fails."""
    here = (copy, *(ROOT / "tests" / folder for folder in ("data", "training")))
    found = {"PYTHONPATH": os.pathsep.join(map(str, here)), "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], cwd=ROOT, env=os.environ | found, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_the_pages_family_keeps_the_contract_and_is_of_equal_size(copy):
    tests = [str(ROOT / "tests" / "families" / name) for name in ("test_contract.py", "test_presets.py")]
    quiet = ("-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist")
    run(copy, "-m", "pytest", *quiet, *tests, "-k", f"{NAME} or equal_size")


def test_the_pages_family_trains_and_enhances(copy):
    run(copy, "-c", TRAIN_AND_ENHANCE, str(copy))


def test_the_pages_code_is_to_the_houses_taste(copy):
    made = str(copy / "m2diff" / "families" / f"{NAME}.py")
    for what in (("check",), ("format", "--check")):
        run(copy, "-m", "ruff", *what, "--config", str(ROOT / "pyproject.toml"), made)
