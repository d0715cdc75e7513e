"""Damaged and nonsensical files: a Volume or one sentence, never a traceback, never a hang, nothing outside the output.

A few hundred mutations in every run, thousands with ``-m slow``. Each mutation has its number as its seed, so that one
that fails can be made again.
"""

from __future__ import annotations

import gzip
import io
import json
import random
import shutil
import signal
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from test_dicom import NEMA

from dicom_files import head, mr_header, pet_header, write_enhanced, write_series
from m2diff.cli.app import main
from m2diff.errors import BadInput
from m2diff.io import dicom, suv
from m2diff.io.info import info
from m2diff.io.load import load_image

QUICK, FULL = 60, 2000
SECONDS = 10
NASTY = [
    "", " ", "0", "-1", "1e308", "-1e308", "nan", "inf", "abc", "1\\2\\3\\4\\5\\6\\7", "../../../../tmp/evil",
    "/etc/passwd", "x" * 300, "\x00\x01\x02", "99999999999999999999", "ISO_IR 999", "1.2.840.10008.1.2.4.999",
    "20251399", "256161.9", "½°ß",
]  # fmt: skip


@contextmanager
def in_time() -> Iterator[None]:
    """Raise after SECONDS: a hang is a failure too."""

    def ring(*_: object) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    old = signal.signal(signal.SIGALRM, ring)
    signal.alarm(SECONDS)
    start = time.monotonic()
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    assert time.monotonic() - start < SECONDS  # whatever caught the alarm on its way


def survives(path: Path, what: str, out: Path) -> str:
    """Load (and derive from) whatever lies at ``path``; the kind of end it came to."""
    with in_time(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            volume = load_image(path, what=what)
            assert np.isfinite(volume.data).all() and np.isfinite(volume.affine).all()
            if volume.source.series is not None:
                made = dicom.write(volume, out, dicom.Derivation("fuzz", "fuzz", "fuzz", "0"))
                assert all(file.resolve().parent == out.resolve() for file in made)
                suv.quantity(volume.source.series.stack.header)
        except BadInput as refusal:
            assert "\n" not in str(refusal).strip() and len(str(refusal)) < 3000
            return "refused"
        finally:
            shutil.rmtree(out, ignore_errors=True)
    return "loaded"


def mutate_bytes(path: Path, rng: random.Random) -> None:
    """Cut, flip or repeat bytes."""
    raw = bytearray(path.read_bytes())
    kind = rng.randrange(4)
    if kind == 0:
        raw = raw[: rng.randrange(len(raw))]
    elif kind == 1:
        for _ in range(rng.choice([1, 4, 64])):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
    elif kind == 2:  # in the header, where it hurts
        for _ in range(rng.choice([1, 4, 16])):
            raw[rng.randrange(min(len(raw), 1500))] = rng.randrange(256)
    else:
        at = rng.randrange(len(raw))
        raw[at:at] = bytes(rng.randrange(256) for _ in range(rng.choice([1, 7, 512])))
    path.write_bytes(raw)


def mutate_element(path: Path, rng: random.Random) -> None:
    """Delete an element, or put something into it that its maker never meant."""
    image = pydicom.dcmread(path)
    holder = image
    for _ in range(rng.choice([0, 0, 1, 2])):
        deeper = [element for element in holder if element.VR == "SQ" and element.value]
        if deeper:
            holder = rng.choice(deeper).value[0]
    elements = [element for element in holder if element.tag != (0x7FE0, 0x0010) and element.VR != "SQ"]
    if not elements:
        return
    element = rng.choice(elements)
    if rng.random() < 0.3:
        del holder[element.tag]
    elif element.VR in ("US", "SS", "UL", "SL"):
        element.value = rng.choice([0, 1, 2, 7, 12, 32, 40, 1000, 65535])
    else:
        text = rng.choice(NASTY)
        try:
            holder[element.tag] = pydicom.dataelem.DataElement(
                element.tag, element.VR, text, validation_mode=pydicom.config.IGNORE
            )
        except Exception:  # pydicom refuses to hold it: the writer below could not have made such a file
            return
    try:
        pydicom.dcmwrite(path, image)
    except Exception:  # the file stays as it was
        return


def through_the_command(pet: Path, tmp_path: Path) -> str:
    """`m2diff enhance` on whatever lies at ``pet``: all of a result or nothing of it, and nothing elsewhere."""
    out = tmp_path / "out"
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()}
    said = io.StringIO()
    try:
        with in_time(), redirect_stderr(said), redirect_stdout(said), pytest.raises(SystemExit) as end:
            main(["enhance", str(pet), "--out", str(out), "--weights", "gaussian", "--quiet"])
        left = {path.name for path in out.rglob("*")} if out.exists() else set()
        assert "Traceback" not in said.getvalue()
        if end.value.code == 0:
            assert "report.html" in left and any(name.endswith("_desc-enhanced_pet.nii.gz") for name in left)
        else:
            assert end.value.code == 2 and not left and len(said.getvalue().splitlines()) == 1
    finally:
        shutil.rmtree(out, ignore_errors=True)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file()} == before
    return "refused" if end.value.code else "loaded"


