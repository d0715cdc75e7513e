"""What calibration and its check need of each scan: errors beside what predicts them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from m2diff.trust import intervals
from m2diff.trust.check import Checked, check, deviations
from scans import Scan

VOXELS = 4000  # drawn from the brain of each scan


@dataclass(frozen=True, eq=False)
class Rows:
    """One scan: sampled voxels (features, errors, kinds) and regions (terms, errors, kinds).

    Errors are balanced answer minus noise-free scan, of the brain's mean.
    """

    person: str
    drf: float
    noise: float
    features: np.ndarray
    errors: np.ndarray
    kinds: np.ndarray
    terms: np.ndarray
    region_errors: np.ndarray
    region_kinds: np.ndarray
    region_numbers: np.ndarray
    alarm: float
    """The largest |z| away from lesions over the threshold of pure noise."""


def rows_of(scan: Scan, checked: Checked | None = None) -> Rows:
    """The rows of one scan."""
    done = checked or check(scan.low, scan.answer, scan.head, scan.affine, scan.fine, None)
    rng = np.random.default_rng(0)
    places = np.flatnonzero(done.brain)
    chosen = rng.choice(places, min(VOXELS, len(places)), replace=False)
    assert done.balance is not None
    deviation = deviations(done.kinds, done.balance)
    features = intervals.features(scan.low, done.answer, done.noise, scan.head, deviation)
    features = features[np.searchsorted(np.flatnonzero(scan.head), chosen)]
    errors = (done.answer - scan.noise_free).ravel()[chosen]
    terms = intervals.regional_terms(scan.regions, scan.low - done.answer, done.answer, scan.head, done.balance)
    wrong = terms.levels - ndimage.mean(scan.noise_free, scan.regions, terms.numbers)
    kinds = np.array([intervals.KINDS.index(done.kind_of(scan.regions == n)) for n in terms.numbers])
    free = done.brain & ~ndimage.binary_dilation(scan.lesions > 0, iterations=5)
    alarm = max(float(np.abs(z[free]).max()) for z in done.hidden.z.values()) / done.hidden.threshold
    return Rows(
        scan.person, scan.drf, done.noise_level, features, errors, done.kinds.ravel()[chosen] - 1,
        terms.terms, wrong, kinds, np.array(terms.numbers), alarm,
    )  # fmt: skip
