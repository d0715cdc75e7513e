"""Series as the makers write them (Philips, GE, UIH, enhanced): understood, derived, and read back by others."""

from __future__ import annotations

import subprocess
import sys
from copy import deepcopy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from test_dicom import WORK, compare_with_dcm2niix, tool

from dicom_files import _code, head, pet_header, write_enhanced, write_series
from m2diff.errors import BadInput
from m2diff.io import dicom, nifti
from m2diff.io.info import About, info
from m2diff.io.load import load_image


@pytest.fixture(scope="module")
def scan() -> np.ndarray:
    return head()


def about(folder: Path) -> About:
    (found,) = info(folder)
    return found


def edit(folder: Path, **elements: object) -> None:
    """Set elements in every file of a folder; None deletes."""
    for file in sorted(folder.rglob("*.dcm")):
        image = pydicom.dcmread(file)
        for keyword, value in elements.items():
            if value is None:
                image.pop(keyword, None)
            else:
                setattr(image, keyword, value)
        image.save_as(file)


def philips(folder: Path, scan: np.ndarray) -> Path:
    header = pet_header()
    header.Units, header.Manufacturer = "CNTS", "Philips Medical Systems"
    block = header.private_block(0x7053, "Philips PET Private Group", create=True)
    block.add_new(0x00, "DS", "0.000551")
    block.add_new(0x09, "DS", "1.234")
    write_series(folder, scan, header, syntax=pydicom.uid.ImplicitVRLittleEndian)
    return folder


def ge(folder: Path, scan: np.ndarray) -> Path:
    header = pet_header()
    header.Manufacturer, header.DecayCorrection = "GE MEDICAL SYSTEMS", "ADMIN"
    write_series(folder, scan, header, spacing=(2.73, 2.73, 3.27))
    return folder


def uih(folder: Path, scan: np.ndarray) -> Path:
    header = pet_header()
    header.Manufacturer, header.ImageType = "UIH", ["ORIGINAL", "PRIMARY", "AXIAL", "M"]
    info = header.RadiopharmaceuticalInformationSequence[0]
    info.RadiopharmaceuticalStartDateTime = "20250314093000.000000"
    del info.RadiopharmaceuticalStartTime
    write_series(folder, scan, header)
    return folder


def enhanced(folder: Path, scan: np.ndarray) -> Path:
    """As the standard has it: the unit in a real-world mapping, the decay's moment as a date and time."""
    path = write_enhanced(folder / "scan.dcm", scan)
    image = pydicom.dcmread(path)
    del image.Units
    image.PatientWeight, image.DecayCorrected, image.DecayCorrectionDateTime = "70", "YES", "20250314101500"
    info = pet_header().RadiopharmaceuticalInformationSequence[0]
    info.RadiopharmaceuticalStartDateTime = "20250314093000"
    image.RadiopharmaceuticalInformationSequence = Sequence([info])
    for group in image.PerFrameFunctionalGroupsSequence:
        transform, mapped, kind = group.PixelValueTransformationSequence[0], Dataset(), Dataset()
        mapped.RealWorldValueSlope, mapped.RealWorldValueIntercept = float(transform.RescaleSlope), 0.0
        mapped.LUTLabel = mapped.LUTExplanation = "activity"
        mapped.add_new(0x00409216, "SS", -32768)
        mapped.add_new(0x00409211, "SS", 32767)
        mapped.MeasurementUnitsCodeSequence = Sequence([_code("Bq/ml", "UCUM", "Becquerels/milliliter")])
        transform.RescaleSlope, kind.FrameType = "1", ["ORIGINAL", "PRIMARY", "STATIC", "NONE"]
        group.RealWorldValueMappingSequence = Sequence([mapped])
        group.PETFrameTypeSequence = Sequence([kind])
    image.save_as(path)
    return folder


MAKERS = {"philips": philips, "ge": ge, "uih": uih, "enhanced": enhanced}
FROM_START = 70_000 / (250e6 * 2 ** (-2700 / 6586.2))
FACTORS = {"philips": 0.000551, "ge": 70_000 / 250e6, "uih": FROM_START, "enhanced": FROM_START}


