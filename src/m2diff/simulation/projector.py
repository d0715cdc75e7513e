"""Line integrals through a stack of slices: one sparse matrix for all slices.

Parallel beams in each axial slice, with Joseph's interpolation (IEEE TMI 1(3), 1982): at each step along a ray's main
axis, the two nearest pixels, weighted linearly, times the length of the step.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from scipy import sparse

Sinogram = npt.NDArray[np.float32]  # (views of the subset * bins, slices)
FlatImage = npt.NDArray[np.float32]  # (pixels, slices): pixels in C order of (i, j)


@dataclass(frozen=True)
class Geometry:
    """Sampling of a scanner. ``pixels``: edge of the square image; ``views``: over 180 degrees; ``subsets``: OSEM's."""

    pixels: int
    pixel_mm: float
    views: int
    bin_mm: float
    subsets: int

    def __post_init__(self) -> None:
        if self.views % self.subsets:
            raise ValueError(f"{self.views} views do not divide into {self.subsets} subsets; choose a divisor")

    @property
    def bins(self) -> int:
        """Radial bins that cover the image's inscribed circle; odd, so that one is central."""
        return int(np.ceil(self.pixels * self.pixel_mm / self.bin_mm)) | 1


class Projector:
    """Forward projection and back-projection, a subset of views at a time."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self._matrices = [
            sparse.vstack(
                [
                    _view_rows(geometry, np.pi * view / geometry.views)
                    for view in range(s, geometry.views, geometry.subsets)
                ],
                format="csr",
                dtype=np.float32,
            )
            for s in range(geometry.subsets)
        ]
        # Row-wise copies of the adjoints are a third faster than transposed views.
        self._transposed = [matrix.T.tocsr() for matrix in self._matrices]

    def forward(self, image: FlatImage, subset: int) -> Sinogram:
        """Line integrals (mm x activity) of ``image`` along the rays of ``subset``."""
        return self._matrices[subset] @ image

    def back(self, sinogram: Sinogram, subset: int) -> FlatImage:
        """The adjoint of ``forward``: their inner products <A x, y> and <x, A^T y> are equal."""
        return self._transposed[subset] @ sinogram

    @cached_property
    def field_of_view(self) -> npt.NDArray[np.bool_]:
        """(pixels,) the inscribed circle, where every view has rays."""
        g = self.geometry
        centre = (np.arange(g.pixels) - (g.pixels - 1) / 2) * g.pixel_mm
        radius = np.hypot(centre[:, None], centre[None, :])
        return (radius < g.pixels * g.pixel_mm / 2).ravel()


@lru_cache(maxsize=1)
def projector(geometry: Geometry) -> Projector:
    """The projector of a geometry, cached between persons."""
    return Projector(geometry)


def _view_rows(g: Geometry, angle: float) -> sparse.csr_matrix:
    """Joseph weights of one view, (bins, pixels ** 2); rays x cos + y sin = r, x along i, y along j, origin central."""
    along_j = abs(np.cos(angle)) >= abs(np.sin(angle))  # the ray runs mostly along j: step through j, solve for i
    major, minor = (np.cos(angle), np.sin(angle)) if along_j else (np.sin(angle), np.cos(angle))
    steps = (np.arange(g.pixels) - (g.pixels - 1) / 2) * g.pixel_mm
    radius = (np.arange(g.bins) - (g.bins - 1) / 2) * g.bin_mm
    position = (radius[:, None] - steps[None, :] * minor) / major / g.pixel_mm + (g.pixels - 1) / 2  # (bins, steps)
    low = np.floor(position).astype(np.int64)
    upper_weight = position - low
    length = g.pixel_mm / abs(major)
    bin_index, step_index = np.meshgrid(np.arange(g.bins), np.arange(g.pixels), indexing="ij")
    rows, columns, values = [], [], []
    for offset, weight in ((0, 1 - upper_weight), (1, upper_weight)):
        solved = low + offset
        inside = (solved >= 0) & (solved < g.pixels) & (weight > 0)
        i, j = (solved, step_index) if along_j else (step_index, solved)
        rows.append(bin_index[inside])
        columns.append((i * g.pixels + j)[inside])
        values.append((weight * length)[inside].astype(np.float32))
    shape = (g.bins, g.pixels**2)
    return sparse.csr_matrix((np.concatenate(values), (np.concatenate(rows), np.concatenate(columns))), shape=shape)
