"""Simulated people, where their lesions are drawn, and their scans with and without them.

A person has ``SITES`` sites far apart, each with a diameter and a sign of its own. The scans of a person come in pairs:
the first has lesions at half of the sites, the second at the others. So each site is seen as often with its lesion as
without, and the anatomy around it is the same in both classes. The MRI shows none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from scipy import ndimage

from m2diff.shapes import Affine, MaskArray, VolumeArray
from m2diff.simulation import scanner, tracer
from m2diff.simulation.anatomy import Anatomy, make_person
from m2diff.simulation.cohort import ATTENUATION
from m2diff.simulation.sources import AnatomySource, find_sources, mni_source
from m2diff.volume import Volume

NAMES = ("1001", "1012", "1107", "1122", "1128", "MNI152")
"""The anatomies of the study, in turns: the development people and the template. Nobody was trained on."""
TUNING_NAMES = ("1004", "1005", "1018", "1101")
"""Those on whom the filters are tuned: training people, as for the filters that ship."""
CONTRASTS = {5.0: 1.0, 8.0: 0.4, 12.0: 0.28, 16.0: 0.28}
"""By diameter in mm: what a hot lesion adds to the uptake and a cold one takes from it, as a share of it."""
KINDS = tuple((diameter, hot) for diameter in CONTRASTS for hot in (True, False))
SITES = 20
APART_MM = 26.0
OFFSET_MM = 12.0  # the most by which a site lies off the centre of the region that is searched for it
DOSES = (4.0, 10.0, 20.0, 50.0, 100.0)
"""Thinned one after the other in every scan, so that a dose's counts do not depend on which doses are wanted."""
PROTOCOL = scanner.PET_MR


@dataclass(frozen=True)
class Site:
    """A place for a lesion: PET voxel, diameter in mm, sign, and the PET voxel that a search for it is centred on."""

    voxel: tuple[int, int, int]
    diameter: float
    hot: bool
    centre: tuple[int, int, int]

    @property
    def contrast(self) -> float:
        """The share of the uptake that the lesion adds; below 0 where it is cold."""
        return CONTRASTS[self.diameter] if self.hot else -CONTRASTS[self.diameter]


@dataclass(frozen=True, eq=False)
class Person:
    """A person on the scanner: ``activity`` and ``t1`` on the anatomy's grid, the rest on the PET's."""

    number: int
    source: str
    t1: Volume
    activity: Volume
    attenuation: VolumeArray
    affine: Affine
    brain: MaskArray
    sites: tuple[Site, ...]


def sources(folder: Path, names: tuple[str, ...]) -> list[AnatomySource]:
    """The anatomies of those names in ``folder``, and the template."""
    known = {source.person: source for source in (*find_sources(folder), mni_source())}
    return [known[name] for name in names]


@lru_cache(maxsize=1)
def make(folder: Path, names: tuple[str, ...], seed: int, number: int) -> Person:
    """Person ``number`` (0, 1, ...) of a seed: the anatomies take turns, each time in another shape."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number,)))
    source = sources(folder, names)[number % len(names)]
    uptake = tracer.draw_uptake(rng, "healthy")
    anatomy = make_person(source, rng)
    activity = tracer.activity_map(anatomy, uptake, rng) * np.float32(uptake.reference_bq_ml)
    affine = _grid(anatomy)
    tissue = _onto(ndimage.gaussian_filter(anatomy.gm + anatomy.wm, 0.8), anatomy.affine, affine)
    brain = _onto(ndimage.gaussian_filter(anatomy.gm + anatomy.wm + anatomy.csf, 0.8), anatomy.affine, affine) > 0.5
    return Person(
        number,
        source.person,
        Volume(anatomy.t1, anatomy.affine),
        Volume(activity, anatomy.affine, "Bq/mL"),
        _onto(ndimage.gaussian_filter(ATTENUATION[anatomy.tissue_class], 1.0), anatomy.affine, affine),
        affine,
        brain,
        _sites(tissue > 0.9, rng, number),
    )


def present(seed: int, number: int, scan: int) -> np.ndarray:
    """Which sites (SITES,) of person ``number`` hold their lesion in scan 0, 1, ...; odd scans complete even ones."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, 1, scan // 2)))
    chosen = rng.permutation(SITES) < SITES // 2
    return chosen if scan % 2 == 0 else ~chosen


