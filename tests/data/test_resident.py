"""A cohort in a device's memory gives the batches that reading them one by one gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fabricate import fabricate

from m2diff.batch import CLASSES
from m2diff.data.augment import Augmentation
from m2diff.data.dataset import SlabDataset, collate
from m2diff.data.resident import ResidentCohort, Shelf, fits

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def cohort(tmp_path_factory):
    return fabricate(tmp_path_factory.mktemp("cache"))


@pytest.mark.parametrize(
    "how", [Augmentation(), Augmentation(enabled=False), Augmentation(smooth=1, mri_shift=1, flip=1)]
)
@pytest.mark.parametrize("crop", [(16, 24), (48, 40)])  # inside the images, and beyond their edges
@pytest.mark.parametrize("target", ["standard", "expected"])
def test_batches_are_those_of_the_dataset(cohort, how, crop, target):
    dataset = SlabDataset(cohort, slices=4, crop=crop, augmentation=how, target=target, classes=True, seed=2)
    plans = [dataset.plan(n) for n in range(24)]
    there, read = ResidentCohort(dataset, CPU).batch(plans), collate([dataset[n] for n in range(24)])
    for mine, theirs in (
        (there.conditions.low, read.conditions.low),
        (there.conditions.mri, read.conditions.mri),
        (there.conditions.drf, read.conditions.drf),
        (there.target, read.target),
    ):
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-5)
    assert (there.classes is None) == (read.classes is None)
    if read.classes is not None:
        torch.testing.assert_close(there.classes, read.classes, rtol=1e-4, atol=1e-5)


def test_the_tissues_are_cut_as_the_scan_is(cohort, tmp_path):
    for subject in cohort:
        stack = np.random.default_rng(1).integers(0, 255, (len(CLASSES), *subject.standard.shape)).astype(np.uint8)
        np.save(subject.folder / "classes.npy", stack)
    dataset = SlabDataset(cohort, slices=4, crop=(16, 24), classes=True, seed=2)
    there = ResidentCohort(dataset, CPU).batch([dataset.plan(n) for n in range(8)])
    read = collate([dataset[n] for n in range(8)])
    torch.testing.assert_close(there.classes, read.classes, rtol=1e-4, atol=1e-5)
    for subject in cohort:
        (subject.folder / "classes.npy").unlink()


@pytest.mark.parametrize("doses", [(1.5, 4.0, 20.0), (20.0,)])
def test_the_doses_between_are_cut_as_the_scan_is(tmp_path, doses):
    dataset = SlabDataset(fabricate(tmp_path, doses=doses), slices=4, crop=(16, 24), anchors=True, mri=False, seed=2)
    there = ResidentCohort(dataset, CPU).batch([dataset.plan(n) for n in range(12)])
    read = collate([dataset[n] for n in range(12)])
    assert there.conditions.mri is None and read.conditions.mri is None
    assert (there.anchors is None) == (read.anchors is None) == (len(doses) == 1)
    if read.anchors is not None:
        torch.testing.assert_close(there.anchors.images, read.anchors.images, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(there.anchors.doses, read.anchors.doses, equal_nan=True)


def test_a_batch_with_a_session_without_an_mri_has_none(cohort):
    dataset = SlabDataset(cohort, slices=4, crop=(16, 16))
    resident = ResidentCohort(dataset, CPU)
    plan = dataset.plan(0)
    assert resident.batch([plan]).conditions.mri is not None
    del resident.mri.entry[plan.subject]
    assert resident.batch([plan]).conditions.mri is None


def test_a_box_repeats_the_edges_of_its_own_stack():
    stacks = {"a": np.arange(24, dtype=np.float16).reshape(2, 3, 4), "b": -np.ones((1, 2, 2), np.float16)}
    shelf = Shelf.of(stacks, CPU)
    first, second = shelf.boxes(["a", "b"], [(-1, 1, 2), (5, -3, 0)], (2, 3, 4))
    expected = np.pad(stacks["a"], ((1, 0), (0, 2), (0, 2)), mode="edge")[:2, 1:4, 2:6]
    assert np.array_equal(first.numpy(), expected)
    assert (second == -1).all()


def test_a_cpu_reads_slabs_one_by_one(cohort):
    assert not fits(SlabDataset(cohort, slices=4), CPU)
