"""The training cache: the scale comes from the low-dose scan, and what is there is whole."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from m2diff.data import cohort as cohorts
from m2diff.data.cohort import Box, open_cohort, prepare_cohort
from m2diff.errors import BadInput
from m2diff.io import bids, nifti
from m2diff.preparation.mask import PetOnGrid

SHAPE = (40, 44, 36)  # i, j, k at 2 mm
DOSES = (4.0, 20.0)


def write(path: Path, data: np.ndarray, voxel: float = 2.0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    affine = np.diag([voxel, voxel, voxel, 1.0])
    nib.save(nib.Nifti1Image(np.asarray(data, dtype=np.float32), affine), path)


def brain_of(shape: tuple[int, ...]) -> np.ndarray:
    at = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    return (at**2).sum(axis=0) < 0.5


def make_person(root: Path, label: str, seed: int, voxel: float = 2.0) -> None:
    shape = tuple(round(n * 2.0 / voxel) for n in SHAPE)
    rng, brain = np.random.default_rng(seed), brain_of(shape)
    activity = gaussian_filter(np.where(brain, 8000.0 * (1 + seed), 0.0), 1.0)
    write(bids.t1_path(root, label), np.where(brain, 500 + 20 * rng.standard_normal(shape), 0.0), voxel)
    for drf in (1.0, *DOSES):
        noise = gaussian_filter(rng.standard_normal(shape), 1.0) * 800 * np.sqrt(drf)
        write(bids.pet_path(root, label, drf), activity + noise, voxel)
    write(bids.derived_path(root, label, "brain"), brain, voxel)
    bids.write_json(bids.record_path(root, label), {})


@pytest.fixture
def root(tmp_path: Path) -> Path:
    root = tmp_path / "cohort"
    for number in range(2):
        make_person(root, f"{number:03d}", number)
    lines = ["participant_id\tanatomy\tgroup", "sub-000\tanna\thealthy", "sub-001\tben\tad"]
    (root / "participants.tsv").write_text("\n".join(lines) + "\n")
    return root


def test_a_prepared_subject_holds_every_dose_on_one_grid(root, tmp_path):
    subjects = open_cohort(prepare_cohort(root, tmp_path / "cache"))
    assert [(s.label, s.person, s.meta.group) for s in subjects] == [("000", "anna", "healthy"), ("001", "ben", "ad")]
    for subject in subjects:
        assert subject.doses == DOSES
        for stack in (subject.low(4.0), subject.low(20.0), subject.standard, subject.mri, subject.mask):
            assert stack.shape == SHAPE[::-1]


def test_target_and_low_dose_are_on_the_scale_of_the_low_dose_scan(root, tmp_path):
    for subject in open_cohort(prepare_cohort(root, tmp_path / "cache")):
        scans = {drf: nifti.load(bids.pet_path(root, subject.label, drf)) for drf in (1, *DOSES)}
        raw = {drf: scan.data for drf, scan in scans.items()}
        for drf in DOSES:
            scale = PetOnGrid.of(scans[drf]).scale
            target = subject.standard.astype(np.float32) * subject.meta.ratio[drf]
            np.testing.assert_allclose(target.T * scale, raw[1], rtol=2e-3, atol=2e-3 * scale)
            np.testing.assert_allclose(subject.low(drf).T * scale, raw[drf], rtol=2e-3, atol=2e-3 * scale)


def test_the_standard_scan_has_no_say_in_the_scale(root, tmp_path):
    first = open_cohort(prepare_cohort(root, tmp_path / "one"))[0]
    path = bids.pet_path(root, "000", 1)
    write(path, 3.0 * nib.load(path).get_fdata())
    second = open_cohort(prepare_cohort(root, tmp_path / "two"))[0]
    assert second.meta.ratio == first.meta.ratio and second.meta.unit == first.meta.unit
    np.testing.assert_allclose(
        second.standard.astype(np.float32), 3.0 * first.standard.astype(np.float32), rtol=2e-3, atol=1e-6
    )


def test_the_brain_box_is_the_brains(root, tmp_path):
    subject = open_cohort(prepare_cohort(root, tmp_path / "cache"))[0]
    assert subject.mask.any()
    assert subject.meta.brain == Box.around(brain_of(SHAPE).T)
    assert all(h <= b for h, b in zip(subject.meta.head.low, subject.meta.brain.low, strict=True))


def test_scans_of_other_voxels_come_onto_the_working_grid(root, tmp_path):
    make_person(root, "000", 0, voxel=2.5)
    subject = open_cohort(prepare_cohort(root, tmp_path / "cache"))[0]
    stacks = [subject.low(4.0), subject.low(20.0), subject.standard, subject.mri, subject.mask]
    assert len({stack.shape for stack in stacks}) == 1
    assert all(abs(n - full) <= 2 for n, full in zip(stacks[0].shape, SHAPE[::-1], strict=True))


def test_preparing_again_does_only_what_is_missing_or_changed(root, tmp_path, monkeypatch):
    cache = prepare_cohort(root, tmp_path / "cache")
    done = []
    real = cohorts.prepare_subject
    monkeypatch.setattr(cohorts, "prepare_subject", lambda s, c: done.append(s.label) or real(s, c))
    prepare_cohort(root, cache)
    assert done == []
    make_person(root, "001", 7)
    prepare_cohort(root, cache)
    assert done == ["001"]


def test_a_run_that_dies_leaves_no_half_subject(root, tmp_path, monkeypatch):
    def dies(path, array):
        if path.name == "low_drf20.npy":
            raise KeyboardInterrupt
        np.save(path, array)

    monkeypatch.setattr(cohorts, "_save", dies)
    with pytest.raises(KeyboardInterrupt):
        prepare_cohort(root, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_several_processes_prepare_the_same_cache(root, tmp_path):
    one = open_cohort(prepare_cohort(root, tmp_path / "one", jobs=1))
    two = open_cohort(prepare_cohort(root, tmp_path / "two", jobs=2))
    assert [s.meta for s in one] == [s.meta for s in two]
    assert np.array_equal(one[1].low(20.0), two[1].low(20.0))


def test_a_folder_without_prepared_subjects_is_refused(tmp_path):
    with pytest.raises(BadInput, match="holds no prepared subject"):
        open_cohort(tmp_path)


def test_a_subject_without_low_doses_is_refused(root, tmp_path):
    for drf in DOSES:
        bids.pet_path(root, "000", drf).unlink()
    with pytest.raises(BadInput, match="no low-dose scan"):
        prepare_cohort(root, tmp_path / "cache")
