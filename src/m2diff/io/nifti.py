"""Read and write NIfTI images in any orientation, voxel size and number type; refuse what is not an image of a head."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt

from m2diff.errors import BadInput
from m2diff.io.atomic import replacing
from m2diff.io.hashes import sha256
from m2diff.shapes import Affine, VolumeArray
from m2diff.volume import Source, Volume

SMALLEST = 16  # least voxels per axis and slices per series: fewer is a thumbnail or a single slice

PER_FRAME = {
    "FrameTimesStart",
    "FrameTimeStart",
    "FrameDuration",
    "DecayFactor",
    "DecayCorrectionFactor",
    "ScatterFraction",
}
"""Keys of a sidecar that list one value a frame."""

_UNITS = {
    "bqml": "Bq/mL",
    "bq/ml": "Bq/mL",
    "kbqml": "kBq/mL",
    "kbq/ml": "kBq/mL",
    "gml": "SUV",  # DICOM's word for SUV by body weight
    "g/ml": "SUV",
    "suv": "SUV",
    "suvbw": "SUV",
    "cnts": "counts",
}


def load(path: Path | str, *, what: str = "PET", allow_blank: bool = False, frame: int | None = None) -> Volume:
    """Read a NIfTI file (.nii, .nii.gz) as float32, with its unit and the JSON sidecar beside it.

    ``what`` names the image in error messages; ``frame`` (from 1) picks one of several frames. Negative values stay.
    Raises BadInput for a missing or damaged file, several frames, a 2D or colour image, NaN or infinity, a missing or
    impossible affine, and (unless ``allow_blank``) a constant image.
    """
    path = Path(path)
    image = _open(path, what)
    stored = _read(image, path, what)
    count = stored.shape[3] if stored.ndim == 4 else 1
    if frame is not None and not 1 <= frame <= count:
        raise BadInput(f"The {what} {path} has {count} frame(s), got --frame {frame}; choose one of them.")
    data = _three_axes(stored if frame is None or stored.ndim != 4 else stored[..., frame - 1], path, what)
    affine = _affine(image, path, what)
    if not np.isfinite(data).all():
        bad = int((~np.isfinite(data)).sum())
        raise BadInput(
            f"The {what} {path} must hold finite numbers, but {bad} voxels are NaN, infinite or beyond 3e38; repair it."
        )
    if not allow_blank and float(data.min()) == float(data.max()):
        raise BadInput(
            f"The {what} {path} is {data.flat[0]:g} in every voxel and shows nothing; check that it is the right file."
        )
    sidecar = read_sidecar(path)
    if frame is not None and count > 1:
        sidecar = {
            key: [value[frame - 1]] if isinstance(value, list) and len(value) == count and key in PER_FRAME else value
            for key, value in sidecar.items()
        }
    source = Source(path, sha256(path), image.get_data_dtype(), sidecar)
    return Volume(data, affine, unit_of(sidecar), (f"loaded {path.name}",), source)


def save(
    volume: Volume, path: Path | str, *, dtype: npt.DTypeLike = np.float32, sidecar: Mapping[str, Any] | None = None
) -> Path:
    """Write ``volume`` (and ``sidecar`` as the JSON beside it) whole or not at all; return the path.

    Integer types are scaled to the largest value (16 bits: error below 2e-5 of it); whole numbers that fit stay exact.
    """
    path = Path(path)
    if not path.name.endswith((".nii", ".nii.gz")):
        raise BadInput(f"An image is written as .nii or .nii.gz, got the name {path.name}; choose one of these.")
    stored, slope, inter = _encoded(volume.data, _storable(np.dtype(dtype)))
    image = nib.Nifti1Image(stored, volume.affine)
    image.header.set_slope_inter(slope, inter)
    image.header.set_xyzt_units("mm")
    image.set_qform(volume.affine, code=1)
    image.set_sform(volume.affine, code=1)
    with ExitStack() as files:
        temporary = files.enter_context(replacing(path))
        if sidecar is not None:
            unit = {} if volume.unit == "unknown" else {"Units": volume.unit}
            beside = files.enter_context(replacing(sidecar_path(path)))
            beside.write_text(json.dumps({**unit, **sidecar}, indent=2) + "\n")
        image.to_filename(temporary)
    return path


def stem(path: Path | str) -> str:
    """The name of a NIfTI file without its ending."""
    return re.sub(r"\.(nii|img|hdr)(\.gz)?$", "", Path(path).name, flags=re.IGNORECASE)


def sidecar_path(path: Path | str) -> Path:
    """Where the JSON of a NIfTI file lies."""
    return Path(path).with_name(f"{stem(path)}.json")


def read_sidecar(path: Path | str) -> dict[str, Any]:
    """The JSON beside a NIfTI file, empty where there is none."""
    beside = sidecar_path(path)
    if not beside.is_file():
        return {}
    try:
        # An integer of hundreds of digits is too large for a float.
        content = json.loads(
            beside.read_text(),
            parse_int=lambda text: int(text) if len(text) < 300 else math.inf,
            parse_constant=lambda _: None,  # NaN and Infinity are not JSON; strict readers refuse them
        )
    except (ValueError, OSError, RecursionError) as trouble:
        raise BadInput(f"The sidecar {beside} is not readable JSON; correct or remove it.") from trouble
    if not isinstance(content, dict):
        raise BadInput(f"The sidecar {beside} must be one JSON object, got a {type(content).__name__}; correct it.")
    return content


def _open(path: Path, what: str) -> Any:
    if not path.exists():
        raise BadInput(f"The {what} {path} does not exist; check the path.")
    if path.is_dir():
        raise BadInput(f"The {what} must be a NIfTI file, but {path} is a folder; give the file in it.")
    if path.stat().st_size == 0:
        raise BadInput(f"The {what} {path} is empty; copy or convert it again.")
    try:
        image = nib.load(path)
    except Exception as trouble:  # nibabel raises whatever damaged bytes provoke
        raise BadInput(
            f"The {what} {path} is no readable NIfTI file; copy it again, or convert it to .nii.gz."
        ) from trouble
    if not isinstance(image, nib.Nifti1Pair):
        raise BadInput(f"The {what} {path} must be NIfTI, got {type(image).__name__}; convert it to .nii.gz.")
    return image


def _read(image: Any, path: Path, what: str) -> npt.NDArray[np.float32]:
    kind = image.get_data_dtype()
    if kind.names is not None or kind.kind not in "iuf":
        colour = "a colour" if kind.names is not None else f"a {kind}"
        raise BadInput(
            f"The {what} {path} must hold one real number a voxel, but is {colour} image; export it as grey."
        )
    try:
        _holds_its_voxels(image, check_whole(path))
        with np.errstate(over="ignore"):  # values beyond float32 become infinite and are refused
            return np.asarray(image.dataobj, dtype=np.float32)
    except Exception as trouble:  # see above
        raise BadInput(f"The {what} {path} is cut off or damaged; copy or convert it again.") from trouble


def check_whole(path: Path) -> int:
    """A file's unpacked size in bytes. A packed file is read to its end, where gzip raises on a wrong checksum."""
    if not path.name.lower().endswith(".gz"):  # as nibabel tells it
        return path.stat().st_size
    held = 0
    with gzip.open(path) as stream:
        while part := stream.read(1 << 22):
            held += len(part)
    return held


