"""DICOM in and out: every way in which scanners write a series, every way in which one can be incomplete."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLosslessSV1,
    RLELossless,
)

from dicom_files import PATIENT, head, mr_header, pet_header, write_enhanced, write_series
from m2diff.errors import BadInput
from m2diff.io import dicom
from m2diff.io.dicom import Derivation
from m2diff.io.load import load_image

NEMA = Path(os.environ.get("M2DIFF_SHARED", Path(__file__).parents[2] / "../shared")) / "data/nema_dicom"
TOOLS = Path(sys.executable).parent
WORK = Derivation("m2diff test", "a test's derivation", "identity", "0")


def tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(TOOLS))
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


@pytest.fixture(scope="module")
def scan() -> np.ndarray:
    return head()


def close(volume, data: np.ndarray) -> bool:
    """Equal to the 16-bit step of each slice."""
    step = data.max(axis=(0, 1)) / 32000
    return bool((np.abs(volume.data - data) <= step).all())


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_every_encoding_gives_the_same_image_with_each_slices_own_slope(tmp_path, scan, syntax):
    write_series(tmp_path, scan, pet_header(), syntax=syntax)
    volume = load_image(tmp_path)
    assert close(volume, scan) and volume.unit == "Bq/mL"
    np.testing.assert_allclose(volume.voxel_size, (3, 3, 4), rtol=1e-6)
    # LPS (-60, -70, -40) is RAS (60, 70, -40); columns run to the left, rows to the back.
    np.testing.assert_allclose(volume.affine @ [0, 0, 0, 1], [60, 70, -40, 1], atol=1e-6)
    np.testing.assert_allclose(volume.affine @ [1, 2, 3, 1], [57, 64, -28, 1], atol=1e-6)


@pytest.mark.parametrize("syntax", [JPEGLosslessSV1, JPEG2000Lossless])
def test_jpeg_lossless_and_jpeg_2000(tmp_path, scan, syntax):
    plain, packed = tmp_path / "plain", tmp_path / "packed"
    files = write_series(plain, scan, pet_header())
    convert = tool("gdcmconv")
    packed.mkdir()
    option = "--jpeg" if syntax == JPEGLosslessSV1 else "--j2k"
    for file in files:
        subprocess.run([convert, option, str(file), str(packed / file.name)], check=True, capture_output=True)
    assert pydicom.dcmread(packed / files[0].name).file_meta.TransferSyntaxUID == syntax
    np.testing.assert_array_equal(load_image(packed).data, load_image(plain).data)


def test_oblique_sagittal_and_descending_stacks_lie_where_dcm2niix_puts_them(tmp_path, scan):
    c, s = np.cos(0.3), np.sin(0.3)
    for name, orientation in {"oblique": (c, s, 0, -s * c, c * c, s), "sagittal": (0, 1, 0, 0, 0, -1)}.items():
        folder = tmp_path / name
        write_series(folder, scan, pet_header(), orientation=orientation)
        compare_with_dcm2niix(folder, load_image(folder))


def compare_with_dcm2niix(folder: Path, volume) -> None:
    out = folder.parent / f"{folder.name}-nii"
    out.mkdir()
    subprocess.run(
        [tool("dcm2niix"), "-z", "n", "-f", "x", "-o", str(out), str(folder)], check=True, capture_output=True
    )
    (made,) = out.glob("*.nii")
    theirs = nib.as_closest_canonical(nib.load(made))
    ours = nib.as_closest_canonical(nib.Nifti1Image(volume.data, volume.affine))
    assert np.abs(theirs.affine - ours.affine).max() < 1e-3
    assert np.abs(theirs.get_fdata() - ours.get_fdata()).max() <= 1.1e-4 * np.abs(volume.data).max()


@pytest.mark.parametrize("modality", ["PT", "MR"])
def test_enhanced_files_of_many_frames(tmp_path, scan, modality):
    path = write_enhanced(tmp_path / "enhanced.dcm", scan, modality)
    volume = load_image(path, what="PET" if modality == "PT" else "MRI")
    assert close(volume, scan)


def test_files_without_preamble_and_strays_are_dealt_with(tmp_path, scan):
    files = write_series(tmp_path, scan, pet_header(), syntax=ImplicitVRLittleEndian)
    for file in files:  # as old consoles write them: the data set alone
        image = pydicom.dcmread(file)
        pydicom.dcmwrite(file.with_suffix(""), pydicom.Dataset(image), implicit_vr=True, little_endian=True)
        file.unlink()
    (tmp_path / "README.txt").write_text("not an image")
    (tmp_path / "empty.dcm").write_bytes(b"")
    (tmp_path / "half.dcm").write_bytes(b"\0" * 128 + b"DICM" + b"\x08\x00")
    assert close(load_image(tmp_path), scan)


def test_the_series_is_chosen_by_modality_and_ambiguity_is_listed(tmp_path, scan):
    write_series(tmp_path / "a", scan, pet_header(), name="brain AC", number=4)
    write_series(tmp_path / "b", scan, mr_header(), name="T1 mprage", number=5)
    write_series(tmp_path / "c", scan[:, :, :3], mr_header(), name="localiser", number=1)
    assert close(load_image(tmp_path), scan)
    assert load_image(tmp_path, what="MRI").data.max() == pytest.approx(np.rint(scan.max()), abs=1)
    write_series(tmp_path / "d", 2 * scan, pet_header(), name="brain NAC", number=6)
    with pytest.raises(BadInput, match=r"2 PET series; pick one with --series: .*brain AC.*brain NAC"):
        load_image(tmp_path)
    assert close(load_image(tmp_path, series="6"), 2 * scan)
    assert close(load_image(tmp_path, series="nac"), 2 * scan)
    with pytest.raises(BadInput, match=r"no PET series .* called '99'"):
        load_image(tmp_path, series="99")


def test_missing_doubled_and_uneven_slices_are_refused_with_numbers(tmp_path, scan):
    write_series(tmp_path / "gap", scan, pet_header(), skip=(7,))
    with pytest.raises(BadInput, match=r"7 and 8 are 8\.000 mm apart; 1 slices seem to be missing"):
        load_image(tmp_path / "gap")
    write_series(tmp_path / "end", scan, pet_header(), skip=(19,))
    with pytest.raises(BadInput, match="says that it has 20 slices, but 19 are here"):
        load_image(tmp_path / "end")
    files = write_series(tmp_path / "twice", scan, pet_header())
    again = pydicom.dcmread(files[4])
    again.SOPInstanceUID += ".1"
    again.save_as(tmp_path / "twice" / "again.dcm")
    with pytest.raises(BadInput, match="21 slices at 20 places"):
        load_image(tmp_path / "twice")
    moved = pydicom.dcmread(files[4])
    moved.ImagePositionPatient[2] += 1
    moved.save_as(files[4])
    (tmp_path / "twice" / "again.dcm").unlink()
    with pytest.raises(BadInput, match=r"evenly spaced.*5\.000 mm"):
        load_image(tmp_path / "twice")


def test_a_dynamic_series_wants_a_frame(tmp_path, scan):
    for frame in range(2):
        write_series(
            tmp_path, (frame + 1) * scan, pet_header(), prefix=f"f{frame}-", FrameReferenceTime=str(1000 * (frame + 1)),
            NumberOfSlices=20,
        )  # fmt: skip
    with pytest.raises(BadInput, match="dynamic: 2 frames of 20 slices; pick one with --frame"):
        load_image(tmp_path)
    assert close(load_image(tmp_path, frame=2), 2 * scan)
    with pytest.raises(BadInput, match="frames 1 to 2"):
        load_image(tmp_path, frame=3)


def test_cut_off_pixels_and_colour_are_refused_in_one_sentence(tmp_path, scan):
    files = write_series(tmp_path, scan, pet_header())
    files[3].write_bytes(files[3].read_bytes()[:-500])
    with pytest.raises(BadInput, match=r"slice 4 .* cut off"):
        load_image(tmp_path)
    image = pydicom.dcmread(files[2])
    image.SamplesPerPixel = 3
    image.save_as(files[2])
    files[3].unlink()
    with pytest.raises(BadInput):
        load_image(tmp_path)


def test_a_derived_series_keeps_what_it_must_and_tells_what_it_is(tmp_path, scan):
    source = tmp_path / "in"
    files = write_series(source, scan, pet_header())
    volume = load_image(source)
    result = volume.with_data(volume.data * np.float32(0.9) + 3, "a test")
    made = dicom.write(result, tmp_path / "out", WORK)
    again = load_image(tmp_path / "out")
    assert again.same_grid(volume)
    step = np.abs(result.data).max(axis=(0, 1)) / 65535
    assert (np.abs(again.data - result.data) <= 0.51 * step + 1e-6 * np.abs(result.data)).all()
    old, new = pydicom.dcmread(files[0]), pydicom.dcmread(made[0])
    same = ("StudyInstanceUID", "FrameOfReferenceUID", "PatientID", "PatientName", "Units", "DecayCorrection",
            "SeriesTime", "PatientWeight", "ImagePositionPatient", "ImageOrientationPatient")  # fmt: skip
    assert all(old[name].value == new[name].value for name in same)
    assert old.RadiopharmaceuticalInformationSequence == new.RadiopharmaceuticalInformationSequence
    assert old.SeriesInstanceUID != new.SeriesInstanceUID and old.SOPInstanceUID != new.SOPInstanceUID
    assert list(new.ImageType[:2]) == ["DERIVED", "SECONDARY"]
    assert "NOT FOR DIAGNOSIS" in new.SeriesDescription and new.DerivationDescription
    assert new.SourceImageSequence[0].ReferencedSOPInstanceUID == old.SOPInstanceUID
    uids = {pydicom.dcmread(path).SOPInstanceUID for path in made}
    assert len(uids) == len(files)
    once_more = dicom.write(result, tmp_path / "again", WORK)[0]
    assert pydicom.dcmread(once_more).SeriesInstanceUID == new.SeriesInstanceUID  # the same work, the same series


def test_negative_values_and_tiny_ones_survive(tmp_path, scan):
    write_series(tmp_path / "in", scan, pet_header())
    volume = load_image(tmp_path / "in")
    for number, factor in enumerate((1e-7, 1.0, 1e6)):
        result = volume.with_data((volume.data - 2000) * np.float32(factor), "a test")
        dicom.write(result, tmp_path / f"out{number}", WORK)
        again = load_image(tmp_path / f"out{number}")
        assert np.abs(again.data - result.data).max() <= np.abs(result.data).max() / 32767


def test_a_derived_enhanced_file(tmp_path, scan):
    volume = load_image(write_enhanced(tmp_path / "in.dcm", scan))
    result = volume.with_data(volume.data * np.float32(1.5), "a test")
    dicom.write(result, tmp_path / "out", WORK)
    again = load_image(tmp_path / "out")
    assert again.same_grid(volume)
    assert np.abs(again.data - result.data).max() <= np.abs(result.data).max() / 65535


def test_dcm2niix_reads_our_series_as_our_nifti(tmp_path, scan):
    write_series(tmp_path / "in", scan, pet_header())
    volume = load_image(tmp_path / "in")
    result = volume.with_data(volume.data * np.float32(0.5), "a test")
    dicom.write(result, tmp_path / "out", WORK)
    compare_with_dcm2niix(tmp_path / "out", result)


def test_dciodvfy_finds_no_new_error(tmp_path, scan):
    """One is expected: the standard's PET allows PRIMARY alone as the second value of ImageType."""
    verify = tool("dciodvfy")
    files = write_series(tmp_path / "in", scan, pet_header())
    made = dicom.write(load_image(tmp_path / "in"), tmp_path / "out", WORK)

    def errors(path: Path) -> set[str]:
        done = subprocess.run([verify, str(path)], capture_output=True, text=True, check=False)
        return {line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")}

    fresh = errors(made[0]) - errors(files[0])
    assert {line for line in fresh if "<SECONDARY> for value 2" not in line} == set()


def test_nothing_of_the_patient_reaches_a_message_or_a_sidecar(tmp_path, scan):
    write_series(tmp_path, scan, pet_header(), skip=(5,))
    with pytest.raises(BadInput) as refusal:
        load_image(tmp_path)
    write_series(tmp_path, scan, pet_header())
    volume = load_image(tmp_path)
    text = f"{refusal.value} {volume.source.sidecar} {volume.history} {volume.source.path}"
    assert not any(value in text for value in (*list(PATIENT.values())[:3], "20250314", "House"))
    assert dicom.load_series(tmp_path, keep_phi=True).source.sidecar["PatientID"] == PATIENT["PatientID"]
    assert volume.source.sidecar["TracerRadionuclide"] == "F18"
    assert volume.source.sidecar["InjectedRadioactivity"] == 250


def test_a_real_scanners_series(tmp_path):
    if not NEMA.is_dir():
        pytest.skip("the real phantom series is not here")
    volume = load_image(NEMA)
    assert volume.shape == (192, 192, 89)
    shutil.copytree(NEMA, tmp_path / "copy")
    compare_with_dcm2niix(tmp_path / "copy", volume)


def test_magnitude_and_phase_in_one_series_are_two_and_a_number_is_a_number(tmp_path, scan):
    for kind in ("M", "P"):
        write_series(tmp_path, scan, mr_header(), name="T1 3", prefix=kind, ImageType=["ORIGINAL", "PRIMARY", kind])
    with pytest.raises(BadInput, match="2 MRI series"):
        load_image(tmp_path, what="MRI")
    with pytest.raises(BadInput, match="called '9'"):
        load_image(tmp_path, what="MRI", series="9")
