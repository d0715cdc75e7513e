"""One session of one person as a layout finds it, before any image is read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from m2diff.errors import BadInput
from m2diff.volume import Volume

Read = Callable[[], Volume]
"""Reads one image when called; raises BadInput where it cannot."""


@dataclass(frozen=True)
class Visit:
    """One scan session.

    ``key``: where the scan was found, unique. ``entities``: BIDS entities of its PET in BIDS's order (no ``rec``).
    ``doses``: the scan by dose reduction factor, 1 the standard one. ``about``: columns of participants.tsv, such as
    ``group``. ``sidecar``: the PET's BIDS keys that the layout knows and the file lacks.
    """

    key: str
    entities: Mapping[str, str]
    doses: Mapping[float, Read]
    mri: Read | None = None
    about: Mapping[str, str] = field(default_factory=dict)
    sidecar: Mapping[str, Any] = field(default_factory=dict)


def mean(reads: Sequence[Read]) -> Volume:
    """The mean of one scan's frames, read one after the other; BadInput where their grids differ."""
    first = reads[0]()
    total = first.data.astype(np.float64)
    for read in reads[1:]:
        frame = read()
        if not frame.same_grid(first):
            raise BadInput("The frames of a scan must share one grid, but do not; give the frames of one scan only.")
        total += frame.data
    if len(reads) == 1:
        return first
    return first.with_data((total / len(reads)).astype(np.float32), f"mean of {len(reads)} frames")
