"""A fully 3D time-of-flight projector by rotation: line integrals, in millimetres, of a stack of images at once.

The image is turned so that the rays run along its second axis (bilinear, one sparse matrix an angle), sheared along
the scanner's axis for oblique rays (linear), and summed along the rays into time-of-flight bins. The resolution is a
blur of each view, wider far from the centre. Every step is linear, and ``back`` applies the transposes in turn.

Images are (x, y, z, n), views (x, bins, planes, n); n images, such as the doses of a scan, go together.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import torch
from scipy import sparse
from scipy.special import ndtr
from torch import Tensor

warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")  # what is used here is tested
SIGMA = 1 / np.sqrt(8 * np.log(2))  # of a Gaussian whose full width at half maximum is 1


@dataclass(frozen=True)
class Geometry:
    """A scanner's sampling; lengths in mm. ``fine``: how many times finer the image and the views are sampled.

    ``angles``: over 180 degrees. ``slopes``: tangents of the rays' angles to the transaxial plane. ``ring_mm``: the
    ring's diameter, which leaves oblique rays fewer planes. ``tof_ps`` and ``psf_mm``: full widths at half maximum.
    """

    pixels: int = 120
    slices: int = 90
    pixel_mm: float = 2.086
    slice_mm: float = 2.03
    angles: int = 90
    slopes: tuple[float, ...] = (-0.12, 0.0, 0.12)
    ring_mm: float = 600.0
    tof_bins: int = 8
    tof_ps: float = 400.0
    psf_mm: float = 4.5
    fine: int = 1

    @property
    def spacing(self) -> tuple[float, float, float]:
        """The image's voxel in mm."""
        return self.pixel_mm / self.fine, self.pixel_mm / self.fine, self.slice_mm / self.fine

    @property
    def shape(self) -> tuple[int, int, int]:
        """The image's voxels."""
        return self.pixels * self.fine, self.pixels * self.fine, self.slices * self.fine

    @property
    def views(self) -> list[tuple[int, float]]:
        """(angle, slope) of every view."""
        return [(angle, slope) for angle in range(self.angles) for slope in self.slopes]

    def margin(self, slope: float) -> int:
        """Planes at either end of the scanner that rays of ``slope`` leave."""
        return self.fine * int(np.ceil(abs(slope) * self.ring_mm / 2 / self.slice_mm))

    @property
    def across(self) -> np.ndarray:
        """Positions in mm of the pixels along either transaxial axis."""
        return (np.arange(self.shape[0]) - (self.shape[0] - 1) / 2) * self.spacing[0]


class Projector:
    """Views of one angle and all slopes, and back."""

    def __init__(self, geometry: Geometry) -> None:
        self.geometry = geometry
        self._sums = {slope: _sums(geometry, slope) for slope in geometry.slopes}
        self._psf = _across_psf(geometry)
        self._axial = _axial_psf(geometry)

    def forward(self, image: Tensor, angle: int) -> list[Tensor]:
        """The views of ``angle``, one a slope."""
        g, n = self.geometry, image.shape[3]
        x, y, z = g.shape
        turned = (_rotation(g, angle) @ image.reshape(x * y, z * n)).reshape(x, y, z * n)
        views = []
        for slope in g.slopes:
            margin = g.margin(slope)
            planes = z - 2 * margin
            view = torch.zeros(x, g.tof_bins, planes * n)
            for shift, rows, weights in self._sums[slope]:
                part = turned[:, rows, (margin + shift) * n : (margin + shift + planes) * n]
                view.baddbmm_(weights.expand(x, -1, -1), part)
            views.append(self._blur(view, self._psf, n).reshape(x, g.tof_bins, planes, n))
        return views

    def back(self, views: list[Tensor], angle: int) -> Tensor:
        """The transpose of ``forward``."""
        g, n = self.geometry, views[0].shape[3]
        x, y, z = g.shape
        turned = torch.zeros(x, y, z * n)
        for slope, view in zip(g.slopes, views, strict=True):
            margin, planes = g.margin(slope), view.shape[2]
            blurred = self._blur(view.reshape(x, g.tof_bins, planes * n), self._psf.T, n)
            for shift, rows, weights in self._sums[slope]:
                part = turned[:, rows, (margin + shift) * n : (margin + shift + planes) * n]
                part += weights.T.expand(x, -1, -1) @ blurred
        return (_rotation(g, angle, transposed=True) @ turned.reshape(x * y, z * n)).reshape(x, y, z, n)

    def paths(self, image: Tensor, angle: int) -> list[Tensor]:
        """Line integrals of ``image`` (x, y, z, 1) without time of flight and resolution: (x, planes) a slope."""
        g, (x, y, z) = self.geometry, self.geometry.shape
        turned = (_rotation(g, angle) @ image.reshape(x * y, z)).reshape(x, y, z)
        return [
            sum(
                (weights.sum(0) @ turned[:, rows, g.margin(s) + shift : z - g.margin(s) + shift])
                for shift, rows, weights in self._sums[s]
            )
            for s in g.slopes
        ]

    @cached_property
    def field_of_view(self) -> Tensor:
        """(x, y, 1, 1): 1 within the circle that every angle sees, else 0."""
        across = torch.from_numpy(self.geometry.across)
        inside = torch.hypot(across[:, None], across[None]) <= across[-1]
        return inside[:, :, None, None].float()

    def _blur(self, view: Tensor, across: Tensor, n: int) -> Tensor:
        """The resolution of a view (x, bins, planes * n): along x by a matrix, along the axis by its few weights."""
        x, bins, length = view.shape
        wide = (across @ view.reshape(x, -1)).reshape(x, bins, length)
        out = wide * self._axial[0]
        for offset, weight in enumerate(self._axial[1:], start=1):
            step = offset * n
            if step < length:
                out[..., step:].add_(wide[..., :-step], alpha=weight)
                out[..., :-step].add_(wide[..., step:], alpha=weight)
        return out


