"""Names of all array and tensor shapes.

Letters: ``b`` batch, ``c`` channels, ``s`` slices of a slab, ``d h w`` a volume as the networks see it (z, y, x),
``i j k`` a volume as a file stores it (in the working grid: x to the right, y to the front, z up).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from torch import Tensor
else:  # readers of files need no PyTorch
    Tensor = Any

VolumeArray: TypeAlias = npt.NDArray[np.float32]  # (i, j, k)
LabelArray: TypeAlias = npt.NDArray[np.int16]  # (i, j, k)
MaskArray: TypeAlias = npt.NDArray[np.bool_]  # (i, j, k)
Affine: TypeAlias = npt.NDArray[np.float64]  # (4, 4), voxel index -> world millimetres, RAS+
Slab: TypeAlias = Tensor  # (b, s, h, w): s neighbouring slices as channels
Features: TypeAlias = Tensor  # (b, c, h, w), or (b, c, d, h, w) where a network convolves along the slices too
TimeSteps: TypeAlias = Tensor  # (b,) integer steps, 0 ... T - 1
PerItem: TypeAlias = Tensor  # (b,) one number an item
Stack: TypeAlias = Tensor  # (d, h, w): one volume, slices first