def scan(
    person: Person, there: np.ndarray, seed: int, number: int, wanted: list[float]
) -> Iterator[tuple[float, Volume]]:
    """(dose reduction factor, image) of scan ``number`` of a person with lesions ``there``, standard dose (1) first."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(person.number, 2, number)))
    inside = [site for site, lesion in zip(person.sites, there, strict=True) if lesion]
    edge = person.activity.voxel_size
    blurred = scanner.blur(with_lesions(person, inside), PROTOCOL.resolution_mm, edge)
    on_grid = _onto(blurred, person.activity.affine, person.affine)
    acquisition = scanner.acquire(on_grid, person.attenuation, PROTOCOL)
    for drf, counts in scanner.dose_ladder(acquisition, list(DOSES), rng):
        if drf in (1.0, *wanted):
            yield drf, Volume(scanner.reconstruct(acquisition, counts, drf), person.affine, "Bq/mL")


def with_lesions(person: Person, inside: list[Site]) -> VolumeArray:
    """The activity with balls at some sites; a voxel on a ball's border gets its share."""
    activity = person.activity.data.copy()
    step = person.activity.voxel_size[0]
    for site in inside:
        radius = site.diameter / 2
        centre = np.linalg.solve(person.activity.affine, person.affine @ [*site.voxel, 1.0])[:3]
        low = np.floor(centre - radius / step).astype(int) - 1
        box = tuple(slice(a, a + int(site.diameter / step) + 4) for a in low)
        axes = np.ogrid[box]
        distance = step * np.sqrt(sum((axis - c) ** 2 for axis, c in zip(axes, centre, strict=True)))
        activity[box] *= 1 + np.float32(site.contrast) * ((radius - distance) / step + 0.5).clip(0, 1)
    return activity


def _sites(tissue: MaskArray, rng: np.random.Generator, number: int) -> tuple[Site, ...]:
    """Sites in tissue, ``APART_MM`` from each other; the kinds take turns over the people."""
    places, found = rng.permutation(np.argwhere(tissue)), []
    step = np.array(PROTOCOL.spacing)
    for place in places:
        if all(np.linalg.norm((place - other) * step) >= APART_MM for other in found):
            found.append(place)
        if len(found) == SITES:
            break
    else:
        raise RuntimeError(f"Person {number} has room for {len(found)} of {SITES} sites; draw fewer or nearer ones.")
    sites = []
    for n, voxel in enumerate(found):
        way = rng.normal(size=3)
        off = way / np.linalg.norm(way) * OFFSET_MM * rng.random() ** (1 / 3)
        centre = np.rint(voxel + off / step).astype(int)
        sites.append(Site(tuple(map(int, voxel)), *KINDS[(n + SITES * number) % len(KINDS)], tuple(map(int, centre))))
    return tuple(sites)


def _grid(anatomy: Anatomy) -> Affine:
    """The affine of the PET, with the brain in the centre of the field of view."""
    brain = np.argwhere(anatomy.gm + anatomy.wm > 0.5)
    centre = (anatomy.affine @ [*((brain.min(0) + brain.max(0)) / 2), 1.0])[:3]
    affine = np.diag([*PROTOCOL.spacing, 1.0])
    affine[:3, 3] = centre - (np.array(PROTOCOL.shape) - 1) / 2 * np.array(PROTOCOL.spacing)
    return affine


def _onto(image: VolumeArray, here: Affine, there: Affine) -> VolumeArray:
    """An image of the anatomy's grid on the PET's; the axes are parallel."""
    step = np.linalg.solve(here, there)
    return ndimage.affine_transform(
        image, np.diag(step)[:3], step[:3, 3], output_shape=PROTOCOL.shape, order=1, prefilter=False
    )