@lru_cache(maxsize=512)
def _rotation(g: Geometry, angle: int, transposed: bool = False) -> Tensor:
    """The sparse matrix that turns an image by view ``angle``: bilinear, nothing from outside."""
    matrix = _turning(g, angle)
    matrix = matrix.T.tocsr() if transposed else matrix
    parts = (torch.from_numpy(part) for part in (matrix.indptr, matrix.indices, matrix.data))
    return torch.sparse_csr_tensor(*parts, size=matrix.shape, check_invariants=False)


def _turning(g: Geometry, angle: int) -> sparse.csr_matrix:
    size = g.shape[0]
    radians = np.pi * angle / g.angles
    index = np.arange(size) - (size - 1) / 2
    u, v = np.meshgrid(index, index, indexing="ij")
    i = u * np.cos(radians) - v * np.sin(radians) + (size - 1) / 2
    j = u * np.sin(radians) + v * np.cos(radians) + (size - 1) / 2
    target = np.arange(size * size).reshape(size, size)
    low_i, low_j = np.floor(i).astype(int), np.floor(j).astype(int)
    rows, columns, values = [], [], []
    for di in (0, 1):
        for dj in (0, 1):
            weight = (1 - abs(i - low_i - di)) * (1 - abs(j - low_j - dj))
            a, b = low_i + di, low_j + dj
            inside = (a >= 0) & (a < size) & (b >= 0) & (b < size) & (weight > 0)
            rows.append(target[inside])
            columns.append((a * size + b)[inside])
            values.append(weight[inside])
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.csr_matrix(entries, shape=(size * size,) * 2, dtype=np.float32)


def _sums(g: Geometry, slope: float) -> list[tuple[int, slice, Tensor]]:
    """How rays of ``slope`` sum the turned image: (planes to shift, rows, (bins, rows) weights in mm) of each shift."""
    position = g.across
    sigma = g.tof_ps * 0.1499 * SIGMA  # mm: half of the speed of light times the spread of the difference in time
    edges = np.linspace(-1, 1, g.tof_bins + 1) * g.pixels * g.pixel_mm / 2
    edges[[0, -1]] = -np.inf, np.inf
    weights = np.diff(ndtr((edges[:, None] - position) / sigma), axis=0) * g.spacing[0] * np.hypot(1, slope)
    planes = position * slope / g.spacing[2]
    out = []
    for shift in range(int(np.floor(planes.min())), int(np.ceil(planes.max())) + 1):
        share = np.maximum(1 - abs(planes - shift), 0)
        used = np.flatnonzero(share)
        if used.size:
            rows = slice(int(used[0]), int(used[-1]) + 1)
            out.append((shift, rows, torch.from_numpy((weights * share)[:, rows].astype(np.float32))))
    return out


def _across_psf(g: Geometry) -> Tensor:
    """(x, x) blur along a view, 30 % wider 100 mm from the centre; sums to 1 over what a point gives."""
    sigma = g.psf_mm * SIGMA * (1 + 0.3 * (g.across / 100) ** 2)
    edges = np.append(g.across - g.spacing[0] / 2, g.across[-1] + g.spacing[0] / 2)
    matrix = np.diff(ndtr((edges[:, None] - g.across) / sigma), axis=0)
    matrix[matrix < 1e-6] = 0
    return torch.from_numpy(matrix.astype(np.float32))


def _axial_psf(g: Geometry) -> list[float]:
    """Weights of the blur along the scanner's axis, from the centre outwards."""
    step, sigma = g.spacing[2], g.psf_mm * SIGMA
    offsets = np.arange(int(np.ceil(3 * sigma / step)) + 1)
    weights = ndtr((offsets + 0.5) * step / sigma) - ndtr((offsets - 0.5) * step / sigma)
    return [float(w) for w in weights / (2 * weights.sum() - weights[0])]
