"""What is kept of a scan, dose and method: what the observer's channels see around every site. No volumes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import people
from m2diff.evaluation import observer
from m2diff.volume import Volume

CHANNELS = 4
SEARCH_MM = 20.0
STANDARD = 1.0
MM = np.array(people.PROTOCOL.spacing)
ROOM = int(SEARCH_MM / MM[0])
PLACES = np.argwhere(np.linalg.norm(np.indices([2 * ROOM + 1] * 3).T - ROOM, axis=-1) * MM[0] <= SEARCH_MM) - ROOM
"""The places searched around a region's centre, in PET voxels."""


def path(folder: Path, number: int, scan: int, drf: float, name: str) -> Path:
    """The file of one scan, dose and method."""
    return folder / f"p{number:02d}_s{scan}_drf{drf:g}_{re.sub('[^a-z0-9.]+', '-', name.lower())}.npz"


def width(diameter: float) -> float:
    """The channels' width in voxels: 2/3 of the lesion's radius, blurred as the scanner blurs."""
    blur = np.hypot(people.PROTOCOL.resolution_mm, people.PROTOCOL.postfilter_mm) / np.sqrt(8 * np.log(2))
    return float(np.hypot(diameter / 3, blur) / MM[0])


def seen(image: Volume, person: people.Person) -> dict[str, np.ndarray]:
    """What the channels see, of the image over its mean in each site's region: at the sites, and all over the regions.

    ``site`` (sites, channels) and ``region`` (sites, places, channels), NaN outside the brain and beside other sites.
    """
    kernels = {diameter: observer.channels(width(diameter), CHANNELS) for diameter in people.CONTRASTS}
    margin = ROOM + max(each.shape[1] for each in kernels.values()) // 2 + int(people.OFFSET_MM / MM[0]) + 1
    padded, brain = np.pad(image.data, margin), np.pad(person.brain, margin)
    site_outputs, regions = [], []
    for site in person.sites:
        seen_by, centre = kernels[site.diameter], np.array(site.centre) + margin
        reach = ROOM + seen_by.shape[1] // 2
        places = centre + PLACES
        inside = brain[tuple(places.T)]
        level = padded[tuple(places[inside].T)].mean()
        box = tuple(slice(c - reach, c + reach + 1) for c in centre)
        outputs = observer.respond(padded[box] / level - 1, seen_by)
        site_outputs.append(outputs[tuple(np.array(site.voxel) + margin - centre + ROOM)])
        region = outputs[tuple((PLACES + ROOM).T)]
        region[~inside | beside(site, person)] = np.nan
        regions.append(region)
    return {"site": np.array(site_outputs), "region": np.array(regions, dtype=np.float16)}


def beside(site: people.Site, person: people.Person) -> np.ndarray:
    """The places (places,) of a site's region that another site's lesion, if it has one, would reach."""
    close = np.zeros(len(PLACES), dtype=bool)
    for other in person.sites:
        if other != site:
            away = (PLACES + np.array(site.centre) - other.voxel) * MM
            close |= np.linalg.norm(away, axis=1) < other.diameter / 2 + 8
    return close


def about(person: people.Person, there: np.ndarray) -> dict[str, np.ndarray]:
    """The truth beside a row: of each site its diameter, sign, whether the lesion is there, and where in its region."""
    sites = person.sites
    return {
        "diameter": np.array([site.diameter for site in sites]),
        "hot": np.array([site.hot for site in sites]),
        "present": there,
        "offset_mm": np.array([np.subtract(site.voxel, site.centre) * MM for site in sites]),
    }


@dataclass(frozen=True, eq=False)
class Cases:
    """The rows of one dose and method, (people, scans, sites, ...): see ``seen`` and ``about``."""

    site: np.ndarray
    region: np.ndarray
    diameter: np.ndarray
    hot: np.ndarray
    present: np.ndarray
    offset_mm: np.ndarray

    @classmethod
    def load(cls, folder: Path, finished: Sequence[int], scans: int, drf: float, name: str) -> Cases:
        """Of the people numbered ``finished``."""
        found: dict[str, list[np.ndarray]] = {key: [] for key in cls.__annotations__}
        for number in finished:
            for scan in range(scans):
                with np.load(path(folder, number, scan, drf, name)) as row:
                    for key, each in found.items():
                        each.append(row[key])
        return cls(**{key: np.reshape(each, (len(finished), scans, *each[0].shape)) for key, each in found.items()})

    def of(self, kind: tuple[float, bool], present: bool) -> tuple[np.ndarray, ...]:
        """Indices (person, scan, site) of a kind's cases; those without a lesion are of its size, whatever the sign."""
        chosen = (self.diameter == kind[0]) & (self.present == present)
        return np.nonzero(chosen & (self.hot == kind[1]) if present else chosen)
