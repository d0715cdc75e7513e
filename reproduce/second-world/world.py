"""A cohort of the second simulated world, in the layout of ``m2diff.io.bids``: see README.md.

from world import make_cohort
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy import ndimage

import persons
import physics
import uptake
from m2diff.errors import BadInput
from m2diff.io import bids, nifti
from m2diff.volume import Volume
from physics import Scanner

ATTENUATION = {"brain": 0.0099, "skull": 0.0146, "scalp": 0.0097}  # 1/mm at 511 keV
LAYERS_MM = (2.0, 8.0, 14.0)  # from the brain: fluid, skull, scalp end here
DRFS = (4.0, 10.0, 20.0, 50.0, 100.0)


@dataclass(frozen=True, eq=False)
class Scan:
    """A person on the PET's grid, in Bq/mL; ``doses`` by dose reduction factor, 1 the standard scan."""

    affine: np.ndarray
    doses: dict[float, np.ndarray]
    noise_free: np.ndarray
    truth: np.ndarray
    labels: np.ndarray
    brain: np.ndarray
    lesion_codes: np.ndarray
    t1: Volume
    record: dict[str, Any]


def simulate(folder: Path, person: str, drfs: Sequence[float], seed: int, scanner: Scanner) -> Scan:
    """One person; ``seed`` and the person's name decide the result."""
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(zlib.crc32(person.encode()),)))
    geometry = scanner.geometry
    anatomy = persons.read(folder, person)
    warp = persons.draw_warp(anatomy, rng, reach_mm=geometry.pixels * geometry.pixel_mm / 2 + 20)
    levels = uptake.draw_levels(anatomy.names, rng)
    unit = float(rng.uniform(12e3, 26e3))  # Bq/mL of cortex
    affine, fine = _grid(scanner, 1), _grid(scanner, 2)
    native = warp.native(persons.grid_points(fine, tuple(2 * n for n in geometry.shape)))
    brain = persons.read_at((anatomy.tissues > 0).astype(np.float32), native) > 0.5
    source = persons.read_at(uptake.activity(anatomy, levels, rng), native)
    source, codes, lesions = uptake.add_lesions(source, brain, fine, rng)
    density = _add_head(source, brain, geometry.spacing[0] / 2, rng)
    source *= np.float32(unit)
    factors = (1.0, *sorted(float(drf) for drf in drfs))
    counts = physics.expect(source, density, scanner)
    images = physics.reconstruct(counts, physics.draw(counts, factors, rng), scanner)
    at = warp.native(persons.grid_points(affine, geometry.shape))
    t1, t1_affine, error = persons.make_t1(anatomy, warp, rng)
    return Scan(
        affine=affine,
        doses={factor: images[..., n] for n, factor in enumerate(factors)},
        noise_free=images[..., -1],
        truth=_halved(source),
        labels=persons.read_at(anatomy.labels, at, order=0),
        brain=_halved(brain.astype(np.float32)) > 0.5,
        lesion_codes=np.where(_halved(codes > 0) >= 0.5, ndimage.maximum_filter(codes, 2, origin=-1)[::2, ::2, ::2], 0),
        t1=Volume(t1, t1_affine, unit="arbitrary"),
        record={
            "anatomy": person,
            "group": "healthy",
            "levels": {str(code): level * unit for code, level in levels.items()},
            "scanner": asdict(scanner),
            "t1_header_error": error.tolist(),
            "lesions": [asdict(lesion) for lesion in lesions],
            "regions": {str(code): name for code, name in anatomy.names.items()},
        },
    )


def make_cohort(
    folder: Path,
    names: Sequence[str],
    out: Path,
    *,
    drfs: Sequence[float] = DRFS,
    seed: int = 0,
    jobs: int = 1,
    scanner: Scanner | None = None,
) -> Path:
    """Make (or finish) the cohort of the persons ``names`` of the anatomies in ``folder``; return ``out``.

    BadInput for dose factors of 1 or less and for a folder that was begun with other settings or holds something else.
    """
    from joblib import Parallel, delayed

    scanner = scanner or Scanner()
    if min(drfs, default=2) <= 1:
        raise BadInput(
            f"--drf expects dose reduction factors above 1, got {list(drfs)}; the standard scan comes by itself."
        )
    _claim(out, {"drfs": sorted(map(float, drfs)), "seed": seed, "scanner": asdict(scanner)})
    listed = sorted({*names, *(path.name.removeprefix("sub-") for path in out.glob("sub-*"))})
    rows = [(f"sub-{name}", name, "healthy") for name in listed]
    bids.write_tsv(out / "participants.tsv", [("participant_id", "anatomy", "group"), *rows])
    missing = [name for name in dict.fromkeys(names) if not bids.record_path(out, name).is_file()]
    Parallel(n_jobs=jobs)(delayed(_make)(folder, name, drfs, seed, scanner, out) for name in missing)
    return out


