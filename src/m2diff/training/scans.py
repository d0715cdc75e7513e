"""A run's scans: the cohort prepared once, split by person, and the targets that it has."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from m2diff.data.cohort import PreparedSubject, is_cache, open_cohort, prepare_cohort
from m2diff.data.splits import Split, by_person
from m2diff.errors import BadInput, Notice
from m2diff.io import bids
from m2diff.training.config import Preset

CACHE = Path("derivatives") / "m2diff-prepared"
"""Where a cohort's training cache lies, inside the cohort."""


def split_of(
    preset: Preset, data: Path | str, accelerator: Any, *, jobs: int = 1, progress: bool = False
) -> Split[PreparedSubject]:
    """The cohort's prepared subjects on either side; the first process prepares, the others wait."""
    data = Path(data)
    if not data.is_dir():
        raise BadInput(
            f"the training data must be a cohort folder, but {data} is none; make one with m2diff simulate or convert."
        )
    cache = data if is_cache(data) else data / CACHE
    if accelerator.is_main_process and cache != data:
        prepare_cohort(data, cache, jobs=jobs, progress=progress)
    accelerator.wait_for_everyone()
    config = preset.data
    return by_person(
        open_cohort(cache), held_out=config.held_out, fraction=config.held_out_fraction, seed=preset.train.seed
    )


def tracers(data: Path | str) -> tuple[str, ...]:
    """Tracers that the sidecars of a cohort's scans name; none where ``data`` is a cache."""
    data = Path(data)
    named = set() if is_cache(data) else {bids.tracer_of(subject) for subject in bids.find_subjects(data)}
    return tuple(sorted(name for name in named if name))


def aimed(preset: Preset, subjects: Sequence[PreparedSubject]) -> Preset:
    """The preset with a target that the cohort has: real scans have no noise-free image."""
    without = [subject.label for subject in subjects if not subject.knows_noise_free]
    if preset.data.target == "standard" or not without:
        return preset
    if len(without) < len(subjects):
        raise BadInput(
            f"{len(without)} of the cohort's {len(subjects)} sessions (such as sub-{without[0]}) have no noise-free "
            "image to train towards; set data.target=standard, or train on the others alone."
        )
    sentence = "The cohort has no noise-free images, so training aims at its standard scans (data.target=standard)."
    warnings.warn(sentence, Notice, stacklevel=3)
    return preset.model_copy(update={"data": preset.data.model_copy(update={"target": "standard"})})
