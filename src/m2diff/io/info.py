"""What the tool understands of an input, before anything is done with it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from m2diff.errors import BadInput
from m2diff.io import nifti
from m2diff.io.load import ENDINGS
from m2diff.io.phi import without_phi


@dataclass(frozen=True)
class About:
    """One image: what it is, its grid, its unit, and what is wrong with it. No patient data."""

    name: str
    format: str
    modality: str
    shape: tuple[int, ...]
    voxel_mm: tuple[float, ...]
    orientation: str
    unit: str
    tracer: str = ""
    dose_mbq: float | None = None
    weight_kg: float | None = None
    suv_factor: float | None = None
    """SUV of one unit of the image."""
    problems: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def lines(self) -> list[str]:
        """The same for a reader."""
        size = " x ".join(map(str, self.shape))
        edges = " x ".join(f"{edge:.3f}".rstrip("0").rstrip(".") for edge in self.voxel_mm)
        found = [
            f"{self.name}",
            f"  format       {self.format}",
            f"  modality     {self.modality}",
            f"  grid         {size} voxels of {edges} mm, {self.orientation}",
            f"  unit         {self.unit}",
        ]
        if self.tracer:
            found.append(f"  tracer       {self.tracer}")
        if self.dose_mbq is not None:
            found.append(f"  dose         {self.dose_mbq:g} MBq")
        if self.weight_kg is not None:
            found.append(f"  weight       {self.weight_kg:g} kg")
        if self.suv_factor is not None:
            found.append(f"  SUV          image x {self.suv_factor:.6g}")
        return found + [f"  problem      {problem}" for problem in self.problems]


def describe(path: Path | str) -> list[About]:
    """Every image that the tool sees at ``path``: a NIfTI file, or the series of a DICOM file or folder.

    Raises BadInput where there is none.
    """
    path = Path(path)
    if path.is_file() and path.name.lower().endswith(ENDINGS):
        return [_of_nifti(path)]
    from m2diff.io import dicom

    if not path.exists():
        raise BadInput(f"{path} does not exist; check the path.")
    stacks = dicom.find(path) if dicom.is_dicom(path) else []
    if path.is_dir():
        files = sorted(file for file in path.rglob("*.nii*") if file.is_file())
        found = [_of_nifti(file) for file in files[:200]]
    else:
        found = []
    found += [_of_stack(stack) for stack in stacks]
    if not found:
        raise BadInput(f"{path} holds no image that can be read (NIfTI or DICOM); give a scan.")
    return found


def _of_nifti(path: Path) -> About:
    try:
        volume = nifti.load(path, what="image", allow_blank=True)
    except BadInput as refusal:
        return About(path.name, "NIfTI", "unknown", (), (), "", "unknown", problems=(str(refusal),))
    sidecar = without_phi(volume.source.sidecar) if volume.source else {}
    modality = str(sidecar.get("Modality") or ("PET" if "_pet" in path.name else "MRI" if "T1w" in path.name else "?"))
    dose, unit = sidecar.get("InjectedRadioactivity"), str(sidecar.get("InjectedRadioactivityUnits", ""))
    problems: list[str] = []
    mbq = float(dose) if isinstance(dose, int | float) else None
    if mbq is not None and unit.lower() in ("bq", ""):
        mbq /= 1e6
    if mbq is not None and not 0.1 <= mbq <= 1e5:
        problems.append(f"InjectedRadioactivity is {dose:g} {unit or 'of no stated unit'}, which is impossible")
    if modality in ("PET", "PT") and volume.unit == "unknown":
        problems.append("the unit is not stated (Units in the JSON sidecar)")
    weight = sidecar.get("BodyWeight", sidecar.get("PatientWeight"))
    return About(
        name=path.name,
        format="NIfTI",
        modality={"PT": "PET", "MR": "MRI"}.get(modality, modality),
        shape=volume.shape,
        voxel_mm=tuple(round(edge, 4) for edge in volume.voxel_size),
        orientation=_orientation(volume.affine),
        unit=volume.unit,
        tracer=str(sidecar.get("TracerName", sidecar.get("Radiopharmaceutical", ""))),
        dose_mbq=mbq,
        weight_kg=float(weight) if isinstance(weight, int | float) else None,
        problems=tuple(problems),
    )


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
        tracer = sidecar.tracer(stack.header)
    except Exception as trouble:  # pydicom raises whatever a damaged header provokes
        quantity, tracer = None, ""
        problems.append(f"the header is damaged ({type(trouble).__name__})")
    if quantity is not None:
        problems += quantity.problems
    return About(
        name=stack.label,
        format="DICOM",
        modality=what,
        shape=shape,
        voxel_mm=tuple(round(float(edge), 4) for edge in np.linalg.norm(affine[:3, :3], axis=0)),
        orientation=_orientation(affine),
        unit=read.UNITS.get(quantity.units, quantity.units or "unknown") if quantity else "unknown",
        tracer=tracer,
        dose_mbq=quantity.dose_bq / 1e6 if quantity and quantity.dose_bq else None,
        weight_kg=quantity.weight_kg if quantity else None,
        suv_factor=quantity.factor if quantity else None,
        problems=tuple(problems),
    )


def _orientation(affine: np.ndarray) -> str:
    import nibabel as nib

    return "".join(nib.aff2axcodes(affine))
