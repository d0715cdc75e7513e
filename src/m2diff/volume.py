"""An image with its place, unit and history: what all but the networks work on (they use ``batch``)."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from m2diff.shapes import Affine, VolumeArray


@dataclass(frozen=True)
class Source:
    """Where a volume came from."""

    path: Path
    sha256: str
    dtype: np.dtype
    """Type on disk; a result is written in it."""
    sidecar: dict[str, Any] = field(default_factory=dict)
    """The BIDS JSON beside the file, or the same keys from a DICOM header; empty where there is none."""
    series: Any = None
    """What a derived DICOM series needs (``io.dicom.read.Series``); None for other formats."""


@dataclass(frozen=True, eq=False)
class Volume:
    """A 3D image (i, j, k); ``affine`` maps voxel indices to world mm (RAS+); ``unit``: a word such as ``Bq/mL``."""

    data: VolumeArray
    affine: Affine
    unit: str = "unknown"
    history: tuple[str, ...] = ()
    source: Source | None = None

    def __post_init__(self) -> None:
        """Refuse what is not a 3D image with a 4 x 4 affine."""
        if self.data.ndim != 3:
            raise ValueError(f"a Volume has three axes, got shape {self.data.shape}")
        if np.shape(self.affine) != (4, 4):
            raise ValueError(f"an affine is 4 x 4, got shape {np.shape(self.affine)}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Voxels along i, j, k."""
        i, j, k = self.data.shape
        return i, j, k

    @property
    def voxel_size(self) -> tuple[float, float, float]:
        """Voxel edge lengths in millimetres along i, j, k."""
        x, y, z = np.linalg.norm(self.affine[:3, :3], axis=0)
        return float(x), float(y), float(z)

    def with_data(self, data: VolumeArray, step: str) -> Volume:
        """The same place and unit with other values; ``step`` names what was done, for the history."""
        return replace(self, data=np.asarray(data, dtype=np.float32), history=(*self.history, step))

    def same_grid(self, other: Volume, tolerance_mm: float = 1e-2) -> bool:
        """True when both share shape and affine, to ``tolerance_mm`` at the far corner of the grid."""
        if self.shape != other.shape:
            return False
        corners = np.array([[0, 0, 0, 1], [*self.shape, 1]], dtype=np.float64).T
        return bool(np.abs((self.affine - other.affine) @ corners).max() < tolerance_mm)