def mutate_sidecar(path: Path, rng: random.Random) -> None:
    """The JSON beside a NIfTI with values that nobody meant."""
    about = {"Units": "Bq/mL", "TracerName": "FDG", "InjectedRadioactivity": 250, "InjectedRadioactivityUnits": "MBq",
             "DoseReductionFactor": 20, "BodyWeight": 70, "FrameDuration": [60], "Modality": "PT"}  # fmt: skip
    odd = [None, [], {}, {"a": 1}, True, -1, 0, 1e308, 10**400, float("nan"), float("inf"), [[]], *NASTY]
    for key in rng.sample(sorted(about), rng.choice([1, 2, 8])):
        about[key] = rng.choice(odd)
    text = json.dumps(about)
    if rng.random() < 0.2:
        text = text[: rng.randrange(len(text))]
    elif rng.random() < 0.05:
        text = "[" * 100_000
    path.with_name("case_pet.json").write_text(text)


def mutations(count: int, start: int = 0) -> list[int]:
    return list(range(start, start + count))


def fuzz_dicom(base: Path, tmp_path: Path, numbers: list[int]) -> dict[str, int]:
    kinds = sorted(folder.name for folder in base.iterdir() if folder.is_dir())
    ends = {"refused": 0, "loaded": 0}
    for number in numbers:
        rng = random.Random(number)
        kind = rng.choice(kinds)
        folder = tmp_path / "case"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(base / kind, folder)
        files = sorted(folder.iterdir())
        change = mutate_element if rng.random() < 0.6 else mutate_bytes
        for file in files if rng.random() < 0.3 else [rng.choice(files)]:
            change(file, rng)
        before = {path for path in tmp_path.rglob("*") if path.is_file()}
        try:
            ends[survives(folder, "MRI" if kind.startswith("mr") else "PET", tmp_path / "out")] += 1
            with in_time(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                with suppress(BadInput):
                    info(folder)
        except BaseException as trouble:
            raise AssertionError(f"DICOM mutation {number} ({kind}): {trouble!r}") from trouble
        assert {path for path in tmp_path.rglob("*") if path.is_file()} == before
    return ends


def fuzz_nifti(base: Path, tmp_path: Path, numbers: list[int]) -> dict[str, int]:
    ends = {"refused": 0, "loaded": 0}
    for number in numbers:
        rng = random.Random(number)
        path = tmp_path / rng.choice(["case_pet.nii", "case_pet.nii.gz"])
        raw = bytearray((base / "scan.nii").read_bytes())
        for _ in range(rng.choice([1, 1, 2, 8])):  # the 348 bytes of the header are where the meaning is
            at = rng.randrange(352)
            width = rng.choice([1, 2, 4])
            raw[at : at + width] = rng.choice(
                [bytes(width), b"\xff" * width, bytes(rng.randrange(256) for _ in range(width)), b"\x7f" * width]
            )
        path.write_bytes(gzip.compress(bytes(raw), 1) if path.suffix == ".gz" else raw)
        if rng.random() < 0.3:
            mutate_bytes(path, rng)
        try:
            ends[survives(path, "PET", tmp_path / "out")] += 1
        except BaseException as trouble:
            raise AssertionError(f"NIfTI mutation {number}: {trouble!r}") from trouble
        path.unlink()
        assert not list(tmp_path.iterdir())
    return ends


def real_headers(folder: Path) -> dict[str, pydicom.Dataset]:
    """Whole headers of real scanners, private elements and all, where medimages4tests and the phantom are at hand."""
    found = {}
    with suppress(ImportError), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from medimages4tests.dummy.dicom.mri.t1w.siemens.skyra import syngo_d13c
        from medimages4tests.dummy.dicom.pet.wholebody.siemens.biograph_vision import vr20b

        for name, maker in (("pet-siemens", vr20b), ("mr-siemens", syngo_d13c)):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(maker, "num_vols", 1)
                maker.get_image(out_dir=folder / name)
            found[name] = pydicom.dcmread(next((folder / name).rglob("*.dcm")), stop_before_pixels=True)
    if NEMA.is_dir():
        found["pet-phantom"] = pydicom.dcmread(next(NEMA.glob("*.dcm")), stop_before_pixels=True)
        found["pet-phantom"].PixelRepresentation = 1
    shutil.rmtree(folder, ignore_errors=True)
    for header in found.values():
        header.pop("NumberOfSlices", None)
    return found


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    root, scan = tmp_path_factory.mktemp("base"), head((24, 20, 18))
    write_series(root / "pet", scan, pet_header())
    write_series(root / "mr", scan, mr_header())
    write_series(root / "rle", scan, pet_header(), syntax=pydicom.uid.RLELossless)
    write_enhanced(root / "enhanced" / "scan.dcm", scan)
    write_enhanced(root / "mr-enhanced" / "scan.dcm", scan, "MR")
    for name, header in real_headers(root / "real").items():
        write_series(root / name, scan, header)
    image = nib.Nifti1Image(scan.astype(np.int16), np.diag([3, 3, 4, 1.0]))
    nib.save(image, root / "scan.nii")
    return root


def test_dicom_mutations(base, tmp_path):
    ends = fuzz_dicom(base, tmp_path, mutations(QUICK))
    assert min(ends.values()) > 0  # mutations that do something, and some that do not


def test_nifti_mutations(base, tmp_path):
    ends = fuzz_nifti(base, tmp_path, mutations(5 * QUICK))
    assert min(ends.values()) > 0


def fuzz_command(base: Path, tmp_path: Path, numbers: list[int]) -> dict[str, int]:
    """DICOM files, NIfTI headers and sidecars through the whole verb."""
    ends = {"refused": 0, "loaded": 0}
    kinds = sorted(folder.name for folder in base.iterdir() if folder.is_dir() and not folder.name.startswith("mr"))
    for number in numbers:
        rng = random.Random(number)
        case = tmp_path / "case"
        if rng.random() < 0.6:
            shutil.copytree(base / rng.choice(kinds), case)
            for file in sorted(case.iterdir()) if rng.random() < 0.5 else [rng.choice(sorted(case.iterdir()))]:
                mutate_element(file, rng)
            pet = case
        else:
            case.mkdir()
            pet = case / "case_pet.nii"
            shutil.copy(base / "scan.nii", pet)
            mutate_sidecar(pet, rng)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                ends[through_the_command(pet, tmp_path)] += 1
                with in_time(), suppress(BadInput):
                    info(pet)
        except BaseException as trouble:
            raise AssertionError(f"command mutation {number}: {trouble!r}") from trouble
        shutil.rmtree(case)
    return ends


def test_mutations_through_the_command(base, tmp_path):
    assert sum(fuzz_command(base, tmp_path, mutations(10)).values()) == 10


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_hundreds_of_mutations_through_the_command(base, tmp_path):
    assert min(fuzz_command(base, tmp_path, mutations(300, 10_000)).values()) > 0


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thousands_of_dicom_mutations(base, tmp_path):
    assert sum(fuzz_dicom(base, tmp_path, mutations(FULL, 10_000)).values()) == FULL


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_thousands_of_nifti_mutations(base, tmp_path):
    assert sum(fuzz_nifti(base, tmp_path, mutations(FULL, 10_000)).values()) == FULL


def test_a_header_that_promises_more_than_the_file_holds_is_refused_at_once(base, tmp_path):
    """Two negative sizes make a large positive product, for which a reader would make room."""
    raw = bytearray((base / "scan.nii").read_bytes())
    for sizes in ((-31208, -20294, 16), (30000, 30000, 30)):
        raw[42:48] = np.array(sizes, dtype="<i2").tobytes()
        path = tmp_path / "promise_pet.nii"
        path.write_bytes(raw)
        start = time.monotonic()
        with pytest.raises(BadInput, match="cut off or damaged"):
            load_image(path)
        assert time.monotonic() - start < 2
