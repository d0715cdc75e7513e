"""The participant level: every scan of a BIDS data set enhanced, each result whole or not there.

    OUT_DIR/dataset_description.json                         GeneratedBy, SourceDatasets
    OUT_DIR/sub-01/[ses-1/]pet/..._desc-enhanced_pet.nii.gz  and its sidecar: Sources, SpatialReference, all settings
    OUT_DIR/sub-01/[ses-1/]pet/...                           regions, uncertainty, limits (``enhancement.enhanced``)
    OUT_DIR/reports/sub-01_..._report.html                   one a scan, and a small picture (_thumbnail.jpg)
    OUT_DIR/group_enhanced.tsv, .json, OUT_DIR/reports/group.html    of ``bids_app.group``

Scans already done, from the same inputs with the same options, are skipped. Failures stop no other scan and
are told at the end.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from m2diff.errors import BadInput
from m2diff.io import atomic, nifti
from m2diff.io.bids import BIDS_VERSION, write_json
from m2diff.io.bids_scans import PetSession
from m2diff.io.hashes import sha256
from m2diff.io.sidecar import drf_in


@dataclass(frozen=True)
class HowToEnhance:
    """The options with which every scan is enhanced."""

    weights: str
    steps: int | None
    samples: int
    drf: float | None
    seed: int
    align: bool
    use_mri: bool
    device: str
    keep_phi: bool
    balance: bool = True
    suvr_reference: str = "cerebellar-grey"
    sha256: str | None = None
    """Hash of the weights' file."""


def participants(
    root: Path, out: Path, scans: Sequence[PetSession], options: HowToEnhance, *, jobs: int, progress: bool
) -> list[tuple[str, str]]:
    """Enhance ``scans`` into ``out``; returns the names of those that failed, each with its reason."""
    from joblib import Parallel, delayed
    from tqdm import tqdm

    describe(root, out)
    missing = [scan for scan in scans if not is_done(scan, out, options)]
    work = Parallel(n_jobs=max(1, min(jobs, len(missing))), return_as="generator_unordered")(
        delayed(_guarded)(root, scan, out, options, threads=jobs > 1) for scan in missing
    )
    done = tqdm(work, total=len(missing), desc="enhance", unit="scan", disable=not (progress and missing))
    return sorted((name, reason) for name, reason in done if reason is not None)


def _guarded(
    root: Path, scan: PetSession, out: Path, options: HowToEnhance, *, threads: bool
) -> tuple[str, str | None]:
    """One scan's name, and why it failed; None where it did not."""
    if threads:
        import torch

        torch.set_num_threads(1)
    try:
        participant(root, scan, out, options)
    except BadInput as refusal:
        return scan.name, " ".join(str(refusal).split())
    except Exception as trouble:  # one scan's failure must not stop the others
        return scan.name, f"unexpected {type(trouble).__name__}: {' '.join(str(trouble).split())[:300]}"
    return scan.name, None


def participant(root: Path, scan: PetSession, out: Path, options: HowToEnhance) -> None:
    """Enhance one scan; image, sidecar and report appear together."""
    from m2diff.enhancement.enhanced import OPTIONAL, save_into
    from m2diff.enhancement.run import enhance
    from m2diff.reporting.page import ReportInputs, write_page
    from m2diff.reporting.thumbnail import thumbnail, thumbnail_path

    mri = scan.mri if options.use_mri else None
    result = enhance(
        scan.pet, mri, weights=options.weights, steps=options.steps, samples=options.samples, drf=options.drf,
        seed=options.seed, align=options.align, device=options.device, balance=options.balance,
        suvr_reference=options.suvr_reference,
    )  # fmt: skip
    page = ReportInputs.of(result, scan.name)
    earlier = [f"{scan.folder.as_posix()}/{scan.name}{ending}.*" for ending in OPTIONAL]  # a run that had more
    with atomic.folder(out, replaces=earlier) as folder:
        place = folder / scan.folder
        place.mkdir(parents=True)
        written = save_into(result, place, keep_phi=options.keep_phi)
        for image in (written.image, *written.images):
            _complete(nifti.sidecar_path(image), root, scan, mri, result, options)
        (folder / "reports").mkdir()
        write_page(folder / "reports" / f"{scan.name}_report.html", page)
        thumbnail_path(folder, scan.name).write_bytes(thumbnail(result.volume, result.low))


