"""A whole evaluation: what it says, what it refuses, and that it never scales anything to fit."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest

import m2diff
from m2diff.errors import BadInput
from m2diff.evaluation.study import Evaluation, MethodRow, evaluate
from m2diff.io.labels import load_names
from m2diff.volume import Volume

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
NAMES = {1: "Left cortex", 2: "Right cerebral white matter"}


def volume(data, unit="Bq/mL") -> Volume:
    return Volume(np.asarray(data, dtype=np.float32), AFFINE, unit)


@pytest.fixture(scope="module")
def person():
    """Everything that can be known of a simulated person, as keyword arguments of ``evaluate``."""
    rng = np.random.default_rng(0)
    x = np.stack(np.meshgrid(*(np.arange(24) - 12,) * 3, indexing="ij"))
    inside = (x**2).sum(0) < 100
    labels = np.where(inside, np.where(x[0] < 0, 1, 2), 0)
    lesions = ((x - np.array([-4, 0, 0])[:, None, None, None]) ** 2).sum(0) <= 5
    truth = np.select([labels == 1, labels == 2], [9000.0, 4000.0], 0.0) * np.where(lesions, 1.6, 1.0)

    def scan(drf):
        return volume(truth + rng.normal(0, 200 * np.sqrt(drf), truth.shape))

    return {
        "image": volume(0.98 * truth + rng.normal(0, 300, truth.shape)),
        "reference": scan(1),
        "truth": volume(truth),
        "labels": volume(labels, "label"),
        "region_names": NAMES,
        "lesions": volume(lesions, "label"),
        "lesion_truths": ({"code": 1, "kind": "pet_hot", "factor": 1.6},),
        "ladder": {drf: scan(drf) for drf in (1, 5, 20)},
        "drf": 20,
    }


@pytest.fixture(scope="module")
def found(person) -> Evaluation:
    return evaluate(**person)


def test_everything_that_can_be_known_is_measured(found):
    assert found.scores_truth.psnr > found.scores.psnr  # the reference has noise of its own
    assert found.regions_truth.worst.bias_percent == pytest.approx(-2, abs=0.3)
    assert found.lesions[0].reference_recovery == pytest.approx(1, abs=0.06)
    assert found.dose_equivalence.equivalent_drf == pytest.approx((300**2 + (0.02 * 7000) ** 2) / 200**2, rel=0.1)
    assert found.dose_equivalence.gain > 5


def test_the_verb_of_the_package_is_this_function(person, found):
    assert m2diff.evaluate(**person) == found


def test_a_thousandfold_of_every_image_changes_no_score(person, found):
    def times(image):
        return image.with_data(1000 * image.data, "x 1000")

    big = person | {name: times(person[name]) for name in ("image", "reference", "truth")}
    big["ladder"] = {drf: times(scan) for drf, scan in person["ladder"].items()}
    other = evaluate(**big)
    for name in ("psnr", "ssim", "nrmse", "nmse", "nmae", "bias_percent"):
        assert getattr(other.scores, name) == pytest.approx(getattr(found.scores, name), rel=1e-5)
    assert other.dose_equivalence.gain == pytest.approx(found.dose_equivalence.gain, rel=1e-5)
    ours, theirs = ([(r.bias_percent, r.cov_percent) for r in evaluation.regions.rows] for evaluation in (other, found))
    assert ours == [pytest.approx(pair, rel=1e-4) for pair in theirs]


def test_a_thousandfold_of_the_image_alone_is_an_error_not_forgiven(person):
    image = person["image"].with_data(1.5 * person["image"].data, "x 1.5")
    assert evaluate(image, person["reference"], labels=person["labels"]).scores.bias_percent > 40


def test_what_is_not_given_is_not_made_up(person):
    small = evaluate(person["image"], person["reference"], mask=person["labels"])
    assert (small.scores_truth, small.regions, small.dose_equivalence, small.lesions) == (None, None, None, ())


def test_the_mask_wins_over_the_labels_and_labels_stand_in_for_it(person):
    image, reference, labels = person["image"], person["reference"], person["labels"]
    left = volume(labels.data == 1)
    assert evaluate(image, reference, labels=labels).scores.voxels == (labels.data > 0).sum()
    assert evaluate(image, reference, labels=labels, mask=left).scores.voxels == (labels.data == 1).sum()


def test_json_is_strict_and_tsv_is_a_table(found, person):
    perfect = evaluate(person["reference"], person["reference"], mask=person["labels"])
    assert json.loads(json.dumps(perfect.to_json(), allow_nan=False))["scores"]["psnr"] is None
    tree = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert tree["regions"]["worst"] in NAMES.values()
    rows = found.to_tsv()
    assert {len(row) for row in rows} == {5}
    values = {tuple(row[:4]): float(row[4]) for row in rows[1:]}
    assert values["scores", "reference", "brain", "psnr"] == pytest.approx(found.scores.psnr)
    assert values["region", "truth", "Left cortex", "bias_percent"] == pytest.approx(-2, abs=0.3)
    assert ("lesion", "truth", "pet_hot 1", "recovery") in values
    assert ("dose_equivalence", "truth", "brain", "gain") in values


def test_a_method_row_holds_the_worst_region(found):
    row = MethodRow.of("M2Diff", found, highlight=True)
    assert row.worst_region in NAMES.values()
    assert row.worst_bias_percent == found.regions.worst.bias_percent


def test_another_grid_is_refused_with_both_shapes_and_affines(person):
    image, labels = person["image"], person["labels"]
    cropped = volume(image.data[1:])
    with pytest.raises(BadInput, match=r"\(24, 24, 24\) with affine \[2 0 0 0;.*\(23, 24, 24\).*resample"):
        evaluate(image, cropped, labels=labels)
    moved = replace(person["reference"], affine=AFFINE + np.eye(4, k=3))
    with pytest.raises(BadInput, match=r"one grid.*\[2 0 0 1;"):
        evaluate(image, moved, labels=labels)
    with pytest.raises(BadInput, match="plain scan at DRF 4"):
        evaluate(image, person["reference"], labels=labels, ladder={4: moved})


def test_no_mask_an_empty_mask_another_unit_and_smeared_labels_are_refused(person):
    image, reference, labels = person["image"], person["reference"], person["labels"]
    with pytest.raises(BadInput, match="add --mask or --labels"):
        evaluate(image, reference)
    with pytest.raises(BadInput, match="mask covers no voxel"):
        evaluate(image, reference, mask=volume(0 * labels.data))
    with pytest.raises(BadInput, match="Bq/mL and SUV"):
        evaluate(image, replace(reference, unit="SUV"), labels=labels)
    with pytest.raises(BadInput, match="whole numbers"):
        evaluate(image, reference, labels=volume(labels.data * 0.7))


def test_region_names_are_read_from_json_and_from_tables(tmp_path):
    (tmp_path / "names.json").write_text(json.dumps({str(k): v for k, v in NAMES.items()}))
    with (tmp_path / "names.csv").open("w", newline="") as out:
        csv.writer(out).writerows([["Label", "Region"], *NAMES.items()])
    (tmp_path / "names.tsv").write_text("name\tindex\nLeft cortex\t1\nRight cerebral white matter\t2\n")
    for name in ("names.json", "names.csv", "names.tsv"):
        assert load_names(tmp_path / name) == NAMES
    (tmp_path / "bad.json").write_text("[1, 2]")
    for name in ("bad.json", "absent.tsv"):
        with pytest.raises(BadInput, match="must list region numbers and names"):
            load_names(tmp_path / name)