def _make(folder: Path, name: str, drfs: Sequence[float], seed: int, scanner: Scanner, out: Path) -> None:
    with torch.inference_mode():
        scan = simulate(folder, name, drfs, seed, scanner)
    nifti.save(
        scan.t1, bids.t1_path(out, name), dtype=np.int16, sidecar={"Modality": "MR", "Manufacturer": "simulated"}
    )
    for factor, image in scan.doses.items():
        volume = Volume(np.ascontiguousarray(image), scan.affine, unit="Bq/mL")
        nifti.save(volume, bids.pet_path(out, name, factor), sidecar=_sidecar(scanner, factor))
    for what, image in (("noisefree", scan.noise_free), ("truth", scan.truth)):
        volume = Volume(np.ascontiguousarray(image), scan.affine, unit="Bq/mL")
        nifti.save(volume, bids.derived_path(out, name, what), sidecar={"Units": "Bq/mL"})
    for what, codes in (("regions", scan.labels), ("brain", scan.brain), ("lesions", scan.lesion_codes)):
        volume = Volume(codes.astype(np.float32), scan.affine, unit="label")
        nifti.save(volume, bids.derived_path(out, name, what), dtype=np.int16)
    bids.write_json(bids.record_path(out, name), scan.record)  # last: it marks the person as finished


def _claim(out: Path, settings: dict[str, Any]) -> None:
    """Write the data set's description, or refuse a folder that is not of these settings."""
    path = out / "dataset_description.json"
    words = {"Name": "Second simulated world", "BIDSVersion": bids.BIDS_VERSION, "DatasetType": "raw"}
    settings = json.loads(json.dumps(settings))
    if not path.is_file():
        if out.is_dir() and any(out.iterdir()):
            raise BadInput(f"{out} is not empty and holds no cohort of this world; choose another folder.")
        bids.write_json(path, {**words, "SecondWorld": settings})
    elif json.loads(path.read_text()).get("SecondWorld") != settings:
        raise BadInput(f"{out} holds a data set made with other settings; choose another folder or delete it.")


def _grid(scanner: Scanner, fine: int) -> np.ndarray:
    """The affine of the PET's grid, or of one ``fine`` times finer over the same space, about world 0."""
    geometry = scanner.geometry
    spacing = np.array(geometry.spacing) / fine
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = -(np.array(geometry.shape) * fine - 1) / 2 * spacing
    return affine


def _halved(image: np.ndarray) -> np.ndarray:
    """The mean of every 2 x 2 x 2 voxels."""
    x, y, z = (n // 2 for n in image.shape)
    return image.reshape(x, 2, y, 2, z, 2).mean((1, 3, 5))


def _add_head(source: np.ndarray, brain: np.ndarray, voxel_mm: float, rng: np.random.Generator) -> np.ndarray:
    """Grow fluid, skull and scalp around the brain, add their uptake to ``source``; the attenuation in 1/mm."""
    solid = ndimage.binary_closing(brain[::2, ::2, ::2], iterations=4)
    distance = ndimage.distance_transform_edt(~solid) * 2 * voxel_mm
    away = ndimage.zoom(distance.astype(np.float32), 2, order=1, grid_mode=True, mode="nearest")
    fluid_end, skull_end, scalp_end = LAYERS_MM
    skull = (away > fluid_end) & (away <= skull_end) & ~brain
    scalp = (away > skull_end) & (away <= scalp_end)
    source += skull * np.float32(rng.uniform(0.08, 0.15)) + scalp * np.float32(rng.uniform(0.12, 0.25))
    inside = np.float32(ATTENUATION["brain"]) * (away <= fluid_end)
    return inside + np.float32(ATTENUATION["skull"]) * skull + np.float32(ATTENUATION["scalp"]) * scalp


def _sidecar(scanner: Scanner, factor: float) -> dict[str, Any]:
    """The fields of the PET that BIDS asks for and this world knows."""
    return {
        "Modality": "PT",
        "Manufacturer": "simulated",
        "ManufacturersModelName": "second world, 3D TOF",
        "Units": "Bq/mL",
        "TracerName": "FDG",
        "TracerRadionuclide": "F18",
        "InjectedRadioactivity": 200 / factor,
        "InjectedRadioactivityUnits": "MBq",
        "TimeZero": "12:00:00",
        "InjectionStart": 0,
        "ScanStart": 2400,
        "FrameTimesStart": [0],
        "FrameDuration": [900],
        "ImageDecayCorrected": True,
        "ImageDecayCorrectionTime": 0,
        "ReconMethodName": "PSF + TOF OSEM",
        "ReconMethodParameterLabels": ["iterations", "subsets"],
        "ReconMethodParameterValues": [scanner.iterations, scanner.subsets],
        "ReconFilterType": "Gaussian",
        "ReconFilterSize": scanner.filter_mm,
        "DoseReductionFactor": factor,
        "Simulated": True,
    }