def _complete(
    sidecar: Path, root: Path, scan: PetSession, mri: Path | None, result: Any, options: HowToEnhance
) -> None:
    """Add the keys of BIDS derivatives, and the two means of the group's table, to a sidecar."""
    content = json.loads(sidecar.read_text())
    sources = [path for path in (scan.pet, mri) if path is not None]
    content["Sources"] = [f"bids:raw:{path.relative_to(root).as_posix()}" for path in sources]
    content["SkullStripped"] = False
    content["SpatialReference"] = f"bids:raw:{scan.pet.relative_to(root).as_posix()}"
    content["m2diff"]["asked"] = _asked(options)
    content["m2diff"]["means"] = _means(result)
    sidecar.write_text(json.dumps(content, indent=2) + "\n")


def _means(result: Any) -> dict[str, float]:
    """Means of the scan and of the result over the head."""
    from m2diff.preparation import grid
    from m2diff.preparation.mask import PetOnGrid

    head = PetOnGrid.of(result.low).head
    before, after = (float(grid.to_working(volume).data[head].mean()) for volume in (result.low, result.volume))
    return {"input": before, "enhanced": after}


def _asked(options: HowToEnhance) -> dict[str, Any]:
    """The options on which a result depends, kept in its sidecar."""
    return {name: value for name, value in asdict(options).items() if name not in ("device", "sha256")}


def is_done(scan: PetSession, out: Path, options: HowToEnhance) -> bool:
    """Whether the whole result of these files, read alike, with these options is there."""
    image = out / scan.folder / f"{scan.name}_desc-enhanced_pet.nii.gz"
    sidecar = nifti.sidecar_path(image)
    if not (image.is_file() and sidecar.is_file()):
        return False
    try:
        made = json.loads(sidecar.read_text())["m2diff"]
        return bool(made["asked"] == _asked(options) and _inputs_of(made) == _inputs(scan, options))
    except (ValueError, KeyError, TypeError, OSError):
        return False


def _inputs(scan: PetSession, options: HowToEnhance) -> dict[str, Any]:
    """What a result is made from: the files, and what it uses of the scan's sidecar."""
    told = nifti.read_sidecar(scan.pet)
    mri = scan.mri if options.use_mri else None
    return {
        "pet": sha256(scan.pet),
        "mri": None if mri is None else sha256(mri),
        "weights": options.sha256,
        "unit": nifti.unit_of(told),
        "drf": drf_in(told) if options.drf is None else options.drf,
    }


def _inputs_of(made: dict[str, Any]) -> dict[str, Any]:
    """The same as ``_inputs``, from a result's sidecar."""
    return {
        "pet": made["pet"]["sha256"],
        "mri": (made["mri"] or {}).get("sha256"),
        "weights": made["weights"]["sha256"],
        "unit": made["unit"],
        "drf": made["dose_reduction_factor"],
    }


def describe(root: Path, out: Path) -> None:
    """Write the derivative data set's description, and what validators should skip."""
    inside = out.resolve().is_relative_to(root.resolve())
    raw_link = "../.." if inside else root.resolve().as_uri()
    about: dict[str, Any] = {
        "Name": "m2diff: standard-dose estimates of low-dose PET scans",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "License": "not stated; the weights' card limits what they may be used for",
        "GeneratedBy": [{"Name": "m2diff", "Version": version("m2diff")}],
        "DatasetLinks": {"raw": raw_link},
    }
    raw = root / "dataset_description.json"
    if raw.is_file():
        try:
            described = json.loads(raw.read_text())
            about["SourceDatasets"] = [
                {"DOI": described["DatasetDOI"]} if "DatasetDOI" in described else {"URL": raw_link}
            ]
        except (ValueError, OSError, TypeError):
            about["SourceDatasets"] = [{}]
    write_json(out / "dataset_description.json", about)
    with atomic.replacing(out / ".bidsignore") as temporary:
        temporary.write_text("reports\nreports/\nreports/**\ngroup_enhanced.*\n**/*_regions.*\n**/*_clusters.*\n")
