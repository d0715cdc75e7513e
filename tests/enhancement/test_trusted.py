"""What an enhanced scan says of itself, from end to end: regions, tables, maps, and the user's own labels."""

from __future__ import annotations

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

from m2diff.enhancement import cards
from m2diff.enhancement.run import enhance
from m2diff.errors import BadInput
from m2diff.io import nifti
from m2diff.parcellation import atlas
from m2diff.simulation.cohort import simulate
from m2diff.trust import intervals
from m2diff.volume import Volume


@pytest.fixture(scope="module")
def person(tmp_path_factory):
    """A simulated person of the template at DRF 20: PET, T1."""
    root = simulate(tmp_path_factory.mktemp("cohort"), 1, drf=(20.0,), seed=3, head="grown", progress=False)
    pet = next(root.glob("sub-001/pet/*drf20_pet.nii.gz"))
    return nifti.load(pet), nifti.load(next(root.glob("sub-001/anat/*T1w.nii.gz")), what="MRI")


@pytest.fixture(scope="module")
def enhanced(person):
    pet, t1 = person
    return enhance(pet, t1, weights="mr-guided", drf=20, align=False)


def test_every_run_with_a_t1_has_regions_and_their_files(enhanced, tmp_path):
    written = enhanced.save(tmp_path)
    with written.regions.open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    assert len(rows) >= 50
    dseg = nifti.load(next(tmp_path.glob("*_dseg.nii.gz")), what="label")
    assert dseg.same_grid(enhanced.volume)
    named = {int(row["index"]): row for row in rows}
    for number in (1, 40, 79):
        mean = enhanced.volume.data[np.rint(dseg.data) == number].mean()
        assert float(named[number]["mean"]) == pytest.approx(float(mean), rel=1e-4)
        assert named[number]["name"] == atlas.regions()[number]
    about = json.loads(next(tmp_path.glob("*_regions.json")).read_text())
    assert about["SuvrReference"] == "cerebellar-grey"
    assert about["AlzheimerMetaRegionSuvr"] > 0
    assert {size for size in ("8", "12", "16") if list(tmp_path.glob(f"*_desc-limit{size}mm_pet.nii.gz"))} == {
        "8",
        "12",
        "16",
    }


def test_the_reference_region_has_a_ratio_of_one(enhanced):
    rows = {row.name: row for row in enhanced.trust.table.rows}
    left, right = (rows[f"cerebellar_cortex_{side}"] for side in ("left", "right"))
    both = (left.suvr * left.volume_ml + right.suvr * right.volume_ml) / (left.volume_ml + right.volume_ml)
    assert both == pytest.approx(1.0)


def test_weights_without_a_calibration_write_no_uncertainty(enhanced, tmp_path):
    assert enhanced.trust.uncertainty is None
    assert "not written" in enhanced.settings["trust"]["uncertainty"]
    assert all(np.isnan(row.half) for row in enhanced.trust.table.rows)
    enhanced.save(tmp_path)
    assert not list(tmp_path.glob("*uncertainty*"))


def test_own_labels_win(person, tmp_path):
    pet, t1 = person
    own = np.zeros(pet.shape, dtype=np.float32)
    own[40:60, 50:70, 40:50], own[62:80, 50:70, 40:50] = 7, 9
    labels = Volume(own, pet.affine)
    found = enhance(pet, t1, weights="gaussian", align=False, labels=labels, region_names={7: "mine"})
    assert [row.name for row in found.trust.table.rows] == ["mine", "region 9"]
    found.save(tmp_path)
    assert not list(tmp_path.glob("*_dseg*"))


def test_the_balance_can_be_left_out_and_moves_regions_to_the_scan(person, enhanced):
    """A guided filter blurs small nuclei; balanced, their means come nearer to the input's."""
    pet, t1 = person
    plain = enhance(pet, t1, weights="mr-guided", drf=20, align=False, balance=False)
    assert plain.trust.deviation == {} != enhanced.trust.deviation
    gaps = [
        [abs(row.mean / row.input_mean - 1) for row in found.trust.table.rows if row.volume_ml > 1]
        for found in (plain, enhanced)
    ]
    assert np.sqrt(np.mean(np.square(gaps[1]))) < 0.6 * np.sqrt(np.mean(np.square(gaps[0])))


def test_without_an_mri_the_template_is_said_to_be_coarse(person):
    pet, _ = person
    found = enhance(pet, weights="gaussian", drf=20)
    assert found.trust.source == "template"
    assert any("template's" in warning for warning in found.warnings)
    assert len(found.trust.table.rows) >= 50


def test_an_unknown_reference_is_refused_before_the_work(person):
    with pytest.raises(BadInput, match="cerebellar-grey, whole-cerebellum, pons"):
        enhance(person[0], weights="gaussian", suvr_reference="thalamus")


def test_one_sentence_says_what_could_hide(enhanced):
    sentence = enhanced.trust.hiding
    assert sentence.count(" %") >= 3
    assert all(f"{size} mm" in sentence for size in (8, 12, 16))


def test_a_calibration_belongs_to_its_weights_and_is_shown_when_it_holds(person, monkeypatch):
    pet, t1 = person
    shipped = cards.load_weights("m2diff-base")
    known = intervals.calibration(shipped.sha256, mri=True)
    assert known is not None and not known.written
    assert intervals.calibration(None, mri=True) is intervals.calibration("another's", mri=True) is None
    assert intervals.calibration(shipped.sha256, mri=False) is None

    held = enhance(pet, t1, weights=shipped, drf=20, align=False).trust
    assert held.uncertainty is None and all(np.isnan(row.half) for row in held.table.rows)
    monkeypatch.setattr(intervals, "calibration", lambda *_, **__: replace(known, written=True))
    told = enhance(pet, t1, weights=shipped, drf=20, align=False).trust
    assert told.uncertainty.same_grid(pet) and told.uncertainty.data.max() > 0
    assert all(0 < row.half < 0.5 * row.mean for row in told.table.rows)