def _holds_its_voxels(image: Any, held: int) -> None:
    """Refuse a header that promises more voxels than the file holds, before memory is reserved for them."""
    shape, kind = image.shape, image.get_data_dtype()
    promised = math.prod(shape) * kind.itemsize
    if min(shape, default=0) < 0 or (
        isinstance(image, nib.Nifti1Image) and promised + getattr(image.dataobj, "offset", 0) > held
    ):
        raise ValueError(f"{promised} bytes of voxels promised")


def _three_axes(data: npt.NDArray[np.float32], path: Path, what: str) -> VolumeArray:
    shape = "x".join(map(str, data.shape))
    while data.ndim > 3 and data.shape[-1] == 1:
        data = data[..., 0]
    if data.ndim > 3:
        raise BadInput(
            f"The {what} {path} must be one 3D image, but has {data.ndim} axes ({shape}); "
            "average the frames first, or pick one (--frame)."
        )
    if data.ndim < 3 or min(data.shape) < SMALLEST:
        raise BadInput(
            f"The {what} {path} must be a 3D image of at least {SMALLEST} voxels an axis, got {shape}; "
            "give the whole volume."
        )
    return np.ascontiguousarray(data)


def _affine(image: Any, path: Path, what: str) -> Affine:
    if int(image.header["sform_code"]) == 0 and int(image.header["qform_code"]) == 0:
        raise BadInput(
            f"The {what} {path} does not say where it lies (neither sform nor qform is set); "
            "convert it again from DICOM, or set its orientation."
        )
    if int(image.header["sform_code"]) == 0 and not _written_edges(image).all():
        raise BadInput(f"The {what} {path} gives a voxel edge of zero and no sform; correct the size in its header.")
    affine = np.asarray(image.affine, dtype=np.float64)
    if not np.isfinite(affine).all() or abs(np.linalg.det(affine[:3, :3])) < 1e-6:
        raise BadInput(f"The affine of the {what} {path} has no inverse; correct the sform or qform in its header.")
    edges = np.linalg.norm(affine[:3, :3], axis=0)
    if edges.max() > 20.0 or edges.min() < 0.1:
        sizes = " x ".join(f"{edge:g}" for edge in edges)
        raise BadInput(
            f"The voxels of the {what} {path} measure {sizes} mm, which no head scan has; correct its header."
        )
    return affine


