"""A finished scan, and its files.

{scan}_desc-enhanced_pet.nii.gz      the result, on the scan's grid and in its unit; its sidecar records everything
{scan}_desc-uncertainty_pet.nii.gz   its standard deviation, where the weights are calibrated
{scan}_desc-limit8mm_pet.nii.gz ...  the smallest contrast of a lesion of that size that would show (1 is 100 %)
{scan}_dseg.nii.gz, _dseg.tsv        the regions and their names
{scan}_regions.tsv, .json            means with intervals, SUVR, asymmetry
{scan}_clusters.tsv, .json           places where the scan contradicts the result
{scan}_desc-spread_pet.nii.gz        standard deviation over several draws
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m2diff.enhancement.trusted import Trust, finite
from m2diff.io import atomic, nifti
from m2diff.io.bids import write_json, write_tsv
from m2diff.io.sidecar import without_phi
from m2diff.trust import hidden, table
from m2diff.volume import Volume

OPTIONAL = ("_desc-spread_pet", "_desc-uncertainty_pet", "_desc-limit*_pet", "_dseg", "_regions", "_clusters")
"""Endings of the files that one result has and another may lack."""


@dataclass(frozen=True, eq=False)
class Enhanced:
    """A result: ``volume`` on the PET's grid and in its unit, and what a report needs.

    ``spread``: standard deviation over the draws, likewise; None for one. ``low``: the input. ``mri``: normalised, on
    the PET's grid. ``trust``: regions, uncertainty, flagged places. ``settings``: inputs, weights, options and
    versions, JSON-ready.
    """

    volume: Volume
    spread: Volume | None
    low: Volume
    mri: Volume | None
    trust: Trust
    settings: dict[str, Any]
    warnings: tuple[str, ...]
    lost: str = ""
    """What is lost at such a dose, where that is much or not known: the report opens with it."""

    def save(self, folder: Path | str, *, keep_phi: bool = False) -> Written:
        """Write the result into ``folder``; see ``save_result``."""
        return save_result(self, folder, keep_phi=keep_phi)


@dataclass(frozen=True)
class Written:
    """Where the results of one scan lie. ``images``: every PET image beside the first, each with its sidecar."""

    image: Path
    spread: Path | None
    sidecar: Path
    dicom: tuple[Path, ...] = ()
    """Folders of derived DICOM series, where the scan came as DICOM."""
    images: tuple[Path, ...] = ()
    regions: Path | None = None


def save_result(enhanced: Enhanced, out: Path | str, *, keep_phi: bool = False) -> Written:
    """Write all files of a result, and derived series for DICOM input, into ``out``, all or none.

    Sidecars hold no names, numbers or dates unless ``keep_phi``; a DICOM series names its patient as the input does.
    """
    out = Path(out)
    with atomic.folder(out) as temporary:
        written = save_into(enhanced, temporary, keep_phi=keep_phi)

    def there(paths: Sequence[Path]) -> tuple[Path, ...]:
        return tuple(out / path.name for path in paths)

    spread, regions = (None if path is None else out / path.name for path in (written.spread, written.regions))
    image, sidecar = there((written.image, written.sidecar))
    return Written(image, spread, sidecar, there(written.dicom), there(written.images), regions)


def save_into(enhanced: Enhanced, folder: Path, *, keep_phi: bool = False) -> Written:
    """As ``save_result``, for callers that add files of their own before all appear (``io.atomic.folder``)."""
    source, trust = enhanced.low.source, enhanced.trust
    dtype = np.dtype(np.float32) if source is None else source.dtype
    stem = stem_of(enhanced.low)
    sidecar = {} if source is None else source.sidecar if keep_phi else without_phi(source.sidecar)
    kept = {key: value for key, value in sidecar.items() if key != "Units"}

    def image(volume: Volume, name: str, what: str, dtype: np.dtype[Any] = np.dtype(np.float32)) -> Path:
        path = folder / f"{stem}_desc-{name}_pet.nii.gz"
        nifti.save(volume, path, dtype=dtype, sidecar={**kept, "Description": what, **_provenance(enhanced)})
        return path

    main = image(enhanced.volume, "enhanced", "standard-dose estimate of a low-dose PET scan", dtype)
    spread = None if enhanced.spread is None else image(enhanced.spread, "spread", "standard deviation over the draws")
    images = [] if spread is None else [spread]
    if trust.uncertainty is not None:
        about = "standard deviation of the estimate against the noise-free scan, calibrated on simulated people"
        images.append(image(trust.uncertainty, "uncertainty", about))
    for size, limit in trust.limits.items():
        about = f"smallest contrast of a lesion of {size} that the residual test finds with 80 % power; 1 is 100 %"
        images.append(image(limit, f"limit{size.replace(' ', '')}", about))
    regions = _tables(trust, folder, stem)
    series = () if source is None or source.series is None else _write_dicom(enhanced, folder)
    return Written(main, spread, nifti.sidecar_path(main), series, tuple(images), regions)


def stem_of(low: Volume) -> str:
    """What the names of a scan's files begin with."""
    return ("pet" if low.source is None else nifti.stem(low.source.path)).removesuffix("_pet")


