"""Data sets in the exact layouts that people have become BIDS, with the doses and MRIs that belong together."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy import ndimage

from dicom_files import PATIENT, head, mr_header, pet_header, write_series
from m2diff.cli.app import main
from m2diff.errors import BadInput
from m2diff.io import nifti
from m2diff.io.bids import find_subjects
from m2diff.layouts import convert, dacra, recognise, sliced, udpet
from m2diff.layouts.between import Request, convert_between

SHAPE = (32, 36, 30)
AFFINE = np.diag([4.0, 4.0, 4.0, 1.0])
rng = np.random.default_rng(0)


def brain(level: float = 1000.0) -> np.ndarray:
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    folds = ndimage.gaussian_filter(np.random.default_rng(5).standard_normal(SHAPE), 2)
    return ((sum(g**2 for g in grid) < 0.6) * level * (1 + 0.5 * np.sign(folds))).astype(np.float32)


def save(path: Path, data: np.ndarray, affine: np.ndarray = AFFINE, about: dict | None = None) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(data.astype(np.float32), affine), path)
    if about is not None:
        nifti.sidecar_path(path).write_text(json.dumps(about))
    return path


def frames(count: int) -> np.ndarray:
    """Independent noise on one brain: the mean of n frames has a variance n times smaller."""
    noise = np.random.default_rng(1).standard_normal((*SHAPE, count))
    return brain()[..., None] * (1 + 0.3 * noise)


# ---- Monash DaCRA ------------------------------------------------------------------------------------------------


@pytest.fixture
def monash(tmp_path: Path) -> Path:
    root = tmp_path / "ds003397"
    root.mkdir()
    (root / "dataset_description.json").write_text(json.dumps({"Name": "DaCRA", "BIDSVersion": "1.1.1"}))
    about = {
        "Units": "Bq/ml", "InstitutionName": "somewhere", "DeviceSerialNumber": "51066", "TracerName": "FDG",
        "FrameDuration": [16] * 340, "FrameTimesStart": list(range(0, 5440, 16)), "InjectedRadioactivity": 252.91,
    }  # fmt: skip
    for person, trc in (("01", "_trc-18FFDG_rec-acdyn"), ("02", "")):  # the newer and the older names
        for number in (1, 2):
            name = f"sub-{person}_task-checkerboard{trc}_run-{number}_pet.nii.gz"
            save(root / f"sub-{person}/pet/{name}", frames(40), about=about)
        save(root / f"sub-{person}/anat/sub-{person}_run-1_T1w.nii.gz", brain(80))
        (root / f"sub-{person}/ute").mkdir()
    (root / "sourcedata/sub-01/pet").mkdir(parents=True)
    return root


def test_dacra_gives_a_static_scan_of_each_run_and_lower_doses_of_fewer_frames(monash, tmp_path):
    assert recognise(monash) == "dacra"
    count, failures = convert(monash, tmp_path / "bids")
    assert (count, failures) == (4, [])
    subjects = find_subjects(tmp_path / "bids")
    assert [s.label for s in subjects] == [f"0{p}_task-checkerboard_trc-18FFDG_run-{r}" for p in (1, 2) for r in (1, 2)]
    assert {s.person for s in subjects} == {"01", "02"} and all(s.t1 is not None for s in subjects)
    assert tuple(subjects[0].low) == (4.0, 10.0, 20.0)
    standard = nifti.load(subjects[0].standard)
    assert standard.unit == "Bq/mL"
    assert np.allclose(standard.data, frames(40).mean(axis=3), rtol=1e-4)
    about = nifti.read_sidecar(subjects[0].low[20.0])
    assert about["FrameDuration"] == [32] and "FrameTimesStart" not in about and about["DoseReductionFactor"] == 20
    assert "InstitutionName" not in about and "DeviceSerialNumber" not in about


def test_fewer_frames_are_that_much_noisier(monash, tmp_path):
    convert(monash, tmp_path / "bids", factors=(10.0,))
    subject = find_subjects(tmp_path / "bids")[0]
    inside = brain() > 0
    noise = {
        drf: ((nifti.load(path).data - brain())[inside] / brain()[inside]).var()
        for drf, path in ({1.0: subject.standard} | subject.low).items()
    }
    assert noise[10.0] / noise[1.0] == pytest.approx(10, rel=0.1)


def test_frames_of_a_lower_dose_are_spread_and_lie_among_those_of_a_higher_one():
    for count in (2, 40, 85, 340):
        previous = set(range(count))
        for factor in (1, 2, 4, 10, 20):
            if count / factor < 1:
                continue
            subset = dacra.chosen(count, factor)
            assert len(subset) == round(count / factor) and set(subset) <= previous
            previous = set(subset)
        few = dacra.chosen(count, count / 2) if count > 2 else [0]
        assert max(np.diff([-1, *few, count])) <= 0.75 * count + 1


# ---- ADNI ---------------------------------------------------------------------------------------------------------


def description(subject: str, image: int, modality: str, tracer: str = "", group: str = "AD") -> str:
    protocol = f'<protocolTerm><protocol term="Radiopharmaceutical">{tracer}</protocol></protocolTerm>'
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<idaxs xmlns="http://ida.loni.usc.edu"><project xmlns=""><subject><subjectIdentifier>{subject}</subjectIdentifier>
<researchGroup>{group}</researchGroup><subjectSex>F</subjectSex>
<visit><visitIdentifier>ADNI2 Baseline-New Pt</visitIdentifier></visit>
<study><series><modality>{modality}</modality><dateAcquired>2012-05-15 14:26:00.0</dateAcquired>
<imagingProtocol><imagingUID>{image}</imagingUID>{protocol if tracer else ""}</imagingProtocol>
</series></study></subject></project></idaxs>"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    root = tmp_path / "download"
    uniform = "Coreg,_Avg,_Std_Img_and_Vox_Siz,_Uniform_Resolution"
    one = root / "ADNI/002_S_0413"
    name = f"ADNI_002_S_0413_PT_{uniform}_Br_20120515_1_S150000_I305547"
    save(one / uniform / "2012-05-15_14_26_00.0/I305547" / f"{name}.nii", brain())
    (root / f"ADNI/ADNI_002_S_0413_{uniform}_S150000_I305547.xml").write_text(
        description("002_S_0413", 305547, "PET", "18F-FDG")
    )
    volume = head((40, 44, 20))
    for day, image in (("2012-05-10_09_00_00.0", 305000), ("2006-01-02_09_00_00.0", 20000)):
        place = one / "Accelerated_Sagittal_MPRAGE" / day / f"I{image}"
        write_series(place, volume * (1 if image == 305000 else 2), mr_header(), name=str(image))
    write_series(one / "Axial_T2_Star" / "2012-05-15_09_00_00.0" / "I305001", volume, mr_header(), name="t2")
    # Another person: frames of one dynamic series as DICOM, and a scan of another tracer a year later; no XML.
    other = root / "ADNI/005_S_0222"
    raw = other / "ADNI_Brain_PET__Raw" / "2007-03-04_10_00_00.0" / "I400001"
    for n in (1, 2, 3):
        series = write_series(raw, volume * n, pet_header(), prefix=f"f{n}-", AcquisitionTime=f"10{5 * n:02d}00")
        assert series
    later = other / f"AV45_{uniform}" / "2008-03-05_10_00_00.0" / "I400002"
    for n in (1, 2):
        save(later / f"frame{n}.nii", brain() * n)
    return root


def test_adni_pairs_each_scan_with_the_nearest_t1_and_averages_frames(archive, tmp_path):
    assert recognise(archive) == "adni"
    out = tmp_path / "bids"
    count, failures = convert(archive, out)
    assert (count, failures) == (3, [])
    fdg = nifti.load(out / "sub-002S0413/ses-I305547/pet/sub-002S0413_ses-I305547_trc-18FFDG_rec-standard_pet.nii.gz")
    assert fdg.source.sidecar["VisitName"] == "ADNI2 Baseline-New Pt"
    t1 = nifti.load(out / "sub-002S0413/ses-I305547/anat/sub-002S0413_ses-I305547_T1w.nii.gz", what="MRI")
    assert t1.data.max() == pytest.approx(head((40, 44, 20)).max(), rel=1e-3)  # the one of five days before
    other = out / "sub-005S0222"
    dynamic = nifti.load(other / "ses-I400001/pet/sub-005S0222_ses-I400001_trc-18FFDG_rec-standard_pet.nii.gz")
    assert dynamic.data.max() == pytest.approx(2 * head((40, 44, 20)).max(), rel=1e-3)
    av45 = nifti.load(other / "ses-I400002/pet/sub-005S0222_ses-I400002_trc-18FAV45_rec-standard_pet.nii.gz")
    assert np.allclose(av45.data, 1.5 * brain(), rtol=1e-4)
    with (out / "participants.tsv").open() as lines:
        groups = {row["participant_id"]: row["group"] for row in csv.DictReader(lines, delimiter="\t")}
    assert groups == {"sub-002S0413": "AD", "sub-005S0222": "unknown"}
    everything = "".join(path.read_text() for path in out.rglob("*.json")) + str(sorted(out.rglob("*")))
    assert not any(str(value) in everything for key, value in PATIENT.items() if key != "PatientSex")
    assert "2012" not in everything


def test_adni_gets_low_doses_by_simulation_that_say_so(archive, tmp_path):
    convert(archive, tmp_path / "bids", factors=(4.0, 20.0))
    subject = next(s for s in find_subjects(tmp_path / "bids") if s.person == "002S0413")
    assert tuple(subject.low) == (4.0, 20.0)
    assert nifti.read_sidecar(subject.low[20.0])["Simulated"] is True
    assert "Simulated" not in nifti.read_sidecar(subject.standard)


def test_a_damaged_description_is_one_sentence(archive, tmp_path):
    next((archive / "ADNI").glob("*.xml")).write_text("<idaxs><project>")
    with pytest.raises(BadInput, match="XML"):
        convert(archive, tmp_path / "bids")
    assert not (tmp_path / "bids").exists()


# ---- UDPET --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "drf"),
    [
        ("DRF_20", 20), ("DRF-4", 4), ("drf100", 100), ("D10", 10), ("1-50 dose", 50), ("NORMAL", 1), ("Full_dose", 1),
        ("2.886 x 600 WB DRF_100", 100), ("2.886 x 600 WB normal", 1), ("2.886 x 600 WB D2", 2), ("CT", None),
        ("Anonymous_20211016_DRF_20_x", 20), ("DRF", None), ("abnormality", None),
    ],
)  # fmt: skip
def test_doses_are_read_off_names(name, drf):
    assert udpet.dose_of(name) == drf


def body(top: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """A head on a long body, 1 m; ``top``: the head is at the end of the axis."""
    data = np.zeros((*SHAPE[:2], 250), dtype=np.float32)
    data[8:24, 8:28, :170] = 300
    data[..., 175 : 175 + SHAPE[2]] += brain()
    affine = AFFINE.copy()
    if not top:
        data, affine = data[..., ::-1], np.diag([4.0, 4.0, -4.0, 1.0])
    return data, affine


@pytest.mark.parametrize("top", [True, False])
def test_udpet_keeps_the_same_head_of_every_dose(tmp_path, top):
    data, affine = body(top)
    noise = np.random.default_rng(3).standard_normal(data.shape)
    for person in ("Anonymous_ANO_20211016_1", "Anonymous_ANO_20211017_2"):
        for name, amount in (("NORMAL", 0.0), ("DRF_4", 0.05), ("DRF_20", 0.1), ("DRF_100", 0.3)):
            save(tmp_path / "udpet" / person / f"{name}.nii.gz", data * (1 + amount * noise), affine)
    assert recognise(tmp_path / "udpet") == "udpet"
    count, failures = convert(tmp_path / "udpet", tmp_path / "bids", factors=(20.0, 100.0))
    assert (count, failures) == (2, [])
    subjects = find_subjects(tmp_path / "bids")
    assert len(subjects) == 2 and all(len(s.person) == 8 and s.t1 is None for s in subjects)
    assert tuple(subjects[0].low) == (20.0, 100.0)
    standard, low = nifti.load(subjects[0].standard), nifti.load(subjects[0].low[100.0])
    assert low.same_grid(standard) and standard.unit == "Bq/mL"
    assert 250 <= standard.shape[2] * 4 <= 270
    assert standard.data.sum() > 0.99 * brain().sum()  # all of the head is there
    world = nib.affines.apply_affine(standard.affine, np.argwhere(standard.data > 900).mean(axis=0))
    whole = nib.affines.apply_affine(affine, np.argwhere(data > 900).mean(axis=0))
    assert np.allclose(world, whole, atol=0.5)  # and where it was
    assert "2021" not in str(sorted((tmp_path / "bids").rglob("*")))


def test_udpet_reads_dicom_folders(tmp_path):
    person = tmp_path / "udpet" / "batch" / "P1"
    volume = head((40, 44, 20))
    write_series(person / "2.886 x 600 WB normal", volume, pet_header(), name="full")
    write_series(person / "2.886 x 600 WB DRF_20", volume * 1.1, pet_header(), name="low")
    convert(tmp_path / "udpet", tmp_path / "bids")
    assert tuple(find_subjects(tmp_path / "bids")[0].low) == (20.0,)


# ---- the authors' slices ------------------------------------------------------------------------------------------


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """Three people in BIDS, without MRIs: nothing is to be registered."""
    root = tmp_path / "cohort"
    for number in (1, 2, 3):
        for label, amount in (("standard", 0.02), ("drf20", 0.3)):
            data = brain() * (1 + amount * rng.standard_normal(SHAPE))
            name = f"sub-0{number}_trc-18FFDG_rec-{label}_pet.nii.gz"
            save(root / f"sub-0{number}/pet/{name}", data, np.diag([2.0, 2.0, 2.0, 1.0]), {"Units": "Bq/mL"})
    return root


def test_slices_go_out_and_come_back_as_they_were(cohort, tmp_path):
    counts = sliced.write_slices(cohort, tmp_path / "mat", drf=20.0, size=48)
    assert counts == {"train": 30, "val": 30, "test": 30}
    from scipy.io import loadmat

    files = sorted((tmp_path / "mat").glob("*/LD/*.mat"))
    assert loadmat(files[0])["slice_data"].shape == (48, 48)
    for path in files:
        assert (path.parents[1] / "SD" / path.name).is_file()
    assert recognise(tmp_path / "mat") == "mat"
    convert(tmp_path / "mat", tmp_path / "bids")
    for before, after in zip(find_subjects(cohort), find_subjects(tmp_path / "bids"), strict=True):
        assert tuple(after.low) == (20.0,)
        old, new = nifti.load(before.standard), nifti.load(after.standard)
        assert np.allclose(np.diag(new.affine)[:3], 2)
        start = np.rint(np.linalg.inv(new.affine) @ old.affine)[:3, 3].astype(int)
        box = tuple(slice(a, a + n) for a, n in zip(start, old.shape, strict=True))
        ratio = new.data[box][old.data > 500] / old.data[old.data > 500]
        assert ratio.std() < 1e-4 * ratio.mean()  # one scale a scan, nothing moved


def test_slices_of_the_released_code_need_a_dose_and_say_what_is_wrong(tmp_path):
    from scipy.io import savemat

    for kind in ("LD", "SD", "T1"):
        for number in range(1, 25):
            path = tmp_path / "old/train" / kind / f"patient7_{number}.mat"
            path.parent.mkdir(parents=True, exist_ok=True)
            savemat(path, {"slice_data": np.full((40, 44), number, dtype=np.float64) + np.eye(40, 44)})
    with pytest.raises(BadInput, match="--drf 20"):
        convert(tmp_path / "old", tmp_path / "bids")
    assert not (tmp_path / "bids").exists()
    convert(tmp_path / "old", tmp_path / "bids", factors=(20.0,), voxel_mm=(1.5, 1.5, 3.0))
    subject = find_subjects(tmp_path / "bids")[0]
    scan = nifti.load(subject.standard)
    assert scan.shape == (44, 40, 24) and np.allclose(scan.voxel_size, (1.5, 1.5, 3.0)) and subject.t1 is not None
    assert np.allclose(scan.data[3, 5], np.arange(1, 25))  # in the order of the numbers, not of the letters
    (tmp_path / "old/train/SD/patient7_3.mat").unlink()
    count, failures = convert(tmp_path / "old", tmp_path / "again", factors=(20.0,))
    assert count == 1 and "SD slice" in failures[0][1]


# ---- one door for all ---------------------------------------------------------------------------------------------


def test_the_same_conversion_again_redoes_nothing_and_another_is_refused(cohort, monash, tmp_path):
    convert(monash, tmp_path / "bids")
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "bids").rglob("*.nii.gz")}
    convert(monash, tmp_path / "bids")
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "bids").rglob("*.nii.gz")}
    sliced.write_slices(cohort, tmp_path / "mat", drf=20.0)
    with pytest.raises(BadInput, match="choose an empty folder"):
        sliced.write_slices(cohort, tmp_path / "mat", drf=20.0)
    with pytest.raises(BadInput, match="another data set"):
        convert(tmp_path / "mat", tmp_path / "bids")


def test_an_unknown_folder_is_refused_with_the_names_that_are_known(tmp_path):
    with pytest.raises(BadInput, match="dacra, adni, mat, udpet"):
        convert(tmp_path, tmp_path / "bids")


def test_dicom_becomes_nifti_bids_and_dicom_again(tmp_path):
    volume = head((40, 44, 24))
    write_series(tmp_path / "pet", volume, pet_header(), name="a")
    write_series(tmp_path / "mr", volume, mr_header(), name="b")
    convert_between(Request(tmp_path / "pet", tmp_path / "pet.nii.gz"))
    image = nifti.load(tmp_path / "pet.nii.gz")
    assert image.unit == "Bq/mL" and image.data.max() == pytest.approx(volume.max(), rel=1e-3)
    convert_between(Request(tmp_path / "mr", tmp_path / "mr.nii.gz", modality="MRI"))
    for subject in ("01", "02", "02"):
        request = Request(tmp_path / "pet", tmp_path / "bids", subject=subject, mri=tmp_path / "mr", factors=(20.0,))
        convert_between(request)
    subjects = find_subjects(tmp_path / "bids")
    assert [s.label for s in subjects] == ["01_trc-18FFDG", "02_trc-18FFDG"] and subjects[0].t1 is not None
    assert (tmp_path / "bids/participants.tsv").read_text().split() == ["participant_id", "sub-01", "sub-02"]
    convert_between(Request(tmp_path / "pet.nii.gz", tmp_path / "dicom", like=tmp_path / "pet"))
    from m2diff.io import dicom

    assert np.allclose(dicom.load_series(tmp_path / "dicom").data, image.data, atol=image.data.max() / 60000)
    turned = nib.as_closest_canonical(nib.load(tmp_path / "pet.nii.gz"))  # axes turned, as other software writes them
    assert not np.allclose(turned.affine, image.affine)
    nib.save(turned, tmp_path / "turned.nii.gz")
    convert_between(Request(tmp_path / "turned.nii.gz", tmp_path / "dicom-turned", like=tmp_path / "pet"))
    assert np.array_equal(dicom.load_series(tmp_path / "dicom-turned").data, dicom.load_series(tmp_path / "dicom").data)
    for label in ("../x", "Jörg", ""):
        with pytest.raises(BadInput, match="plain letters and digits"):
            convert_between(Request(tmp_path / "pet", tmp_path / "other", subject=label))
    assert not (tmp_path / "other").exists()
    write_series(tmp_path / "pet2", 2 * volume, pet_header(), name="c")
    with pytest.raises(BadInput, match="comes from another scan"):
        convert_between(Request(tmp_path / "pet2", tmp_path / "bids", subject="01"))
    nifti.save(replace(image, unit="kBq/mL"), tmp_path / "kbq.nii.gz", sidecar={})
    with pytest.raises(BadInput, match="kBq/mL"):
        convert_between(Request(tmp_path / "kbq.nii.gz", tmp_path / "dicom2", like=tmp_path / "pet"))
    with pytest.raises(BadInput, match="not empty"):
        convert_between(Request(tmp_path / "pet.nii.gz", tmp_path / "pet", like=tmp_path / "pet"))


def test_the_command_speaks_json_where_asked(tmp_path, monkeypatch, capsys):
    write_series(tmp_path / "pet", head((40, 44, 24)), pet_header())
    monkeypatch.chdir(tmp_path)
    said = []
    for source, code in (("pet", 0), ("nowhere", 2)):
        with pytest.raises(SystemExit) as end:
            main(["convert", source, "pet.nii.gz", "--json"])
        assert (end.value.code or 0) == code
        said.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert said[0] == [{"event": "made", "path": "pet.nii.gz"}]
    assert said[1][0]["event"] == "error" and "nowhere" in said[1][0]["message"]


def test_the_shell_completes(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "m2diff", "--help"], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "--install-completion" in done.stdout and "--show-completion" in done.stdout


# ---- and then they are trained on ---------------------------------------------------------------------------------


def test_a_cohort_without_mris_is_prepared_and_gives_batches_of_pet_alone(cohort, tmp_path):
    from m2diff.data.cohort import open_cohort, prepare_cohort
    from m2diff.data.dataset import SlabDataset, collate

    subjects = open_cohort(prepare_cohort(cohort, tmp_path / "cache"))
    assert [s.person for s in subjects] == ["01", "02", "03"] and subjects[0].doses == (20.0,)
    assert subjects[0].mri is None
    batch = collate([SlabDataset(subjects, slices=8, crop=(32, 32))[n] for n in range(3)])
    assert batch.conditions.mri is None and batch.conditions.low.shape == (3, 8, 32, 32)


def test_doses_on_different_grids_are_refused(cohort, tmp_path):
    from m2diff.data.cohort import prepare_cohort

    low = next(cohort.glob("sub-01/pet/*drf20*.nii.gz"))
    save(low, brain(), np.diag([2.0, 2.0, 2.2, 1.0]))
    with pytest.raises(BadInput, match="share one grid"):
        prepare_cohort(cohort, tmp_path / "cache")


def test_a_mixed_cohort_gives_batches_with_and_without_mri_in_proportion():
    from m2diff.data.dataset import SlabDataset

    class Session:
        def __init__(self, mri):
            self.mri = mri

    sessions = [Session(n % 4 or None) for n in range(40)]  # a quarter has none
    dataset = SlabDataset(sessions, slices=8, batch=4)
    kinds = [[bool(sessions[dataset._kind(4 * batch + item)[0]].mri) for item in range(4)] for batch in range(400)]
    assert all(len(set(batch)) == 1 for batch in kinds)
    assert np.mean([batch[0] for batch in kinds]) == pytest.approx(0.75, abs=0.07)


def test_one_bad_session_is_named_and_stops_no_other(cohort, tmp_path):
    from m2diff.data.cohort import open_cohort, prepare_cohort

    next(cohort.glob("sub-02/pet/*drf20*.nii.gz")).write_bytes(b"not an image")
    with pytest.raises(BadInput, match=r"sub-02_trc-18FFDG: .*readable"):
        prepare_cohort(cohort, tmp_path / "cache")
    assert [s.person for s in open_cohort(tmp_path / "cache")] == ["01", "03"]


# ---- what a second pair of eyes found -----------------------------------------------------------------------------


def test_later_arrivals_change_nobodys_label(tmp_path):
    root = tmp_path / "udpet"
    for name in ("NORMAL", "DRF_20"):
        save(root / "P2" / f"{name}.nii.gz", brain())
    convert(root, tmp_path / "bids")
    before = {s.label for s in find_subjects(tmp_path / "bids")}
    for name in ("NORMAL", "DRF_20"):
        save(root / "P1" / f"{name}.nii.gz", 2 * brain())
    assert convert(root, tmp_path / "bids") == (2, [])
    subjects = {s.label: s for s in find_subjects(tmp_path / "bids")}
    assert len(subjects) == 2 and before < set(subjects)
    assert nifti.load(subjects[before.pop()].standard).data.max() == brain().max()


def test_sessions_of_one_person_stay_one_person_through_slices(cohort, tmp_path):
    for path in list(cohort.glob("sub-01/pet/*")):
        moved = cohort / "sub-01" / "ses-b" / "pet" / path.name.replace("sub-01_", "sub-01_ses-b_")
        moved.parent.mkdir(parents=True, exist_ok=True)
        moved.write_bytes(path.read_bytes())
    sliced.write_slices(cohort, tmp_path / "mat", drf=20.0)
    convert(tmp_path / "mat", tmp_path / "bids")
    subjects = find_subjects(tmp_path / "bids")
    assert [s.person for s in subjects] == ["01", "01", "02", "03"] and len({s.label for s in subjects}) == 4


def test_damaged_frames_and_uneven_ones_are_told_of_and_stop_nobody(monash, tmp_path):
    bad = next(monash.glob("sub-01/pet/*run-1_pet.nii.gz"))
    content = bytearray(bad.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 50] = bytes(50)
    bad.write_bytes(content)
    next(monash.glob("sub-01/pet/*run-2_pet.nii.gz")).write_bytes(b"")  # a link that was not fetched
    uneven = next(monash.glob("sub-02/pet/*run-1_pet.json"))
    uneven.write_text(json.dumps({"FrameDuration": [10] * 20 + [300] * 20}))
    count, failures = convert(monash, tmp_path / "bids")
    assert count == 4 and len(failures) == 3
    assert "10 to 300 s" in failures[2][1]
    assert [s.label for s in find_subjects(tmp_path / "bids")] == ["02_task-checkerboard_trc-18FFDG_run-2"]


@pytest.mark.parametrize("factors", [(0.0,), (0.5,), (float("inf"),), (-3.0,)])
def test_impossible_doses_are_refused(monash, tmp_path, factors):
    with pytest.raises(BadInput, match="above 1"):
        convert_between(Request(monash, tmp_path / "bids", factors=factors))


def test_names_that_would_leave_the_folder_do_not(cohort, tmp_path):
    sliced.write_slices(cohort, tmp_path / "mat", drf=20.0)
    path = tmp_path / "mat" / "geometry.json"
    content = json.loads(path.read_text())
    for entry in content.values():
        entry["entities"] = {"sub": "x/../../evil"}
    path.write_text(json.dumps(content))
    _, failures = convert(tmp_path / "mat", tmp_path / "out" / "bids")
    assert len(failures) == 3 and not list(tmp_path.rglob("*evil*"))
    path.write_text('{"sub-01": {"drf": 20}}')
    with pytest.raises(BadInput, match=r"geometry\.json"):
        convert(tmp_path / "mat", tmp_path / "out" / "bids2")


def test_what_is_stated_of_a_tracer_is_kept(archive, tmp_path):
    path = next((archive / "ADNI").glob("*.xml"))
    path.write_text(path.read_text().replace("18F-FDG", "18F-MK6240"))
    convert(archive, tmp_path / "bids")
    assert list((tmp_path / "bids").rglob("*trc-18FMK6240*_pet.nii.gz"))


@pytest.mark.parametrize("layout", ["monash", "archive", "cohort"])
def test_the_official_validator_finds_no_error_that_the_source_did_not_have(layout, tmp_path, request):
    tool = shutil.which("bids-validator-deno", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if tool is None:
        pytest.skip("bids-validator-deno is not installed")
    source = request.getfixturevalue(layout)
    if layout == "cohort":
        sliced.write_slices(source, tmp_path / "mat", drf=20.0)
        source = tmp_path / "mat"
    convert(source, tmp_path / "bids", factors=(20.0,))
    done = subprocess.run([tool, str(tmp_path / "bids"), "--json"], capture_output=True, text=True, check=False)
    issues = json.loads(done.stdout)["issues"]["issues"]
    errors = [issue for issue in issues if issue.get("severity") == "error"]
    # What a scanner's file does not say, nobody can fill in: required fields of PET sidecars.
    assert {issue["code"] for issue in errors} <= {"SIDECAR_KEY_REQUIRED"}, errors


@pytest.mark.parametrize("kind", ["f4", "f8", "u1", "i2", "u2", "i4", "bool"])
@pytest.mark.parametrize("packed", [False, True])
def test_slices_of_every_kind_are_read_as_scipy_writes_them(kind, packed, tmp_path):
    from scipy.io import savemat

    plane = (np.random.default_rng(0).random((7, 5)) * 100).astype(kind)
    content = {"other": np.arange(3), "s": {"x": 1}, "slice_data": plane, "c": np.array(["x"], object)}
    savemat(tmp_path / "x_1.mat", content, do_compression=packed)
    np.testing.assert_array_equal(sliced._slices([tmp_path / "x_1.mat"])[0], plane.astype(np.float32))


def test_damaged_mat_files_are_refused_and_never_end_the_process(tmp_path):
    """scipy's own reader crashes on some files that are damaged so."""
    import random

    from scipy.io import savemat

    path, ends = tmp_path / "x_1.mat", {"read": 0, "refused": 0}
    for number in range(20):
        rng = random.Random(number)
        savemat(path, {"slice_data": np.ones((9, 8), np.float32)}, do_compression=rng.random() < 0.5)
        raw = bytearray(path.read_bytes())
        if rng.random() < 0.3:
            raw = raw[: rng.randrange(len(raw))]
        for _ in range(rng.choice([1, 4, 16])):
            if raw:
                raw[rng.randrange(len(raw))] = rng.randrange(256)
        path.write_bytes(raw)
        try:
            assert sliced._slices([path])[0].ndim == 2
            ends["read"] += 1
        except BadInput:
            ends["refused"] += 1
    assert min(ends.values()) > 0


