"""Find PET scans and their T1w MRIs in any BIDS data set, by names; not below derivatives, sourcedata and code."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from m2diff.errors import BadInput
from m2diff.io.nifti import stem

_ENTITY = re.compile(r"(?P<key>[a-z]+)-(?P<value>[A-Za-z0-9]+)")
_NIFTI = (".nii.gz", ".nii")


@dataclass(frozen=True)
class PetSession:
    """One PET image and the MRI that goes with it."""

    pet: Path
    mri: Path | None
    entities: dict[str, str]

    @property
    def subject(self) -> str:
        """The participant's label, without ``sub-``."""
        return self.entities["sub"]

    @property
    def session(self) -> str | None:
        """The session's label, without ``ses-``; None where the data set has no sessions."""
        return self.entities.get("ses")

    @property
    def name(self) -> str:
        """The file's name without suffix and ending: the entities."""
        return stem(self.pet).removesuffix("_pet")

    @property
    def folder(self) -> Path:
        """Where a derivative of it lies, below the output folder."""
        session = [] if self.session is None else [f"ses-{self.session}"]
        return Path(f"sub-{self.subject}", *session, "pet")


def find_scans(
    root: Path | str, *, participants: Sequence[str] = (), sessions: Sequence[str] = (), **wanted: str | None
) -> list[PetSession]:
    """Every PET scan of a BIDS data set, sorted by name, each with its T1w where there is one.

    ``participants``, ``sessions`` (with or without ``sub-``, ``ses-``) and entities such as ``rec`` or ``trc`` select.
    Raises BadInput for an unknown label or where no scan is left.
    """
    root = Path(root)
    if not root.is_dir():
        raise BadInput(f"The BIDS folder {root} does not exist; check the path.")
    people = sorted(path for path in root.glob("sub-*") if path.is_dir())
    if not people:
        raise BadInput(f"{root} holds no sub-* folder, so it is no BIDS data set; give the folder above them.")
    asked = [label.removeprefix("sub-") for label in participants]
    unknown = sorted(set(asked) - {path.name.removeprefix("sub-") for path in people})
    if unknown:
        names = [path.name.removeprefix("sub-") for path in people]
        there = ", ".join(names[:10]) + (" ..." if len(names) > 10 else "")
        raise BadInput(f"{root} has no participant {', '.join(unknown)}; it has {there}.")
    kept = [path for path in people if not asked or path.name.removeprefix("sub-") in asked]
    found = [
        PetSession(pet, _closest(pet, _images(person, "anat", "T1w")), _entities(pet))
        for person in kept
        for pet in _images(person, "pet", "pet")
    ]
    chosen_sessions = {label.removeprefix("ses-") for label in sessions}
    found = [scan for scan in found if not chosen_sessions or scan.session in chosen_sessions]
    for key, value in wanted.items():
        if value is not None:
            found = [scan for scan in found if scan.entities.get(key) == value.removeprefix(f"{key}-")]
    if not found:
        raise BadInput(
            f"No PET scan in {root} fits (sub-*/[ses-*/]pet/*_pet.nii.gz); check the labels that were asked."
        )
    return found


def _images(person: Path, kind: str, suffix: str) -> list[Path]:
    """Images of a kind of one participant, with or without sessions, each once (.nii.gz before .nii)."""
    places = [person / kind, *sorted(path / kind for path in person.glob("ses-*"))]
    found: dict[tuple[Path, str], Path] = {}
    for path in [path for ending in _NIFTI for place in places for path in place.glob(f"sub-*_{suffix}{ending}")]:
        found.setdefault((path.parent, stem(path)), path)
    return sorted(found.values())


def _closest(pet: Path, anatomies: Sequence[Path]) -> Path | None:
    """The T1w of the same session, or else of the first; of several, the plain one first (fewest entities)."""
    session = _entities(pet).get("ses")

    def rank(path: Path) -> tuple[bool, int, str]:
        entities = _entities(path)
        return entities.get("ses") != session, len(entities), path.name

    return min(anatomies, key=rank, default=None)


def _entities(path: Path) -> dict[str, str]:
    return {match["key"]: match["value"] for match in _ENTITY.finditer(stem(path))}
