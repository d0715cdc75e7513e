"""The training cache: a cohort prepared once, in arrays that training can map into memory.

    CACHE/sub-001/low_drf20.npy ...    normalised low-dose scans, one a dose       (d, h, w) float16
    CACHE/sub-001/standard.npy         the standard-dose scan, in units of meta.json's ``unit``
    CACHE/sub-001/noise_free.npy       the noise-free reconstruction, likewise, where the cohort has one
    CACHE/sub-001/classes.npy          the share of each tissue of ``batch.CLASSES`` in a voxel, at the scanner's
    CACHE/sub-001/classes.npy          tissue fractions, PET resolution, 255ths    (classes, d, h, w) uint8
    CACHE/sub-001/mask.npy             the brain                                   (d, h, w) bool
    CACHE/sub-001/meta.json            names, boxes, and for each dose the factor from ``standard`` to its scale

All lie on the working grid. As when enhancing, the scale of a pair comes from its low-dose scan; ``standard *
ratio[drf]`` is the target that belongs to ``low_drf``. A subject's folder appears whole or not at all.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import TypeAdapter
from scipy import ndimage

from m2diff.data.tissues import tissue_shares
from m2diff.errors import BadInput
from m2diff.io.bids import Subject, find_subjects
from m2diff.shapes import MaskArray, VolumeArray
from m2diff.volume import Volume

if TYPE_CHECKING:
    from m2diff.preparation.register import Alignment

FORMAT = 6
"""Raise it when the cache's content changes its meaning: older caches are then made anew."""

Stored = npt.NDArray[np.float16]  # (d, h, w)


@dataclass(frozen=True)
class Box:
    """A box in a stack: first index and one past the last along d, h, w."""

    low: tuple[int, int, int]
    high: tuple[int, int, int]

    @classmethod
    def around(cls, mask: MaskArray) -> Box:
        """The smallest box that holds ``mask`` (d, h, w); the whole stack where the mask is empty."""
        whole = tuple(slice(0, size) for size in mask.shape)
        d, h, w = (ndimage.find_objects(mask.astype(np.uint8)) or [whole])[0]
        return cls((d.start, h.start, w.start), (d.stop, h.stop, w.stop))


