"""DICOM series made for tests: full PET and MR headers around any volume, and ways to spoil them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PET_CLASS, MR_CLASS = "1.2.840.10008.5.1.4.1.1.128", "1.2.840.10008.5.1.4.1.1.4"
ENHANCED_PET, ENHANCED_MR = "1.2.840.10008.5.1.4.1.1.130", "1.2.840.10008.5.1.4.1.1.4.1"
STUDY, FRAME = generate_uid(entropy_srcs=["study"]), generate_uid(entropy_srcs=["frame of reference"])
PATIENT = {"PatientName": "Doe^Jane", "PatientID": "MRN-4711", "PatientBirthDate": "19501224", "PatientSex": "F"}


def head(shape: tuple[int, int, int] = (40, 48, 20), *, seed: int = 0) -> np.ndarray:
    """An ellipsoid with noise, (column, row, slice), whose slices differ in level."""
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    inside = sum(g**2 for g in grid) < 0.7
    level = 5000 * np.linspace(0.3, 2.0, shape[2])
    noise = np.random.default_rng(seed).random(shape)
    return (inside * level * (1 + noise) + 10 * noise).astype(np.float64)


def pet_header() -> Dataset:
    """What the slices of one PET series share."""
    header = _common("PT", PET_CLASS)
    header.SeriesType = ["STATIC", "IMAGE"]
    header.Units, header.CountsSource, header.DecayCorrection = "BQML", "EMISSION", "START"
    header.CorrectedImage = ["DECY", "ATTN", "SCAT", "DTIM"]
    header.CollimatorType = "NONE"
    header.PatientWeight, header.PatientSize = "70", "1.75"
    header.ActualFrameDuration, header.FrameReferenceTime = "1200000", "0"
    header.ReconstructionMethod = "OSEM3D 3i21s"
    header.RescaleSlope, header.RescaleIntercept = "1", "0"
    info = Dataset()
    info.Radiopharmaceutical = "Fluorodeoxyglucose"
    info.RadiopharmaceuticalStartTime = "093000.000000"
    info.RadionuclideTotalDose, info.RadionuclideHalfLife = "250000000", "6586.2"
    info.RadionuclideCodeSequence = Sequence([_code("C-111A1", "SRT", "^18^Fluorine")])
    header.RadiopharmaceuticalInformationSequence = Sequence([info])
    header.PatientOrientationCodeSequence = Sequence([_code("F-10450", "SRT", "recumbent")])
    header.PatientGantryRelationshipCodeSequence = Sequence([_code("F-10470", "SRT", "headfirst")])
    return header


def mr_header() -> Dataset:
    """What the slices of one T1-weighted series share."""
    header = _common("MR", MR_CLASS)
    header.ScanningSequence, header.SequenceVariant, header.ScanOptions = "GR", "SP", ""
    header.MRAcquisitionType, header.RepetitionTime, header.EchoTime = "3D", "2300", "2.9"
    header.EchoTrainLength = "1"
    return header


def write_series(
    folder: Path,
    data: np.ndarray,
    header: Dataset,
    *,
    spacing: tuple[float, float, float] = (3.0, 3.0, 4.0),
    origin: tuple[float, float, float] = (-60.0, -70.0, -40.0),
    orientation: tuple[float, ...] = (1, 0, 0, 0, 1, 0),
    name: str = "series",
    number: int = 3,
    skip: tuple[int, ...] = (),
    syntax: str = ExplicitVRLittleEndian,
    prefix: str = "",
    **elements: Any,
) -> list[Path]:
    """Write ``data`` (column, row, slice) as one file a slice, each with a slope of its own; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    normal = np.cross(orientation[:3], orientation[3:])
    series, files = generate_uid(entropy_srcs=[name, "series"]), []
    for k in range(data.shape[2]):
        if k in skip:
            continue
        image = pydicom.dataset.Dataset()
        image.update(header)
        image.SeriesInstanceUID, image.SeriesNumber, image.SeriesDescription = series, str(number), name
        image.SOPInstanceUID = generate_uid(entropy_srcs=[name, prefix, str(k)])
        image.InstanceNumber = str(data.shape[2] - k)
        image.ImagePositionPatient = [f"{x:.6g}" for x in np.array(origin) + normal * spacing[2] * k]
        image.ImageOrientationPatient = [f"{x:.6g}" for x in orientation]
        image.PixelSpacing, image.SliceThickness = [str(spacing[1]), str(spacing[0])], str(spacing[2])
        if image.Modality == "PT":
            image.ImageIndex, image.NumberOfSlices = k + 1, data.shape[2]
        plane = np.ascontiguousarray(data[:, :, k].T)
        slope = 1.0 if image.Modality == "MR" else float(f"{max(plane.max(), 1e-3) / 32000:.10g}")
        if image.Modality == "PT":
            image.RescaleSlope, image.RescaleIntercept = f"{slope:.10g}", "0"
        image.update(_as(elements))
        stored = np.rint(plane / slope).astype("<i2")
        image.Rows, image.Columns = stored.shape
        image.PixelData = stored.tobytes()
        path = folder / f"{prefix}{k:03d}.dcm"
        _save(image, path, syntax)
        files.append(path)
    return files


