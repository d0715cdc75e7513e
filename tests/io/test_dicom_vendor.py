"""Headers as a Siemens Biograph Vision and a Skyra write them, every field of them (medimages4tests)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from m2diff.io import dicom, suv
from m2diff.io.dicom.index import choose
from m2diff.io.info import info
from m2diff.io.load import load_image

vision = pytest.importorskip("medimages4tests.dummy.dicom.pet.wholebody.siemens.biograph_vision.vr20b")
skyra = pytest.importorskip("medimages4tests.dummy.dicom.mri.t1w.siemens.skyra.syngo_d13c")


@pytest.fixture(scope="module")
def folders(tmp_path_factory) -> dict[str, Path]:
    """24 slices of the PET and all of the MRI, beside each other, as one export."""
    root = tmp_path_factory.mktemp("export")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vision, "num_vols", 24)
        patch.setitem(vision.constant_hdr, "00540081", {"vr": "US", "Value": [24]})  # NumberOfSlices
        vision.get_image(out_dir=root / "pet")
    skyra.get_image(out_dir=root / "mr")
    return {"all": root, "pet": root / "pet", "mr": root / "mr"}


def test_one_folder_of_both_is_read_by_modality(folders):
    pet, mri = load_image(folders["all"]), load_image(folders["all"], what="MRI")
    assert pet.shape == (440, 440, 24) and np.allclose(pet.voxel_size, (1.65, 1.65, 2), atol=0.01)
    assert pet.unit == "Bq/mL" and pet.data.max() > 0
    assert mri.shape == (240, 256, 192) and np.allclose(mri.voxel_size, 1, atol=0.01)


def test_its_germanium_phantom_is_understood(folders):
    about = next(found for found in info(folders["pet"]) if found.modality == "PET")
    assert about.tracer == "Germanium" and about.weight_kg == 75 and about.problems == ()
    quantity = suv.quantity(choose(folders["pet"], "PT").header)
    assert quantity.half_life_s == pytest.approx(270.95 * 86400, rel=0.01)


def test_a_derived_series_keeps_the_geometry_and_the_study(folders, tmp_path):
    scan = load_image(folders["pet"])
    work = dicom.Derivation("a test", "a test of m2diff", "x", "1")
    made = dicom.write(scan.with_data(scan.data * np.float32(0.5), "halved"), tmp_path / "out", work)
    assert len(made) == 24
    again = load_image(tmp_path / "out")
    assert again.same_grid(scan)
    assert np.allclose(again.data, scan.data * 0.5, atol=float(scan.data.max()) / 60000)
    old, new = (choose(folder, "PT").header for folder in (folders["pet"], tmp_path / "out"))
    assert new.StudyInstanceUID == old.StudyInstanceUID and new.FrameOfReferenceUID == old.FrameOfReferenceUID
    assert new.SeriesInstanceUID != old.SeriesInstanceUID


def test_its_patient_stays_in_the_header(folders):
    header = choose(folders["pet"], "PT").header
    private = [str(header.get(key, "")) for key in ("PatientName", "PatientID", "AccessionNumber")]
    done = subprocess.run(
        [sys.executable, "-m", "m2diff", "info", str(folders["all"]), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    text = done.stdout + json.dumps(load_image(folders["pet"]).source.sidecar)
    assert not any(value in text for value in private if value)