@dataclass(frozen=True)
class Meta:
    """What ``meta.json`` holds."""

    format: int
    label: str
    person: str
    group: str
    unit: float
    """The scale, in the scan's own unit, by which ``standard`` was divided."""
    ratio: dict[float, float]
    """For each dose reduction factor: ``unit`` divided by the scale of that low-dose scan."""
    brain: Box
    head: Box
    sizes: dict[str, int]
    """Bytes of the source files: another size means another cohort."""

    def to_json(self) -> str:
        """The text of ``meta.json``."""
        return json.dumps(asdict(self), indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Meta:
        """The record in the text of a ``meta.json``."""
        return TypeAdapter(cls).validate_json(text)


@dataclass(frozen=True)
class PreparedSubject:
    """One subject of the cache; its arrays are mapped, not read, until they are cut."""

    folder: Path
    meta: Meta

    @property
    def label(self) -> str:
        """The subject's label in the cohort."""
        return self.meta.label

    @property
    def person(self) -> str:
        """The anatomy it was made from; splits go by person."""
        return self.meta.person

    @property
    def doses(self) -> tuple[float, ...]:
        """Dose reduction factors at hand, ascending."""
        return tuple(sorted(self.meta.ratio))

    def between(self, drf: float) -> tuple[float, ...]:
        """The dose reduction factors between the standard's and ``drf``, ascending."""
        return tuple(dose for dose in self.doses if 1.0 < dose < drf)

    def factor(self, dose: float, drf: float) -> float:
        """The factor from the scale of ``low(dose)`` to that of ``low(drf)``."""
        return self.meta.ratio[drf] / self.meta.ratio[dose]

    def low(self, drf: float) -> Stored:
        """The normalised low-dose scan (d, h, w)."""
        return self._map(f"low_drf{drf:g}")

    @property
    def standard(self) -> Stored:
        """The standard-dose scan (d, h, w); times ``meta.ratio[drf]`` it is the target of ``low(drf)``."""
        return self._map("standard")

    @property
    def knows_noise_free(self) -> bool:
        """Whether there is a noise-free reconstruction; real scans have none."""
        return (self.folder / "noise_free.npy").is_file()

    @property
    def noise_free(self) -> Stored:
        """The noise-free reconstruction (d, h, w), in the scale of ``standard``; BadInput where there is none."""
        if not self.knows_noise_free:
            raise BadInput(f"sub-{self.label} has no noise-free image to train towards; set data.target=standard.")
        return self._map("noise_free")

    @property
    def classes(self) -> npt.NDArray[np.uint8] | None:
        """The tissue fractions (classes, d, h, w), in 255ths; None where the cohort has no labels."""
        return self._map("classes") if (self.folder / "classes.npy").is_file() else None

    @property
    def mri(self) -> Stored | None:
        """The normalised MRI (d, h, w); None where the session has none."""
        return self._map("mri") if (self.folder / "mri.npy").is_file() else None

    @property
    def mask(self) -> MaskArray:
        """The brain (d, h, w)."""
        return self._map("mask")

    def _map(self, name: str) -> Any:
        return np.load(self.folder / f"{name}.npy", mmap_mode="r")


def prepare_cohort(root: Path | str, cache: Path | str, *, jobs: int = 1, progress: bool = False) -> Path:
    """Prepare every finished subject of the BIDS cohort ``root`` that ``cache`` lacks, by ``jobs`` processes."""
    from joblib import Parallel, delayed
    from tqdm import tqdm

    cache = Path(cache)
    cache.mkdir(parents=True, exist_ok=True)
    missing = [subject for subject in find_subjects(root) if not _is_current(cache / f"sub-{subject.label}", subject)]
    work = Parallel(n_jobs=jobs, return_as="generator_unordered")(
        delayed(_prepared)(subject, cache) for subject in missing
    )
    bar = tqdm(work, total=len(missing), desc="prepare", unit="scan", disable=not (progress and missing))
    refused = sorted(reason for reason in bar if reason is not None)
    if refused:
        raise BadInput(
            f"{len(refused)} of the cohort's sessions cannot be prepared (the others are): {' '.join(refused[:5])} "
            "Mend them or take them out."
        )
    return cache


def _prepared(subject: Subject, cache: Path) -> str | None:
    """Prepare one subject; returns its name and the reason where that fails."""
    try:
        prepare_subject(subject, cache)
    except BadInput as refusal:
        return f"sub-{subject.label}: {refusal}"
    return None


def open_cohort(cache: Path | str) -> list[PreparedSubject]:
    """The subjects of a cache, in the order of their labels; refuses a folder that holds none."""
    records = sorted(Path(cache).glob("sub-*/meta.json"))
    if not records:
        raise BadInput(f"{cache} holds no prepared subject; prepare a simulated cohort into it first.")
    return [PreparedSubject(record.parent, Meta.from_json(record.read_text())) for record in records]


def is_cache(folder: Path) -> bool:
    """True when ``folder`` is itself a training cache."""
    return any(folder.glob("sub-*/meta.json"))


def prepare_subject(subject: Subject, cache: Path) -> None:
    """Prepare one subject into ``cache``; its folder appears only when it is complete."""
    if not subject.low:
        raise BadInput(
            f"sub-{subject.label} has no low-dose scan to train on; simulate the cohort with at least one --drf."
        )
    final = cache / f"sub-{subject.label}"
    partial = Path(tempfile.mkdtemp(prefix=f".{final.name}.", dir=cache))
    try:
        meta = _write_arrays(subject, partial)
        (partial / "meta.json").write_text(meta.to_json())
        partial.chmod(0o755)
        shutil.rmtree(final, ignore_errors=True)
        partial.rename(final)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _write_arrays(subject: Subject, folder: Path) -> Meta:
    from m2diff.io import nifti
    from m2diff.preparation import grid, mask, pair
    from m2diff.preparation.register import align

    mri = None if subject.t1 is None else nifti.load(subject.t1, what="MRI")
    clean = nifti.load(subject.standard)
    # A simulated MRI lies in the scanner's space and needs no registration. One MRI serves all doses.
    place: Alignment | Literal[False] = False if mri is None or subject.record is not None else align(mri, clean)
    scales: dict[float, float] = {}
    for drf, path in sorted(subject.low.items()):
        low = nifti.load(path)
        if not low.same_grid(clean):
            raise BadInput(f"{path} and its standard-dose scan must share one grid, but do not; resample one of them.")
        prepared = pair.prepare(low, None if scales else mri, drf=drf, align=place)
        if prepared.mri is not None:
            _save(folder / "mri.npy", prepared.mri)
        if not scales:
            head = Box.around(np.transpose(mask.support(prepared.low)))
        _save(folder / f"low_drf{drf:g}.npy", prepared.low)
        scales[drf] = prepared.scale
    unit = next(iter(scales.values()))
    standard = grid.to_working(clean).data / unit
    brain = _brain(subject, clean, mri, place)
    _save(folder / "standard.npy", standard)
    if subject.noise_free is not None:
        _save(folder / "noise_free.npy", grid.to_working(nifti.load(subject.noise_free)).data / unit)
    if subject.labels is not None and subject.record is not None:
        np.save(folder / "classes.npy", tissue_shares(subject.labels, subject.record))
    np.save(folder / "mask.npy", np.ascontiguousarray(np.transpose(brain)))
    return Meta(
        format=FORMAT,
        label=subject.label,
        person=subject.person,
        group=subject.group,
        unit=unit,
        ratio={drf: unit / scale for drf, scale in scales.items()},
        brain=Box.around(np.transpose(brain)),
        head=head,
        sizes=_sizes(subject),
    )


def _brain(subject: Subject, standard: Volume, mri: Volume | None, place: Alignment | Literal[False]) -> MaskArray:
    """The brain (i, j, k) on the working grid: the cohort's mask, else the MRI's, else the scan's own support."""
    from m2diff.io import nifti
    from m2diff.preparation import brain, grid, mask

    if subject.mask is not None:
        return grid.to_working(nifti.load(subject.mask, what="mask")).data > 0.5
    working = grid.to_working(standard)
    if mri is None:
        return mask.support(working.data)
    matrix = place.matrix if place else None
    return grid.onto(brain.brain_mask(mri), working.affine, working.data.shape, matrix) > 0.5


def _save(path: Path, array: VolumeArray) -> None:
    """Store a volume (i, j, k) as a float16 stack (d, h, w)."""
    np.save(path, np.ascontiguousarray(np.transpose(array), dtype=np.float16))


def _is_current(folder: Path, subject: Subject) -> bool:
    record = folder / "meta.json"
    if not record.is_file():
        return False
    raw = json.loads(record.read_text())
    known = raw.get("person") == subject.person  # older caches name the template, not its person
    return raw.get("format") == FORMAT and raw.get("sizes") == _sizes(subject) and known


def _sizes(subject: Subject) -> dict[str, int]:
    paths = [subject.t1, subject.standard, *subject.low.values(), subject.mask]
    return {path.name: path.stat().st_size for path in paths if path is not None}
