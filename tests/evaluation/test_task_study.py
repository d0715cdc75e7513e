"""The pieces of reproduce/03-task that its numbers rest on."""

from dataclasses import replace

import numpy as np
import pytest

import people
import rows
import summary
from m2diff.volume import Volume

SITE = people.Site((64, 64, 45), 12.0, True, (66, 64, 45))
OTHER = people.Site((64, 77, 45), 16.0, False, (64, 77, 45))


def person(*sites):
    pet = np.diag([2.0, 2, 2, 1])
    shape = people.PROTOCOL.shape
    fine = Volume(
        np.full((70, 70, 70), 2.0, dtype=np.float32),
        np.array([[1.0, 0, 0, 94], [0, 1, 0, 93.3], [0, 0, 1, 55], [0, 0, 0, 1]]),
    )
    return people.Person(0, "x", fine, fine, np.zeros(shape), pet, np.ones(shape, dtype=bool), sites)


def test_every_site_is_seen_as_often_with_its_lesion_as_without():
    scans = np.array([people.present(3, 1, scan) for scan in range(6)])
    assert (scans.sum(axis=0) == 3).all() and (scans.sum(axis=1) == people.SITES // 2).all()
    assert not np.array_equal(scans[0], scans[2]) and not np.array_equal(scans[0], people.present(3, 2, 0))


def test_a_lesion_adds_its_share_over_its_volume_where_the_site_is():
    someone = person(SITE)
    added = people.with_lesions(someone, [SITE]) / someone.activity.data - 1
    assert added.sum() == pytest.approx(SITE.contrast * np.pi / 6 * SITE.diameter**3, rel=0.01)
    middle = [np.average(np.arange(70), weights=added.sum(axis=axes)) for axes in ((1, 2), (0, 2), (0, 1))]
    assert middle == pytest.approx([128 - 94, 128 - 93.3, 90 - 55], abs=0.02)
    assert (people.with_lesions(someone, []) == someone.activity.data).all()


def test_the_channels_see_the_site_itself_and_no_other_site_in_its_region():
    someone = person(SITE, OTHER)
    image = np.full(people.PROTOCOL.shape, 5.0, dtype=np.float32)
    image[SITE.voxel] += 1
    image[OTHER.voxel] += 1
    seen = rows.seen(Volume(image, someone.affine), someone)
    region, first = seen["region"][0], seen["region"][0, :, 0]
    assert rows.PLACES[np.nanargmax(first)] == pytest.approx(np.subtract(SITE.voxel, SITE.centre))
    assert region[np.nanargmax(first)] == pytest.approx(seen["site"][0], rel=1e-2)
    near = np.linalg.norm((rows.PLACES + np.array(SITE.centre) - OTHER.voxel) * 2.0, axis=1) < 8 + 8
    assert near.any() and np.isnan(first[near]).all() and np.isfinite(first[~near]).all()
    doubled = rows.seen(Volume(3 * image, someone.affine), someone)
    assert doubled["site"] == pytest.approx(seen["site"], abs=1e-4)


def test_the_background_goes_and_both_classes_keep_the_same_noise():
    rng = np.random.default_rng(0)
    there = np.array([[people.present(1, n, scan) for scan in range(6)] for n in range(40)])
    background = 50 * rng.normal(size=(40, 1, people.SITES, 3))
    noise = rng.normal(size=(40, 6, people.SITES, 3))
    values = background + noise + 2 * there[..., None]
    for lesion in (False, True):
        left = summary.without_background(values, there, np.nonzero(there == lesion))
        assert left.mean() == pytest.approx(2 * lesion, abs=0.05)
        assert left.var() == pytest.approx(1.5, rel=0.05)


@pytest.mark.parametrize(("strength", "area"), [(0.0, "chance"), (40.0, 1.0)])
def test_lroc_of_rows_is_chance_for_nothing_and_one_for_the_obvious(strength, area):
    rng = np.random.default_rng(1)
    kind, numbers = (12.0, True), (8, 4, 6)
    offset = np.array([4.0, 2, -4])
    at = int(np.flatnonzero((offset == rows.PLACES * rows.MM).all(axis=1))[0])
    there = np.stack([np.tile([True, False] * 3, (8, 1)), np.tile([False, True] * 3, (8, 1))] * 2, axis=1)
    region = rng.normal(size=(*numbers, len(rows.PLACES), 2)).astype(np.float32)
    region[..., at, 0] += strength * there
    cases = rows.Cases(
        region[..., at, :], region, np.full(numbers, 12.0), np.ones(numbers, dtype=bool), there,
        np.broadcast_to(offset, (*numbers, 3)),
    )  # fmt: skip
    expected = summary.chance(cases, kind) if area == "chance" else area
    assert summary.lroc(cases, kind).area(np.ones((1, 8)))[0] == pytest.approx(expected, abs=0.06)
    flipped = replace(cases, hot=~cases.hot)  # no case of this sign has the lesion
    assert not len(flipped.of(kind, True)[0]) and len(flipped.of(kind, False)[0]) == len(cases.of(kind, False)[0])


def test_the_table_says_who_sees_the_lesions(tmp_path):
    """Rows of four people: M2Diff sees every lesion, the scan none, the filter some."""
    rng = np.random.default_rng(2)
    kinds = [people.KINDS[n % len(people.KINDS)] for n in range(people.SITES)]
    sees = {"low-dose input": 0.0, "gaussian filter": 2.0, "m2diff": 9.0}
    for number, scan in np.ndindex(4, 4):
        there = people.present(5, number, scan)
        about = {
            "diameter": np.array([diameter for diameter, _ in kinds]),
            "hot": np.array([hot for _, hot in kinds]),
            "present": there,
            "offset_mm": np.zeros((people.SITES, 3)),
        }
        for drf, name in ((rows.STANDARD, "low-dose input"), *((20.0, each) for each in sees)):
            region = rng.normal(size=(people.SITES, len(rows.PLACES), 2)).astype(np.float16)
            middle = len(rows.PLACES) // 2
            region[:, middle, 0] += (
                there * (9.0 if drf == rows.STANDARD else sees[name]) * np.where(about["hot"], 1, -1)
            )
            np.savez(rows.path(tmp_path, number, scan, drf, name), site=region[:, middle], region=region, **about)
    text = summary.table(tmp_path, range(4), 4, [20.0], list(sees))
    assert "4 people of 4 anatomies, 160 lesions" in text
    assert "ROC at DRF 20 in 8 of 8 sizes and signs; LROC at DRF 20 in 8 of 8" in text
    assert sum(line.endswith(") gaussian filter | yes |") for line in text.splitlines()) >= 16  # the best other, of 22
    cells = [
        [cell.split(" ")[0] for cell in line.strip("| ").split(" | ")] for line in text.splitlines() if "|" in line
    ]
    (_, chance, standard, scan, _, ours, *_), (_, guess, _, blind, *_) = (row for row in cells if row[0] == "**all**")
    assert (
        float(chance) == 0.5
        and float(standard) > 0.97
        and float(ours) > 0.97
        and float(scan) == pytest.approx(0.5, abs=0.1)
    )
    assert float(guess) < 0.1 and float(blind) == pytest.approx(float(guess), abs=0.05)
