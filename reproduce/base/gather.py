"""Prepare a cohort for training and put its scans beside those of others: python gather.py COHORT TOGETHER PREFIX."""

from __future__ import annotations

import argparse
from pathlib import Path

from m2diff.data.cohort import prepare_cohort
from m2diff.training.scans import CACHE

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("cohort", type=Path)
parser.add_argument("together", type=Path)
parser.add_argument("prefix")
parser.add_argument("--jobs", type=int, default=1)
given = parser.parse_args()
cache = prepare_cohort(given.cohort, given.cohort / CACHE, jobs=given.jobs, progress=True)
given.together.mkdir(parents=True, exist_ok=True)
for scan in sorted(Path(cache).glob("sub-*")):
    link = given.together / f"sub-{given.prefix}{scan.name.removeprefix('sub-')}"
    link.unlink(missing_ok=True)
    link.symlink_to(scan.resolve(), target_is_directory=True)