@pytest.mark.parametrize("maker", MAKERS)
def test_each_maker_is_understood_and_its_derived_series_reads_back_everywhere(maker, tmp_path, scan):
    folder = MAKERS[maker](tmp_path / "in", scan)
    found = about(folder)
    assert found.problems == () and found.suv_factor == pytest.approx(FACTORS[maker])
    assert found.unit == ("counts" if maker == "philips" else "Bq/mL") and found.dose_mbq == 250
    volume = load_image(folder)
    assert np.abs(volume.data - scan).max() <= scan.max() / 32000
    signed = volume.with_data(volume.data * np.float32(0.7) - np.float32(300), "a test")  # whole slices below zero
    made = dicom.write(signed, tmp_path / "out", WORK)
    again = load_image(tmp_path / "out")
    assert again.same_grid(volume) and again.unit == volume.unit
    assert np.abs(again.data - signed.data).max() <= np.abs(signed.data).max() / 32767
    assert about(tmp_path / "out").suv_factor == pytest.approx(FACTORS[maker])
    compare_with_dcm2niix(tmp_path / "out", signed)
    if maker != "philips":  # whose factor is private: counts in a NIfTI have none
        nifti.save(volume, tmp_path / "x_pet.nii.gz", sidecar=volume.source.sidecar)
        assert about(tmp_path / "x_pet.nii.gz").suv_factor == pytest.approx(FACTORS[maker])
    fresh = errors(made[0]) - errors(sorted(folder.rglob("*.dcm"))[0])
    assert {line for line in fresh if "<SECONDARY> for value 2" not in line} == set()


