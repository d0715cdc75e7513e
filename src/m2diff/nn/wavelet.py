"""The Haar wavelet transform of slices: one coarse image and three detail images, at half the size.

    LL = (a + b + c + d) / 2,  LH = (a + b - c - d) / 2,  HL = (a - b + c - d) / 2,  HH = (a - b - c + d) / 2

for each block [[a, b], [c, d]] of pixels (Mallat 1989); orthonormal.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from m2diff.shapes import Slab


def haar(slab: Slab) -> tuple[Slab, Tensor]:
    """(b, s, h, w) with even sides to the coarse slab (b, s, h/2, w/2) and its details (b, 3 s, h/2, w/2)."""
    a, b, c, d = F.pixel_unshuffle(slab, 2).unflatten(1, (-1, 4)).unbind(dim=2)
    details = torch.cat([a + b - c - d, a - b + c - d, a - b - c + d], dim=1)
    return (a + b + c + d) / 2, details / 2
