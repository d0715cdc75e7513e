"""The noise of a uniform cylinder: a real scanner's, the first simulated world's and this one's.

    python reproduce/second-world/compare_noise.py GE_CYLINDER [--out reproduce/second-world/results]

GE_CYLINDER is a folder of DICOM slices (a GE Discovery 710: TOF OSEM, 2 x 24, no filter). Each world scans the same
cylinder by its own default protocol, and reconstructed as the GE was (its voxels, 2 x 24, no filter and no resolution
model); their noise-free image is taken off, which shows how uneven an unfinished reconstruction is. Noise is what is
left of a slice without its quadratic surface. Spectra are of a square of 98 mm in the middle and of a run of
neighbouring slices of about 75 mm, without the mean of the slices. Written are noise.md and noise.png.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
import pydicom
import torch

import physics
from m2diff.simulation import scanner as first
from physics import Scanner
from tof import Geometry

RADIUS_MM, WATER = 97.5, 0.0096  # the GE's cylinder; 1/mm at 511 keV
SQUARE_MM, RUN_MM, END_MM = 98.0, 75.0, (10.0, 25.0)
HEADS = (
    *("cylinder", "voxel, mm", "SD, %", "grain in plane, mm", "grain along axis, mm", "mean frequency in plane, 1/mm"),
    *("along axis, 1/mm", "SD centre / edge", "SD axial end / middle"),
)
GE_GRID = {"pixels": 70, "slices": 48, "voxel_mm": 3.646, "slice_mm": 3.27}


@dataclass(frozen=True, eq=False)
class Cylinder:
    """One scan. ``image``: (x, y, z), the cylinder along z through the middle of x and y; ``middle``: a plane."""

    name: str
    image: np.ndarray
    voxel_mm: float
    slice_mm: float
    middle: int

    @property
    def run(self) -> slice:
        """Neighbouring slices about the middle."""
        half = round(RUN_MM / 2 / self.slice_mm)
        return slice(self.middle - half, self.middle + half)

    @property
    def radius(self) -> np.ndarray:
        """(x, y) distance from the axis in mm."""
        x, y = (np.arange(n) - (n - 1) / 2 for n in self.image.shape[:2])
        return np.hypot(x[:, None], y[None]) * self.voxel_mm

    def noise(self, planes: slice) -> np.ndarray:
        """The noise of ``planes`` over their mean, (z, x, y); see the module."""
        inside = self.radius < 88
        x, y = ((np.indices(inside.shape) / n - 0.5)[axis] for axis, n in enumerate(inside.shape))
        surface = np.stack([x**0, x, y, x * y, x**2, y**2], axis=-1)
        slices = np.moveaxis(self.image[..., planes], -1, 0)
        fits = np.linalg.lstsq(surface[inside], slices[:, inside].T, rcond=None)[0]
        return np.where(inside, slices - (surface @ fits).transpose(2, 0, 1), 0) / slices[:, inside].mean()

    def square(self) -> np.ndarray:
        """The noise of the run in the square in the middle, (z, n, n)."""
        n = round(SQUARE_MM / self.voxel_mm)
        low = (self.image.shape[0] - n) // 2
        noise = self.noise(self.run)[:, low : low + n, low : low + n]
        return noise - noise.mean(0)


def read_ge(folder: Path) -> Cylinder:
    """The real one: the longest run of neighbouring slices, cut around the cylinder's axis; the middle of its bed."""
    slices = sorted((pydicom.dcmread(f) for f in folder.glob("*.dcm")), key=lambda s: float(s.ImagePositionPatient[2]))
    places = np.array([float(s.ImagePositionPatient[2]) for s in slices])
    thickness, voxel = float(slices[0].SliceThickness), float(slices[0].PixelSpacing[0])
    breaks = np.flatnonzero(abs(np.diff(places) - thickness) > 0.1) + 1
    longest = max(np.split(np.arange(len(slices)), breaks), key=len)
    image = np.stack([slices[n].pixel_array * float(slices[n].RescaleSlope) for n in longest], axis=-1)
    image = image[..., :47].astype(np.float32)  # one bed position of 157 mm
    solid = image.mean(-1) > 0.5 * image.mean(-1).max()
    row, column = (round(c) for c in np.argwhere(solid).mean(0))
    half = int(110 / voxel)
    cut = image[row - half : row + half + 1, column - half : column + half + 1]
    return Cylinder("GE Discovery 710, real", cut, voxel, thickness, image.shape[2] // 2)


def first_world(name: str, protocol: first.Protocol) -> Cylinder:
    """The first world's scanner on the cylinder."""
    solid = _cylinder(protocol.shape, protocol.voxel_mm)
    acquisition = first.acquire(first.blur(solid, protocol.resolution_mm, protocol.spacing), solid * WATER, protocol)
    counts = next(first.dose_ladder(acquisition, [], np.random.default_rng(0)))[1]
    image = first.reconstruct(acquisition, counts) - first.reconstruct(acquisition, acquisition.expected) + 1
    return Cylinder(name, image, protocol.voxel_mm, protocol.slice_mm, protocol.slices // 2)


def second_world(name: str, scanner: Scanner) -> Cylinder:
    """This world's scanner on the cylinder."""
    geometry = scanner.geometry
    solid = _cylinder(replace(geometry, fine=2).shape, geometry.pixel_mm / 2)
    with torch.inference_mode():
        counts = physics.expect(solid, solid * WATER, scanner)
        drawn = physics.draw(counts, [1.0], np.random.default_rng(0))
        image = physics.reconstruct(counts, drawn, scanner)
    return Cylinder(name, image[..., 0] - image[..., 1] + 1, geometry.pixel_mm, geometry.slice_mm, geometry.slices // 2)


def as_ge() -> tuple[first.Protocol, Scanner]:
    """The GE's voxels and reconstruction, with counts that give about its noise."""
    plain = {"subsets": 24, "iterations": 2}
    protocol = first.Protocol(**GE_GRID, **plain, views=240, postfilter_mm=0.0, bin_mm=2.5, counts=0.77)
    names = {"pixels": "pixels", "slices": "slices", "voxel_mm": "pixel_mm", "slice_mm": "slice_mm"}
    geometry = Geometry(**{names[key]: value for key, value in GE_GRID.items()}, angles=96, psf_mm=0.01)
    return protocol, Scanner(geometry, filter_mm=0.0, trues=1.1e8, **plain)


def _cylinder(shape: tuple[int, int, int], voxel_mm: float) -> np.ndarray:
    x, y = ((np.arange(n) - (n - 1) / 2) * voxel_mm for n in shape[:2])
    inside = np.hypot(x[:, None], y[None]) < RADIUS_MM
    return np.repeat(inside[:, :, None], shape[2], axis=2).astype(np.float32)


def in_plane(cylinder: Cylinder) -> tuple[np.ndarray, np.ndarray]:
    """(frequencies in 1/mm, power by the area under it): the mean over slices and directions."""
    noise = cylinder.square()
    n = noise.shape[1]
    window = np.hanning(n + 2)[1:-1]
    power = (abs(np.fft.fft2(noise * window * window[:, None])) ** 2).mean(0)
    frequency = np.fft.fftfreq(n, cylinder.voxel_mm)
    radius = np.hypot(frequency[:, None], frequency)
    ring = np.rint(radius * n * cylinder.voxel_mm).astype(int)
    rings = range(1, n // 2)
    found = np.array([power[ring == r].mean() for r in rings])
    at = np.array(rings) / n / cylinder.voxel_mm
    return at, found / np.trapezoid(found, at)


def axial(cylinder: Cylinder) -> tuple[np.ndarray, np.ndarray]:
    """As ``in_plane``, along the axis."""
    noise = cylinder.square()
    n = len(noise)
    power = (abs(np.fft.rfft(noise * np.hanning(n + 2)[1:-1, None, None], axis=0)) ** 2).mean((1, 2))[1:]
    at = np.arange(1, n // 2 + 1) / n / cylinder.slice_mm
    return at, power / np.trapezoid(power, at)


def grain_mm(cylinder: Cylinder, axis: int) -> float:
    """Full width at half maximum of the noise's autocorrelation along ``axis`` (0: along the cylinder), in mm."""
    noise = np.moveaxis(cylinder.square(), axis, 0)
    step = cylinder.slice_mm if axis == 0 else cylinder.voxel_mm
    lags = range(min(12, len(noise) // 2))
    together = np.array([(noise[lag:] * noise[: len(noise) - lag]).mean() for lag in lags])
    together /= together[0]
    after = int(np.argmax(together < 0.5))
    share = (together[after - 1] - 0.5) / (together[after - 1] - together[after])
    return 2 * step * (after - 1 + share)


def by_radius(cylinder: Cylinder) -> tuple[np.ndarray, np.ndarray]:
    """(mm, SD over that of the centre) of rings of 10 mm."""
    noise = cylinder.noise(cylinder.run)
    edges = np.arange(0, 90, 10)
    rings = pairwise(edges)
    inside = [(cylinder.radius >= low) & (cylinder.radius < high) for low, high in rings]
    spread = np.array([noise[:, ring].std() for ring in inside])
    return edges[:-1] + 5.0, spread / spread[:3].mean()


def row(cylinder: Cylinder) -> str:
    """The cylinder's line of the table."""
    run, radius = cylinder.noise(cylinder.run), cylinder.radius
    centre, edge = radius < 30, (radius > 65) & (radius < 85)
    end = cylinder.noise(slice(*(round(mm / cylinder.slice_mm) for mm in END_MM)))
    means = [float(np.average(at, weights=power)) for at, power in (in_plane(cylinder), axial(cylinder))]
    cells = [
        f"{100 * run[:, radius < 85].std():.1f}",
        *(f"{grain_mm(cylinder, axis):.1f}" for axis in (1, 0)),
        *(f"{mean:.3f}" for mean in means),
        f"{run[:, centre].std() / run[:, edge].std():.2f}",
        f"{end[:, radius < 85].std() / run[:, radius < 85].std():.2f}",
    ]
    return f"| {cylinder.name} | {cylinder.voxel_mm:.2f} x {cylinder.slice_mm:.2f} | {' | '.join(cells)} |"


def table(cylinders: list[Cylinder]) -> Iterator[str]:
    """The lines of the table."""
    yield f"| {' | '.join(HEADS)} |"
    yield "|---" * len(HEADS) + "|"
    yield from map(row, cylinders)


def draw(cylinders: list[Cylinder], path: Path) -> None:
    """The spectra, the SD over the radius, and the slice in the middle of each cylinder."""
    figure, places = plt.subplots(2, max(3, len(cylinders)), figsize=(14, 6))
    curves: list[tuple[str, str, Callable]] = [
        ("power in plane", "1/mm", in_plane),
        ("power along the axis", "1/mm", axial),
        ("SD over that of the centre", "mm from the axis", by_radius),
    ]
    for (title, unit, curve), place in zip(curves, places[0], strict=False):
        for cylinder in cylinders:
            place.plot(*curve(cylinder), label=cylinder.name)
        place.set(title=title, xlabel=unit)
    handles, labels = places[0, 0].get_legend_handles_labels()
    places[0, 3].legend(handles, labels, loc="upper left", fontsize=8, frameon=False)
    for place in places[0, 3:]:
        place.axis("off")
    for cylinder, place in zip(cylinders, places[1], strict=False):
        inner = cylinder.image[cylinder.radius < 60][:, cylinder.middle]
        half, middle = int(105 / cylinder.voxel_mm), cylinder.image.shape[0] // 2
        around = slice(middle - half, middle + half)
        place.imshow(cylinder.image[around, around, cylinder.middle], cmap="gray_r", vmin=0, vmax=1.6 * inner.mean())
        place.set_title(cylinder.name, fontsize=8)
        place.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=70)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("ge", type=Path, help="folder of the GE's DICOM slices")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results")
    given = parser.parse_args()
    protocol, scanner = as_ge()
    cylinders = [
        read_ge(given.ge),
        first_world("first world, as the GE", protocol),
        second_world("second world, as the GE", scanner),
        first_world("first world", first.PET_MR),
        second_world("second world", Scanner()),
    ]
    lines = "\n".join(table(cylinders))
    print(lines)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "noise.md").write_text(lines + "\n")
    draw(cylinders, given.out / "noise.png")


if __name__ == "__main__":
    main()
