"""What the tool understands of an input."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

from m2diff.errors import BadInput
from m2diff.io import kind, nifti
from m2diff.io.load import ENDINGS
from m2diff.io.reconstruction import reconstruction
from m2diff.io.sidecar import without_phi

DECAY = {"START": "corrected to the scan's start", "ADMIN": "corrected to the injection", "NONE": "not corrected"}
_MRI = re.compile(r"(?:^|[^a-z0-9])(?:t1w?|t2w?|mp-?rage|flair|mri?)(?:$|[^a-z0-9])", re.IGNORECASE)
_PET = re.compile(r"(?:^|[^a-z0-9])pet(?:$|[^a-z0-9])", re.IGNORECASE)


@dataclass(frozen=True)
class About:
    """One image: what it is, its grid, its unit and its problems. No patient data."""

    name: str
    format: str
    modality: str
    shape: tuple[int, ...]
    voxel_mm: tuple[float, ...]
    orientation: str
    unit: str
    decay: str = ""  # reference of the decay correction
    tracer: str = ""
    dose_mbq: float | None = None
    weight_kg: float | None = None
    suv_factor: float | None = None  # SUV of one unit of the image
    reconstruction: str = ""  # as the sidecar states it
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The same as lines of text."""
        size = " x ".join(map(str, self.shape))
        edges = " x ".join(f"{edge:.3f}".rstrip("0").rstrip(".") for edge in self.voxel_mm)
        said = {
            "format": self.format,
            "modality": self.modality,
            "grid": f"{size} voxels of {edges} mm, {self.orientation}",
            "unit": self.unit,
            "decay": self.decay,
            "tracer": self.tracer,
            "dose": "" if self.dose_mbq is None else f"{self.dose_mbq:g} MBq",
            "weight": "" if self.weight_kg is None else f"{self.weight_kg:g} kg",
            "SUV": "" if self.suv_factor is None else f"image x {self.suv_factor:.6g}",
            "recon": self.reconstruction,
        }
        known = [f"  {name:<12} {words}" for name, words in said.items() if words]
        return [self.name, *known, *(f"  problem      {problem}" for problem in self.problems)]


def info(path: Path | str) -> list[About]:
    """Describe every image at ``path``: a NIfTI file, or the series of a DICOM file or folder. BadInput if none."""
    path = Path(path)
    if path.is_file() and path.name.lower().endswith(ENDINGS):
        return [_of_nifti(path)]
    from m2diff.io import dicom

    if not path.exists():
        raise BadInput(f"{path} does not exist; check the path.")
    stacks = dicom.find_stacks(path) if dicom.is_dicom(path) else []
    files = sorted(file for file in path.rglob("*.nii*") if file.is_file()) if path.is_dir() else []
    found = [*map(_of_nifti, files[:200]), *map(_of_stack, stacks)]
    if not found:
        raise BadInput(f"{path} holds no image that can be read (NIfTI or DICOM); give a scan.")
    return found


def _of_nifti(path: Path) -> About:
    try:
        volume = nifti.load(path, what="image", allow_blank=True)
    except BadInput as refusal:
        return About(path.name, "NIfTI", "unknown", (), (), "", "unknown", problems=(str(refusal),))
    sidecar = without_phi(volume.source.sidecar) if volume.source else {}
    modality = {"PT": "PET", "MR": "MRI"}.get(str(sidecar.get("Modality")), _guess(path.name))
    problems: list[str] = []
    dose = _megabecquerel(sidecar, problems)
    if modality == "PET" and volume.unit == "unknown":
        problems.append("the unit is not stated (Units in the JSON sidecar)")
    problems += kind.problems(volume, modality)
    weight = _number(sidecar, "BodyWeight", "PatientWeight")
    decay = str(sidecar.get("DecayCorrection", "")) if modality == "PET" else ""
    return About(
        name=path.name,
        format="NIfTI",
        modality=modality,
        shape=volume.shape,
        voxel_mm=tuple(round(edge, 4) for edge in volume.voxel_size),
        orientation="".join(nib.aff2axcodes(volume.affine)),
        unit=volume.unit,
        decay=DECAY.get(decay, ""),
        tracer=str(sidecar.get("TracerName", sidecar.get("Radiopharmaceutical", ""))),
        dose_mbq=dose,
        weight_kg=weight,
        suv_factor=_suv_factor(sidecar, volume.unit, dose, weight),
        reconstruction=reconstruction(sidecar) if modality == "PET" else "",
        problems=tuple(problems),
    )