def _written_edges(image: Any) -> npt.NDArray[np.float64]:
    """(3,) Voxel edges as the file states them; nibabel silently reads a zero as 1 mm."""
    holder = image.file_map.get("header", image.file_map["image"])
    with nib.openers.ImageOpener(holder.filename) as stream:
        header = type(image.header).from_fileobj(stream, check=False)
    return np.asarray(header["pixdim"][1:4], dtype=np.float64)


def unit_of(sidecar: Mapping[str, Any]) -> str:
    """The unit that a sidecar states, in the spelling used here; ``unknown`` where it states none."""
    word = str(sidecar.get("Units") or "").strip()
    return _UNITS.get(word.lower(), word) or "unknown"


def _storable(dtype: np.dtype) -> np.dtype:
    """The nearest type that NIfTI readers know, in this machine's byte order."""
    if dtype.kind == "f":
        return np.dtype(np.float64 if dtype.itemsize > 4 else np.float32)
    if dtype.kind in "iu":
        return dtype.newbyteorder("=") if dtype.itemsize <= 4 else np.dtype(np.int32)
    return np.dtype(np.uint8 if dtype.kind == "b" else np.float32)


def _encoded(data: VolumeArray, dtype: np.dtype) -> tuple[npt.NDArray[Any], float, float]:
    """Stored numbers, slope and intercept with data = stored * slope + intercept."""
    if dtype.kind == "f":
        return data.astype(dtype), 1.0, 0.0
    low, high = float(data.min()), float(data.max())
    limits = np.iinfo(dtype)
    if limits.min <= low and high <= limits.max and np.array_equal(data, np.rint(data)):
        return data.astype(dtype), 1.0, 0.0
    inter = low if limits.min == 0 and low < 0 else 0.0  # unsigned numbers have no room below zero
    reach = max(high - inter, -(low - inter))
    # Readers keep slope and intercept in float32: divide by the rounded value.
    slope = float(np.float32(reach / limits.max * (1 + 1e-6))) or 1.0
    stored = np.rint((data.astype(np.float64) - np.float32(inter)) / slope)
    return stored.clip(limits.min, limits.max).astype(dtype), slope, float(np.float32(inter))
