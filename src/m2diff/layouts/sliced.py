"""Folders of 2D slices as the released code of M2Diff reads them, in and out.

    ROOT/train/LD/sub-001_slice-045.mat     ``slice_data``: one axial slice of the low-dose PET, (rows, columns)
    ROOT/train/SD/sub-001_slice-045.mat     the same of the standard-dose PET
    ROOT/train/T1/sub-001_slice-045.mat     the same of the MRI, on the PET's grid
    ROOT/val/...   ROOT/test/...
    ROOT/geometry.json                      ours: where the slices came from

Rows run along y (posterior to anterior), columns along x (left to right), as in RAS. PET slices are divided by one
scale a scan, from its low-dose image, MRI slices by their tissue. Without ``geometry.json``, slices are stacked by
number, with the voxel size that is asked for.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from m2diff.errors import BadInput
from m2diff.io import atomic, nifti
from m2diff.io.bids import Subject, find_subjects
from m2diff.layouts.visit import Visit
from m2diff.volume import Volume

SPLITS = ("train", "val", "test")
_LOW, _STANDARD, _GUIDE = "LD", "SD", "T1"
_KEY = "slice_data"
VOXEL_MM = (2.0, 2.0, 2.0)
READER = Path(__file__).with_name("read_mat.py")
MOST_SECONDS = 600
"""Time limit for the slices of one scan; reading takes a few seconds."""
_NAME = re.compile(r"(?P<person>.*?)(?:[_-]*(?:slice|s))?[_-]*(?P<slice>\d+)", re.IGNORECASE)


def recognises(root: Path) -> bool:
    """Whether ``root`` holds ``LD`` and ``SD`` slices under one of the splits."""
    return any(any((root / split / _LOW).glob("*.mat")) for split in SPLITS)


def visits(
    root: Path, factors: Sequence[float] = (), *, voxel_mm: tuple[float, float, float] = VOXEL_MM
) -> Iterator[Visit]:
    """Every stack of slices; ``factors``: the one dose reduction factor of the LD slices, which do not say it."""
    geometry = _geometry(root)
    for split in SPLITS:
        stacks: dict[str, dict[int, Path]] = defaultdict(dict)
        for path in sorted((root / split / _LOW).glob("*.mat")):
            person, number = _person(path)
            stacks[person][number] = path
        for person, slices in sorted(stacks.items()):
            known = geometry.get(person, {})
            drf = known.get("drf") or _only(factors)
            names = [slices[number].name for number in sorted(slices)]
            reading = {
                kind: partial(stack, root / split / kind, names, known, voxel_mm) for kind in (_LOW, _STANDARD, _GUIDE)
            }
            guided = all((root / split / _GUIDE / name).is_file() for name in names)
            yield Visit(
                f"mat {split}/{person}",
                known.get("entities") or {"sub": re.sub(r"[^A-Za-z0-9]", "", person) or "01"},
                {1.0: reading[_STANDARD], float(drf): reading[_LOW]},
                reading[_GUIDE] if guided else None,
                about={"split": split, "anatomy": str(known.get("person", person))},
            )


def stack(folder: Path, names: Sequence[str], known: Mapping[str, Any], voxel_mm: tuple[float, float, float]) -> Volume:
    """Slices of one kind as a volume (x, y, z)."""
    planes = _slices([folder / name for name in names])
    shapes = {plane.shape for plane in planes}
    if len(shapes) != 1:
        raise BadInput(f"The slices of one scan must have one size, but {folder} holds {sorted(shapes)}; sort them.")
    data = np.stack(planes, axis=2).transpose(1, 0, 2)
    affine = np.array(known["affine"]) if known else np.diag([*voxel_mm, 1.0])
    if not known:
        affine[:3, 3] = -affine[:3, :3] @ (np.array(data.shape) - 1) / 2
    return Volume(np.ascontiguousarray(data, dtype=np.float32), affine, "relative", (f"{len(names)} slices",))


def write_slices(root: Path, out: Path, *, drf: float, size: int = 128, seed: int = 0) -> dict[str, int]:
    """The cohort's sessions at one dose as slices of side ``size``, people split 8 : 1 : 1; slices in each split."""
    from scipy.io import savemat

    subjects = [subject for subject in find_subjects(root) if drf in subject.low]
    if not subjects:
        raise BadInput(f"{root} holds no scan at DRF {drf:g}; choose one of its doses with --drf.")
    parts = _split(sorted({subject.person for subject in subjects}), seed)
    if out.is_dir() and any(out.iterdir()):
        raise BadInput(f"{out} is not empty; slices of two exports would mix people: choose an empty folder.")
    counts = dict.fromkeys(SPLITS, 0)
    geometry: dict[str, Any] = {}
    with atomic.folder(out) as folder:
        for subject in subjects:
            split, name = parts[subject.person], f"sub-{subject.label}".replace("_", "-")  # slice numbers follow a _
            stacks, geometry[name] = _cut(subject, drf, size)
            for kind, data in stacks.items():
                place = folder / split / kind
                place.mkdir(parents=True, exist_ok=True)
                for number in range(data.shape[2]):
                    plane = np.ascontiguousarray(data[:, :, number].T)
                    savemat(place / f"{name}_slice-{number:03d}.mat", {_KEY: plane}, do_compression=True)
            counts[split] += stacks[_LOW].shape[2]
        (folder / "geometry.json").write_text(json.dumps(geometry, indent=2) + "\n")
    return counts