def _guess(name: str) -> str:
    """Guess the modality from a file's name: a NIfTI without sidecar has nothing else."""
    words = name.replace("_", " ")
    return "PET" if _PET.search(words) else "MRI" if _MRI.search(words) else "?"


def _megabecquerel(sidecar: Mapping[str, Any], problems: list[str]) -> float | None:
    """The injected dose in MBq; an impossible one is added to ``problems`` and not used."""
    dose, unit = _number(sidecar, "InjectedRadioactivity"), str(sidecar.get("InjectedRadioactivityUnits", ""))
    if dose is None:
        return None
    known = {"bq": 1e-6, "": 1e-6, "kbq": 1e-3, "mbq": 1.0, "gbq": 1e3, "mci": 37.0}.get(unit.lower())
    if known is not None and 0.1 <= dose * known <= 1e5:
        return dose * known
    hint = "; perhaps it is in Bq" if 1e5 <= dose <= 1e11 else ""
    said = f"{dose:g} {unit[:16] or 'of no stated unit'}"
    problems.append(f"InjectedRadioactivity is {said}, which is impossible{hint}")
    return None


def _suv_factor(sidecar: Mapping[str, Any], unit: str, dose: float | None, weight: float | None) -> float | None:
    """SUV of one unit of the image, where a BIDS sidecar gives all that it needs."""
    from m2diff.io.suv import HALF_LIFE_S

    if unit == "SUV":
        return 1.0
    scale = {"Bq/mL": 1.0, "kBq/mL": 1000.0}.get(unit)
    nuclide = re.sub(r"^(\d+)([A-Za-z]+)$", r"\2\1", str(sidecar.get("TracerRadionuclide", "")).replace("-", ""))
    half_life = HALF_LIFE_S.get(nuclide)
    corrected, injected = _number(sidecar, "ImageDecayCorrectionTime"), _number(sidecar, "InjectionStart")
    if scale is None or dose is None or weight is None or half_life is None or corrected is None or injected is None:
        return None
    wait = corrected - injected  # both count from the scan's time zero
    if not (sidecar.get("ImageDecayCorrected") and 1 <= weight <= 400 and 0 <= wait < 24 * 3600):
        return None
    return scale * weight * 1000.0 / (dose * 1e6 * 2.0 ** (-wait / half_life))


def _number(sidecar: Mapping[str, Any], *keys: str) -> float | None:
    """The first of these keys that holds a finite number."""
    values = [sidecar.get(key) for key in keys]
    numbers = (float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool) and abs(v) < 1e300)
    return next(numbers, None)


def _of_stack(stack: Any) -> About:
    from m2diff.io import suv
    from m2diff.io.dicom import read, sidecar

    what = {"PT": "PET", "MR": "MRI"}.get(stack.modality, stack.modality or "?")
    problems: list[str] = []
    affine, shape = np.eye(4), (stack.columns, stack.rows, len(stack.slices))
    try:
        slices = read.ordered(read.at_one_time(stack, what, frame=None), stack, what)
        affine, shape = read.affine(slices, stack), (stack.columns, stack.rows, len(slices))
    except BadInput as refusal:
        problems.append(str(refusal))
    try:
        quantity = suv.quantity(stack.header) if stack.modality == "PT" else None
        tracer = sidecar.tracer_name(stack.header)
        made = reconstruction(sidecar.sidecar(stack.header)) if stack.modality == "PT" else ""
    except Exception as trouble:  # pydicom raises whatever a damaged header provokes
        quantity, tracer, made = None, "", ""
        problems.append(f"the header is damaged ({type(trouble).__name__})")
    if quantity is not None:
        problems += quantity.problems
    return About(
        name=stack.label,
        format="DICOM",
        modality=what,
        shape=shape,
        voxel_mm=tuple(round(float(edge), 4) for edge in np.linalg.norm(affine[:3, :3], axis=0)),
        orientation="".join(nib.aff2axcodes(affine)),
        unit=read.UNITS.get(quantity.units, quantity.units or "unknown") if quantity else "unknown",
        decay=DECAY.get(quantity.decay_correction, "") if quantity else "",
        tracer=tracer,
        dose_mbq=quantity.dose_bq / 1e6 if quantity and quantity.dose_bq else None,
        weight_kg=quantity.weight_kg if quantity else None,
        suv_factor=quantity.factor if quantity else None,
        reconstruction=made,
        problems=tuple(problems),
    )