def errors(path: Path) -> set[str]:
    done = subprocess.run([tool("dciodvfy"), str(path)], capture_output=True, text=True, check=False)
    return {line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")}


def test_values_far_below_one_need_no_window(tmp_path, scan):
    write_series(tmp_path / "in", scan, pet_header())
    volume = load_image(tmp_path / "in")
    made = dicom.write(volume.with_data(volume.data / np.float32(1e6), "SUV, say"), tmp_path / "out", WORK)
    assert not any("Window" in line for line in errors(made[0]))


def test_frames_whose_places_differ_in_the_last_digit_are_frames(tmp_path, scan):
    for frame in (1, 2):
        files = write_series(tmp_path, frame * scan, pet_header(), prefix=f"{frame}-", FrameReferenceTime=str(frame))
        for file in files:
            image = pydicom.dcmread(file)
            image.ImagePositionPatient[2] = f"{float(image.ImagePositionPatient[2]) + 0.005 + frame * 1e-6:.7f}"
            image.save_as(file)
    with pytest.raises(BadInput, match="2 frames of 20 slices"):
        load_image(tmp_path)
    assert load_image(tmp_path, frame=2).data.max() == pytest.approx(2 * scan.max(), rel=1e-3)


def test_a_dynamic_enhanced_file_and_one_converted_from_classic_ones(tmp_path, scan):
    path = write_enhanced(tmp_path / "dynamic" / "a.dcm", scan)
    image = pydicom.dcmread(path)
    groups = []
    for time in (2, 1):  # stored last first
        for group in deepcopy(list(image.PerFrameFunctionalGroupsSequence)):
            group.FrameContentSequence[0].TemporalPositionIndex = time
            transform = group.PixelValueTransformationSequence[0]
            transform.RescaleSlope = f"{float(transform.RescaleSlope) * time:.9g}"
            groups.append(group)
    image.PerFrameFunctionalGroupsSequence, image.NumberOfFrames = Sequence(groups), 40
    image.PixelData = image.PixelData * 2
    image.save_as(path)
    with pytest.raises(BadInput, match="2 frames of 20 slices; pick one with --frame"):
        load_image(path)
    volume = load_image(path, frame=2)
    assert volume.data.max() == pytest.approx(2 * scan.max(), rel=1e-3)
    dicom.write(volume, tmp_path / "out", WORK)
    np.testing.assert_allclose(load_image(tmp_path / "out").data, volume.data, atol=float(volume.data.max()) / 65535)

    path = write_enhanced(tmp_path / "converted" / "a.dcm", scan)
    image, header, unassigned = pydicom.dcmread(path), pet_header(), Dataset()
    for keyword in ("Units", "DecayCorrection", "RadiopharmaceuticalInformationSequence"):
        unassigned[keyword] = header[keyword]
    del image.Units
    image.PatientWeight = "70"
    shared = image.SharedFunctionalGroupsSequence[0]
    shared.UnassignedSharedConvertedAttributesSequence = Sequence([unassigned])
    image.save_as(path)
    assert about(tmp_path / "converted").suv_factor == pytest.approx(FROM_START)


def test_an_enhanced_series_in_two_files(tmp_path, scan):
    write_enhanced(tmp_path / "in" / "a.dcm", scan[:, :, :10])
    second = write_enhanced(tmp_path / "in" / "b.dcm", scan[:, :, 10:])
    image = pydicom.dcmread(second)
    image.SOPInstanceUID = pydicom.uid.generate_uid()
    for group in image.PerFrameFunctionalGroupsSequence:
        group.PlanePositionSequence[0].ImagePositionPatient[2] += 30
    image.save_as(second)
    volume = load_image(tmp_path / "in")
    assert volume.shape == (40, 48, 20)
    assert len(dicom.write(volume, tmp_path / "out", WORK)) == 2
    np.testing.assert_allclose(load_image(tmp_path / "out").data, volume.data, atol=float(volume.data.max()) / 65535)


def test_frames_past_midnight_come_in_their_order_and_last_as_long_as_they_last(tmp_path, scan):
    for frame, (day, clock) in enumerate([("20250314", "235900"), ("20250315", "000100"), ("20250315", "000300")]):
        write_series(
            tmp_path, (frame + 1) * scan, pet_header(), prefix=f"f{frame}-", AcquisitionDate=day,
            AcquisitionTime=clock, ActualFrameDuration=str(60_000 * (frame + 1)),
        )  # fmt: skip
    edit(tmp_path, FrameReferenceTime=None, ImageIndex=None, NumberOfSlices=60)  # that of all frames: some do
    for frame in (1, 2, 3):
        volume = load_image(tmp_path, frame=frame)
        assert volume.data.max() == pytest.approx(frame * scan.max(), rel=1e-3)
        assert volume.source.sidecar["FrameDuration"] == [60 * frame]
    next(tmp_path.glob("f1-004.dcm")).unlink()
    with pytest.raises(BadInput, match="up to 3 frames of 20 slices, but 1 places hold fewer"):
        load_image(tmp_path, frame=1)


def test_places_written_with_one_digit_are_even_enough(tmp_path, scan):
    for k, file in enumerate(write_series(tmp_path, scan, pet_header(), spacing=(3, 3, 3.27))):
        image = pydicom.dcmread(file)
        image.ImagePositionPatient[2] = f"{-40.013 + 3.27 * k:.1f}"
        image.save_as(file)
    assert load_image(tmp_path).voxel_size[2] == pytest.approx(3.27, abs=0.006)


def test_slices_beside_their_line_are_refused_with_numbers(tmp_path, scan):
    for k, file in enumerate(write_series(tmp_path, scan, pet_header())):
        image = pydicom.dcmread(file)
        image.ImagePositionPatient[0] += 12 * (k > 10)
        image.save_as(file)
    with pytest.raises(BadInput, match=r"in one line, but slice 11 of 20 is 6\.3 mm off"):
        load_image(tmp_path)


def test_series_that_share_a_number_or_begin_with_the_same_word_can_be_picked(tmp_path, scan):
    write_series(tmp_path / "a", scan, pet_header(), name="PET", number=3)
    write_series(tmp_path / "b", 2 * scan, pet_header(), name="PET NAC", number=3)
    with pytest.raises(BadInput, match=r"series 3:1 'PET.*series 3:2 'PET"):
        load_image(tmp_path, series="3")
    first, second = load_image(tmp_path, series="3:1"), load_image(tmp_path, series="3:2")
    assert {round(v.data.max() / scan.max()) for v in (first, second)} == {1, 2}
    assert load_image(tmp_path, series="pet").data.max() == pytest.approx(scan.max(), rel=1e-3)
    assert load_image(tmp_path, series="PET nac").data.max() == pytest.approx(2 * scan.max(), rel=1e-3)


def test_scales_that_are_missing_or_nothing_are_named(tmp_path, scan):
    write_series(tmp_path / "none", scan, pet_header())
    edit(tmp_path / "none", RescaleSlope=None, Units="PROPCPS")
    found = about(tmp_path / "none")
    assert found.suv_factor is None and load_image(tmp_path / "none").data.max() > 0
    assert any("RescaleSlope is missing" in p for p in found.problems)
    assert any("Units is PROPCPS" in p for p in found.problems)
    write_series(tmp_path / "zero", scan, pet_header())
    edit(tmp_path / "zero", RescaleSlope="0")
    with pytest.raises(BadInput, match=r"RescaleSlope of slice 1 .* is 0"):
        load_image(tmp_path / "zero")


def test_malformed_patient_data_stays_out_of_the_log(tmp_path, scan):
    """pydicom warns of values that break the rules, and quotes them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pydicom.config.settings, "_writing_validation_mode", pydicom.config.IGNORE)
        header = pet_header()
        header.PatientBirthDate, header.PatientID = "24-12-1950", "MRN-4711-" + "X" * 70
        write_series(tmp_path / "in", scan, header)
    command = [sys.executable, "-m", "m2diff", "enhance", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    done = subprocess.run([*command, "--weights", "gaussian", "--quiet"], capture_output=True, text=True, check=True)
    assert "1950" not in done.stdout + done.stderr and "4711" not in done.stdout + done.stderr


def test_the_spread_is_a_second_series_with_the_images_units(tmp_path, scan):
    from m2diff.enhancement.enhanced import save_result
    from m2diff.enhancement.run import enhance

    write_series(tmp_path / "in", head((48, 48, 24)), pet_header())
    result = enhance(load_image(tmp_path / "in"), weights="gaussian")
    spread = result.volume.with_data(np.abs(result.volume.data) * np.float32(0.05), "as draws would give it")
    written = save_result(replace(result, spread=spread), tmp_path / "out")
    assert [folder.name for folder in written.dicom] == ["dicom", "dicom-spread"]
    source, image, map_ = (
        pydicom.dcmread(sorted(folder.rglob("*.dcm"))[0]) for folder in (tmp_path / "in", *written.dicom)
    )
    assert map_.StudyInstanceUID == source.StudyInstanceUID and map_.Units == "BQML"
    assert len({source.SeriesInstanceUID, image.SeriesInstanceUID, map_.SeriesInstanceUID}) == 3
    assert len({source.SeriesNumber, image.SeriesNumber, map_.SeriesNumber}) == 3
    assert (
        "standard deviation" in map_.DerivationDescription and "in the unit of the image" in map_.DerivationDescription
    )
    for made in (image, map_):
        assert "gaussian" in made.SeriesDescription and "NOT FOR DIAGNOSIS" in made.SeriesDescription
    again = load_image(written.dicom[1])
    assert again.unit == "Bq/mL" and again.same_grid(spread)
    np.testing.assert_allclose(again.data, spread.data, atol=float(spread.data.max()) / 65535)
    compare_with_dcm2niix(written.dicom[1], spread)


def test_a_result_inside_the_studys_folder_does_not_stand_in_its_way(tmp_path, scan):
    write_series(tmp_path / "in", scan, pet_header())
    volume = load_image(tmp_path)
    dicom.write(volume, tmp_path / "out" / "dicom", WORK)
    assert load_image(tmp_path).source.sha256 == volume.source.sha256
    assert load_image(tmp_path, series="not for diagnosis").same_grid(volume)


def test_images_that_do_not_say_where_they_lie_are_refused_by_the_fields_they_lack(tmp_path, scan):
    write_series(tmp_path, scan, pet_header())
    edit(tmp_path, ImagePositionPatient=None)
    with pytest.raises(BadInput, match="ImagePositionPatient"):
        load_image(tmp_path)