def _cut(subject: Subject, drf: float, size: int) -> tuple[dict[str, npt.NDArray[np.float32]], dict[str, Any]]:
    """One session on the working grid, cut to squares, each kind (x, y, z), and its entry of ``geometry.json``."""
    from m2diff.preparation import grid
    from m2diff.preparation.pair import prepare
    from m2diff.preparation.register import align

    standard = nifti.load(subject.standard)
    mri = None if subject.t1 is None else nifti.load(subject.t1, what="MRI")
    place = False if mri is None or subject.record is not None else align(mri, standard)
    low = nifti.load(subject.low[drf])
    if not low.same_grid(standard):
        raise BadInput(f"{subject.low[drf].name} and its standard-dose scan must share one grid; resample one of them.")
    prepared = prepare(low, mri, drf=drf, align=place)
    images = {_LOW: prepared.low, _STANDARD: grid.to_working(standard).data / np.float32(prepared.scale)}
    if prepared.mri is not None:
        images[_GUIDE] = prepared.mri
    offset = [(size - n) // 2 for n in prepared.low.shape[:2]]
    affine = prepared.affine.copy()
    affine[:3, 3] -= affine[:3, :2] @ np.array(offset)
    stacks = {kind: _square(data, size, offset) for kind, data in images.items()}
    entities = dict(part.split("-", 1) for part in f"sub-{subject.label}".split("_"))
    place_of = {"affine": affine.tolist(), "scale": prepared.scale, "unit": prepared.unit, "drf": drf}
    return stacks, {**place_of, "entities": entities, "person": subject.person}


def _square(data: npt.NDArray[np.float32], size: int, offset: Sequence[int]) -> npt.NDArray[np.float32]:
    """(x, y, z) cut or padded to (size, size, z), with its first voxel at ``offset``."""
    padded = np.pad(data, [(size, size), (size, size), (0, 0)])
    x, y = (size - at for at in offset)
    return padded[x : x + size, y : y + size]


def _split(persons: Sequence[str], seed: int) -> dict[str, str]:
    """Each person's split: 8 : 1 : 1, at least one to train on."""
    order = list(np.random.default_rng(seed).permutation(list(persons)))
    held = max(round(len(order) / 10), 1) if len(order) > 2 else 0
    return {str(person): "test" if n < held else "val" if n < 2 * held else "train" for n, person in enumerate(order)}


def _slices(paths: Sequence[Path]) -> list[npt.NDArray[np.float32]]:
    """The ``slice_data`` of each file."""
    for path in paths:
        if not path.is_file():
            raise BadInput(
                f"{path} is missing: every LD slice needs an SD slice of the same name; complete the folder."
            )
    return [_checked(path, array) for path, array in zip(paths, _read_arrays(paths), strict=True)]


def _read_arrays(paths: Sequence[Path]) -> list[npt.NDArray[Any]]:
    """The arrays of all files, read in another process (``read_mat``); BadInput for the first without one."""
    asked = json.dumps({"name": _KEY, "paths": [str(path) for path in paths]}).encode()
    alone = os.environ | dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")  # threads ask for memory
    try:
        done = subprocess.run(
            [sys.executable, READER], input=asked, capture_output=True, env=alone, timeout=MOST_SECONDS
        )
        said, why = io.BytesIO(done.stdout), done.stderr.decode(errors="replace")
    except subprocess.TimeoutExpired as trouble:
        said, why = io.BytesIO(trouble.stdout or b""), ""
    arrays: list[npt.NDArray[Any]] = []
    with suppress(ValueError, EOFError):  # the last one may be cut off
        while len(arrays) < len(paths):
            arrays.append(np.load(said, allow_pickle=False))
    if len(arrays) == len(paths):
        return arrays
    path = paths[len(arrays)]
    if "MATLAB 7.3" in why:
        raise BadInput(f"{path} is a MATLAB 7.3 file; save it with -v7.")
    raise BadInput(f"{path} is no readable .mat file, or {_KEY} is no real image; save it with -v7 or copy it again.")


def _checked(path: Path, array: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
    """``array``, from the file at ``path``, as a slice."""
    data = np.squeeze(array)
    if data.ndim != 2:
        raise BadInput(f"{path} must hold {_KEY}, one real 2D image; got shape {data.shape}; export it so.")
    if not np.isfinite(data).all():
        raise BadInput(f"{path} must hold finite numbers, but has NaN or infinite ones; export it again.")
    return data.astype(np.float32)


def _person(path: Path) -> tuple[str, int]:
    """The person of a slice's file, and the slice's number."""
    match = _NAME.fullmatch(path.stem)
    if not match:
        raise BadInput(f"{path} must end in the number of its slice, such as sub-001_slice-045.mat; rename it.")
    return match["person"], int(match["slice"])


def _only(factors: Sequence[float]) -> float:
    if len(factors) != 1:
        raise BadInput("LD slices do not say their dose: give their one dose reduction factor, as in --drf 20.")
    return factors[0]


def _geometry(root: Path) -> dict[str, Any]:
    path = root / "geometry.json"
    if not path.is_file():
        return {}
    try:
        content = dict(json.loads(path.read_text()))
        for known in content.values():
            shapes = (np.shape(np.asarray(known["affine"], dtype=float)), float(known["drf"]) > 1)
            if shapes != ((4, 4), True) or not isinstance(known["entities"], dict) or "sub" not in known["entities"]:
                raise ValueError("an entry lacks its place, dose or name")
    except (ValueError, TypeError, KeyError) as trouble:
        raise BadInput(f"{path} is not what `m2diff convert --to mat` wrote; correct or remove it.") from trouble
    return content
