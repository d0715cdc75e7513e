"""The regional table against numbers worked out by hand."""

import numpy as np
import pytest

from m2diff.trust.table import table
from m2diff.volume import Volume

NAMES = {
    1: "angular_gyrus_left", 2: "angular_gyrus_right", 3: "precuneus_left", 4: "middle_temporal_gyrus_right",
    5: "cerebellar_cortex_left", 6: "pons",
}  # fmt: skip
MEANS = {1: 6.0, 2: 4.0, 3: 8.0, 4: 3.0, 5: 2.0, 6: 4.0}


@pytest.fixture
def made():
    labels = np.zeros((8, 4, 4), dtype=np.int32)
    for number in NAMES:
        labels[number] = number
    data = np.zeros(labels.shape, dtype=np.float32)
    for number, mean in MEANS.items():
        data[labels == number] = mean
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    return Volume(data, affine, "Bq/mL"), Volume(data * 2, affine, "Bq/mL"), labels


def test_means_ratios_and_asymmetry(made):
    image, low, labels = made
    found = table(image, low, labels, NAMES, {1: 0.1})
    first, second = found.rows[:2]
    assert (first.mean, first.input_mean, first.suvr) == (6.0, 12.0, 3.0)
    assert first.half == pytest.approx(0.6)
    assert np.isnan(second.half)
    assert first.volume_ml == pytest.approx(16 * 8 / 1000)
    assert first.asymmetry == second.asymmetry == pytest.approx(40.0)
    assert np.isnan(found.rows[2].asymmetry)
    assert found.meta_roi == pytest.approx(np.mean([5, 8, 3]) / 2)


@pytest.mark.parametrize(("reference", "scale"), [("pons", 4.0), ("whole-cerebellum", 2.0)])
def test_the_reference_is_chosen(made, reference, scale):
    image, low, labels = made
    assert table(image, low, labels, NAMES, {}, reference).rows[0].suvr == pytest.approx(6 / scale)


def test_without_the_reference_there_is_no_ratio(made):
    image, low, labels = made
    found = table(image, low, np.where(labels == 5, 0, labels), NAMES, {})
    assert np.isnan(found.rows[0].suvr)
    assert found.to_tsv()[1][-2] == "n/a"