def _as(elements: dict[str, Any]) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, value)
    return made


def _save(image: Dataset, path: Path, syntax: str) -> None:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    file = FileDataset(str(path), image, file_meta=meta, preamble=b"\0" * 128)
    if syntax == pydicom.uid.ExplicitVRBigEndian:
        file.file_meta.TransferSyntaxUID = syntax
        file.PixelData = np.frombuffer(file.PixelData, "<i2").astype(">i2").tobytes()
        file["PixelData"].VR = "OW"
        pydicom.dcmwrite(path, file, implicit_vr=False, little_endian=False, enforce_file_format=True)
        return
    if syntax not in (ExplicitVRLittleEndian, pydicom.uid.ImplicitVRLittleEndian):
        file.compress(syntax, generate_instance_uid=False)
    else:
        file.file_meta.TransferSyntaxUID = syntax
    file.save_as(path, enforce_file_format=True)


def write_enhanced(path: Path, data: np.ndarray, modality: str = "PT", *, spacing: float = 3.0) -> Path:
    """One enhanced file of all slices, stored last slice first, each with a slope of its own."""
    header = _common(modality, ENHANCED_PET if modality == "PT" else ENHANCED_MR)
    header.SeriesInstanceUID, header.SeriesNumber = generate_uid(entropy_srcs=["enhanced", modality]), "7"
    header.SeriesDescription, header.InstanceNumber = "enhanced", "1"
    header.SOPInstanceUID = generate_uid(entropy_srcs=["enhanced", modality, "image"])
    header.Units = "BQML"
    shared = Dataset()
    measures = Dataset()
    measures.PixelSpacing, measures.SliceThickness = [str(spacing), str(spacing)], str(spacing)
    plane = Dataset()
    plane.ImageOrientationPatient = ["1", "0", "0", "0", "1", "0"]
    shared.PixelMeasuresSequence = Sequence([measures])
    shared.PlaneOrientationSequence = Sequence([plane])
    header.SharedFunctionalGroupsSequence = Sequence([shared])
    groups, frames = [], []
    for k in reversed(range(data.shape[2])):
        group, place, scale, content = Dataset(), Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = ["-60", "-70", f"{-40 + spacing * k:.6g}"]
        slope = float(f"{max(float(data[:, :, k].max()), 1e-3) / 32000:.10g}")
        scale.RescaleSlope, scale.RescaleIntercept, scale.RescaleType = f"{slope:.10g}", "0", "US"
        content.InStackPositionNumber, content.StackID = k + 1, "1"
        group.PlanePositionSequence, group.PixelValueTransformationSequence = Sequence([place]), Sequence([scale])
        group.FrameContentSequence = Sequence([content])
        groups.append(group)
        frames.append(np.rint(data[:, :, k].T / slope).astype("<i2"))
    header.PerFrameFunctionalGroupsSequence = Sequence(groups)
    header.NumberOfFrames = len(frames)
    header.Rows, header.Columns = frames[0].shape
    header.PixelData = np.stack(frames).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    _save(header, path, ExplicitVRLittleEndian)
    return path


def _common(modality: str, sop_class: str) -> Dataset:
    header = Dataset()
    header.SOPClassUID, header.Modality = sop_class, modality
    header.ImageType = ["ORIGINAL", "PRIMARY"]
    header.StudyInstanceUID, header.FrameOfReferenceUID = STUDY, FRAME
    header.StudyDate = header.SeriesDate = header.AcquisitionDate = header.ContentDate = "20250314"
    header.StudyTime, header.SeriesTime, header.AcquisitionTime, header.ContentTime = (
        "101000", "101500", "101500", "104000",
    )  # fmt: skip
    header.StudyID, header.AccessionNumber, header.ReferringPhysicianName = "1", "ACC99", "House^Gregory"
    header.Manufacturer, header.ManufacturerModelName = "Maker", "Scanner"
    header.PositionReferenceIndicator, header.Laterality, header.PatientPosition = "", "", "HFS"
    header.BodyPartExamined = "BRAIN"
    for keyword, value in PATIENT.items():
        setattr(header, keyword, value)
    header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
    header.BitsAllocated, header.BitsStored, header.HighBit, header.PixelRepresentation = 16, 16, 15, 1
    return header


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
