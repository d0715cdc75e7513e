"""The scans of a simulated cohort as calibration and the tables need them, enhanced and on the working grid."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from m2diff.enhancement import cards
from m2diff.enhancement.volume import run_volume
from m2diff.evaluation.case import Case
from m2diff.evaluation.regions import FLUID, MIN_VOLUME_ML, words
from m2diff.io import bids
from m2diff.parcellation import segment
from m2diff.preparation import grid
from m2diff.preparation.pair import prepare


@dataclass(frozen=True, eq=False)
class Scan:
    """One scan, normalised, (i, j, k).

    ``answer``: before the balance. ``fine``, ``regions``: found by m2diff. ``labels``: the simulator's, of which
    ``tissue`` are at least 1 ml and no fluid.
    """

    person: str
    drf: float
    low: np.ndarray
    answer: np.ndarray
    standard: np.ndarray
    noise_free: np.ndarray
    head: np.ndarray
    brain: np.ndarray
    affine: np.ndarray
    fine: np.ndarray
    regions: np.ndarray
    labels: np.ndarray
    tissue: np.ndarray
    lesions: np.ndarray

    def save(self, path: Path) -> None:
        """Write to an .npz file."""
        np.savez_compressed(path, **vars(self))

    @classmethod
    def load(cls, path: Path) -> Scan:
        """Read what ``save`` wrote."""
        held = dict(np.load(path))
        return cls(person=str(held.pop("person")), drf=float(held.pop("drf")), **held)


def scans(cohort: Path, weights: str, work: Path, *, mri: bool) -> Iterator[Scan]:
    """Every scan of ``cohort``, enhanced where ``work`` lacks it; a refused one is left out and said."""
    loaded = None
    for subject in bids.find_subjects(cohort):
        case, parcels = None, None
        for drf in sorted(subject.low):
            file = work / f"{subject.label}_{drf:g}_{'mri' if mri else 'pet'}.npz"
            if not file.is_file():
                work.mkdir(parents=True, exist_ok=True)
                case = case or Case.load(cohort, subject)
                loaded = loaded or cards.load_weights(weights)
                parcels = parcels or (segment.find(case.t1) if mri else None)
                made(case, drf, loaded, parcels).save(file)
                print(file.stem, flush=True)
            yield Scan.load(file)


def made(case: Case, drf: float, loaded: cards.Weights, parcels: segment.Parcels | None) -> Scan:
    """One scan enhanced; without ``parcels`` from the PET alone, with the template's regions."""
    prepared = prepare(case.low[drf], None if parcels is None else case.t1, drf=drf)
    answer = run_volume(loaded.model, prepared, seed=0)
    if parcels is None or prepared.alignment is None:
        placed = segment.from_template(prepared.restore(answer))
    else:
        placed = parcels.moved(prepared.alignment.matrix)
    shape, scale = prepared.low.shape, np.float32(prepared.scale)

    def labelled(volume: object) -> np.ndarray:
        index = np.linalg.inv(volume.affine) @ prepared.affine  # type: ignore[attr-defined]
        return segment.voted(np.rint(volume.data).astype(np.int32), index, shape)  # type: ignore[attr-defined]

    labels = labelled(case.labels)
    names = {int(code): name for code, name in case.record["regions"].items()}
    return Scan(
        person=str(case.record["anatomy"]),
        drf=drf,
        low=prepared.low,
        answer=answer,
        standard=grid.to_working(case.standard).data / scale,
        noise_free=grid.to_working(case.noise_free).data / scale,
        head=prepared.support,
        brain=labelled(case.mask) > 0,
        affine=prepared.affine,
        fine=placed.fine_on(prepared.affine, shape),
        regions=placed.regions_on(prepared.affine, shape),
        labels=labels,
        tissue=tissue(labels, names),
        lesions=labelled(case.lesions),
    )


def tissue(labels: np.ndarray, names: dict[int, str]) -> np.ndarray:
    """The labels that count: at least ``MIN_VOLUME_ML``, and no fluid by name."""
    volumes = np.bincount(labels[labels > 0]) * grid.WORKING_MM**3 / 1000
    large = np.flatnonzero(volumes >= MIN_VOLUME_ML).tolist()
    return np.array([n for n in large if not any(word in words(names.get(n, "")) for word in FLUID)])