@pytest.mark.parametrize(
    "end", ["os.abort()", "bytearray(8 << 30)", "time.sleep(60)", "sys.stdout.buffer.write(b'\\x93NUMPY')"]
)
def test_a_reader_that_dies_names_the_file_it_died_on(end, tmp_path, monkeypatch):
    from scipy.io import savemat

    for number in (1, 2, 3):
        savemat(tmp_path / f"x_{number}.mat", {"slice_data": np.ones((9, 8), np.float32)})
    script = sliced.READER.read_text().replace("        try:\n", f"        if 'x_2' in path: {end}\n        try:\n", 1)
    (tmp_path / "reader.py").write_text(script.replace("import io\n", "import io, os, time\n"))
    monkeypatch.setattr(sliced, "READER", tmp_path / "reader.py")
    monkeypatch.setattr(sliced, "MOST_SECONDS", 10)
    with pytest.raises(BadInput, match=r"x_2\.mat is no readable"):
        sliced._slices([tmp_path / f"x_{number}.mat" for number in (1, 2, 3)])


def test_other_mat_files_are_refused_by_what_they_are(tmp_path):
    from scipy.io import savemat

    path = tmp_path / "x_1.mat"
    for content, word in (
        ({"slice_data": np.ones((3, 3)) * 1j}, "no real image"),
        ({"slice_data": np.ones((3, 3, 3))}, "one real 2D image"),
        ({"slice_data": np.full((3, 3), np.nan)}, "finite"),
        ({"image": np.ones((3, 3))}, "must hold slice_data"),
    ):
        savemat(path, content)
        with pytest.raises(BadInput, match=word):
            sliced._slices([path])