def _tables(trust: Trust, folder: Path, stem: str) -> Path | None:
    """Write regions and flagged places; returns the table of regions."""
    if not np.isfinite(trust.threshold):  # nobody looked
        return None
    write_tsv(folder / f"{stem}_clusters.tsv", [list(hidden.COLUMNS), *(one.cells() for one in trust.clusters)])
    write_json(folder / f"{stem}_clusters.json", _described(hidden.COLUMNS) | {"Threshold": trust.threshold})
    if trust.table is None or trust.dseg is None:
        return None
    if trust.source != "labels":  # the user's own lie where they were
        nifti.save(trust.dseg, folder / f"{stem}_dseg.nii.gz", dtype=np.int16, sidecar={"RegionsFrom": trust.source})
        names = [[str(number), name] for number, name in trust.names.items()]
        write_tsv(folder / f"{stem}_dseg.tsv", [["index", "name"], *names])
    path = folder / f"{stem}_regions.tsv"
    write_tsv(path, trust.table.to_tsv())
    about = {"SuvrReference": trust.table.reference, "AlzheimerMetaRegionSuvr": finite(trust.table.meta_roi, 6)}
    write_json(folder / f"{stem}_regions.json", _described(table.COLUMNS) | about | {"RegionsFrom": trust.source})
    return path


def _described(columns: dict[str, str]) -> dict[str, Any]:
    return {name: {"Description": text} for name, text in columns.items()}


def _write_dicom(enhanced: Enhanced, folder: Path) -> tuple[Path, ...]:
    """The image, and the spread where there is one, as DICOM series derived from the input's."""
    from m2diff.io import dicom

    settings = enhanced.settings
    name, made = settings["weights"]["name"], settings["versions"]["m2diff"]
    identity = json.dumps({key: value for key, value in settings.items() if key != "versions"}, sort_keys=True)
    about = f"m2diff {made}, {name}: standard-dose estimate of a low-dose PET scan"
    about += "; its MRI was read" if settings["mri"] else "; PET alone"
    image = dicom.Derivation(f"m2diff {name}", f"{about}. {dicom.NOT_FOR_DIAGNOSIS}.", identity, made)
    dicom.write(enhanced.volume, folder / "dicom", image)
    if enhanced.spread is None:
        return (folder / "dicom",)
    unit = f"standard deviation over {settings['samples']} draws, in the unit of the image"
    spread = dicom.Derivation(f"m2diff {name} SD", f"{about}: {unit}. {dicom.NOT_FOR_DIAGNOSIS}.", identity, made, 1)
    dicom.write(enhanced.spread, folder / "dicom-spread", spread)
    return folder / "dicom", folder / "dicom-spread"


def _provenance(enhanced: Enhanced) -> dict[str, Any]:
    """How the result was made, for its sidecar, in BIDS's keys where they exist."""
    inputs = [name for name in (enhanced.settings["pet"], enhanced.settings["mri"]) if name]
    return {
        "Sources": [entry["file"] for entry in inputs],
        "GeneratedBy": [{"Name": "m2diff", "Version": enhanced.settings["versions"]["m2diff"]}],
        "m2diff": enhanced.settings,
    }
