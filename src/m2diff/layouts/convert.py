"""`m2diff convert`: between scanners' files, the layouts of known data sets, BIDS and the authors' slices."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from m2diff.errors import BadInput
from m2diff.layouts import adni, bids_out, dacra, sliced, udpet
from m2diff.layouts.visit import Visit


@dataclass(frozen=True)
class Layout:
    """A layout's name for people, whether a folder has it, and what is in it."""

    title: str
    recognises: Callable[[Path], bool]
    visits: Callable[[Path, Sequence[float]], Iterator[Visit]]
    has_doses: bool
    """Whether low-dose scans exist or are made of frames; if not, they are simulated where asked for."""


LAYOUTS = {
    "dacra": Layout("Monash DaCRA (OpenNeuro ds003397)", dacra.recognises, dacra.visits, True),
    "adni": Layout("an export of ADNI's archive", adni.recognises, adni.visits, False),
    "mat": Layout("LD/SD/T1 slices", sliced.recognises, sliced.visits, True),
    "udpet": Layout("the UDPET challenge", udpet.recognises, udpet.visits, True),
}
"""In the order in which they are tried."""


def recognise(root: Path) -> str | None:
    """The name of the layout of ``root``; None where there is none."""
    return next((name for name, layout in LAYOUTS.items() if layout.recognises(root)), None)


def convert(
    root: Path,
    out: Path,
    *,
    layout: str | None = None,
    factors: Sequence[float] = (),
    voxel_mm: tuple[float, float, float] | None = None,
    keep_phi: bool = False,
    progress: bool = False,
) -> tuple[int, list[tuple[str, str]]]:
    """Convert a data set to BIDS; returns how many scans there were, and the name and reason of each that failed.

    ``layout``: one of ``LAYOUTS``; None: recognised. ``factors``: wanted doses. ``voxel_mm``: for 2D slices without it.
    """
    if not root.is_dir():
        raise BadInput(f"{root} is no folder; give the folder of a data set.")
    name = layout or recognise(root)
    if name is None:
        raise BadInput(
            f"{root} has no layout that is known ({', '.join(LAYOUTS)}); name it with --layout, or give DICOM or BIDS."
        )
    if name not in LAYOUTS:
        raise BadInput(f"--layout is one of {', '.join(LAYOUTS)}, got {name!r}; choose one.")
    chosen = LAYOUTS[name]
    if name == "mat" and voxel_mm is not None:
        visits = sliced.visits(root, factors, voxel_mm=voxel_mm)
    else:
        visits = chosen.visits(root, factors)
    missing = () if chosen.has_doses else factors
    count, failures = bids_out.write_bids(
        visits, out, source=chosen.title, factors=missing, keep_phi=keep_phi, progress=progress
    )
    if not count:
        raise BadInput(f"{root} holds no PET scan in the layout of {chosen.title}; check the folder.")
    return count, failures
