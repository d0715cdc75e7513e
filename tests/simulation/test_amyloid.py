"""The amyloid tracer: negatives show white matter, positives their cortex, and a scanner's blur keeps them apart."""

import numpy as np
import pytest

from m2diff.simulation import regions, tracer
from m2diff.simulation.anatomy import make_person
from m2diff.simulation.scanner import blur
from m2diff.simulation.sources import mni_source

THRESHOLD = 1.11  # of the cortex that is read, over the whole cerebellum (Landau et al. 2012)
READ = regions.both(
    "superior_frontal_gyrus", "dorsolateral_frontal_cortex", "orbitofrontal_cortex", "anterior_cingulate_cortex",
    "posterior_cingulate_cortex", "isthmus_cingulate_cortex", "precuneus", "dorsolateral_parietal_cortex",
    "lateral_temporal_cortex",
)  # fmt: skip
LATE = regions.both(
    "paracentral_lobule", "postcentral_gyrus", "lateral_occipital_cortex", "pericalcarine_cortex", "lingual_gyrus",
    "mesial_temporal_cortex",
)  # fmt: skip
CORTEX = range(1, regions.CODES["insula_right"] + 1)
CEREBELLUM = (*regions.CEREBELLAR_CORTEX, regions.CEREBELLAR_WHITE_LEFT, regions.CEREBELLAR_WHITE_RIGHT)


def drawn(group: str, persons: int = 60) -> list[tracer.Uptake]:
    return [tracer.draw_uptake(np.random.default_rng(seed), group, "amyloid") for seed in range(persons)]


def mean(uptake: tracer.Uptake, codes) -> float:
    return float(np.mean([uptake.grey[code] for code in codes]))


def test_the_cortex_of_every_negative_lies_below_their_white_matter():
    for uptake in drawn("healthy"):
        assert uptake.severity == 0 and uptake.pattern == "amyloid"
        assert max(uptake.grey[code] for code in CORTEX) < 0.85 * uptake.white


def test_positives_fill_the_cortex_that_is_read_and_the_rest_late():
    negatives = np.mean([[mean(u, READ), mean(u, LATE)] for u in drawn("healthy")], axis=0)
    for uptake in drawn("ad"):
        read, late = np.array([mean(uptake, READ), mean(uptake, LATE)]) - negatives
        assert read > 0.4 and late < 0.6 * read
        assert mean(uptake, regions.CEREBELLAR_CORTEX) == pytest.approx(1, abs=0.04)  # the unit has no amyloid


def test_severity_decides_how_much_and_persons_regions_and_sides_differ():
    people = drawn("ad")
    severity = [uptake.severity for uptake in people]
    assert min(severity) >= 0.5 and max(severity) <= 1
    assert np.corrcoef(severity, [mean(uptake, READ) for uptake in people])[0, 1] > 0.9
    sides = np.array([[mean(u, READ[0::2]), mean(u, READ[1::2])] for u in people])
    lean = sides[:, 0] / sides[:, 1] - 1
    assert 0.01 < lean.std() < 0.1 and abs(lean.mean()) < 0.03
    assert np.std([u.grey[regions.CODES["precuneus_left"]] / mean(u, READ) for u in people]) > 0.02


def test_blurred_scans_lie_on_their_side_of_the_threshold():
    person = make_person(mni_source(), np.random.default_rng(0), head="none", heads=None, resolution_mm=3.0)

    def ratio(uptake: tracer.Uptake) -> float:
        activity = tracer.activity_map(person, uptake, np.random.default_rng(1))
        image = blur(activity, 7.5, (3.0, 3.0, 3.0))
        cortex = np.mean([image[person.labels == code].mean() for code in READ])
        return float(cortex / image[np.isin(person.labels, CEREBELLUM)].mean())

    negatives, positives = ([ratio(uptake) for uptake in drawn(group, 6)] for group in ("healthy", "ad"))
    assert max(negatives) < THRESHOLD < min(positives)
    assert 0.85 < np.mean(negatives) < 1.08 and 1.3 < np.mean(positives) < 1.75


def test_fdg_draws_what_it_drew_before_there_was_another_tracer():
    """Cohorts are functions of their seeds: nothing more may be drawn on the old path, nor in another order."""
    normals = regions.normals()
    for group in ("healthy", "ad"):
        now, before = np.random.default_rng(7), np.random.default_rng(7)
        uptake = tracer.draw_uptake(now, group)
        severity = before.uniform(0.3, 1.0) if group == "ad" else 0.0
        grey = before.multivariate_normal(normals.mean, normals.covariance, method="eigh")
        before.uniform(-0.3, 0.3)
        before.normal(0, 0.1, 52)
        white = before.uniform(0.38, 0.52) * np.mean(grey.clip(0.3, 2.6)[:34])
        before.uniform(size=3)
        reference = np.exp(before.uniform(np.log(8e3), np.log(2.5e4)))
        assert (uptake.severity, uptake.white, uptake.reference_bq_ml) == (severity, white, reference)
        assert now.bit_generator.state == before.bit_generator.state
