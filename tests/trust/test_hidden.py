"""The residual test: alarms in pure noise, erased and invented lesions, and a limit that is right."""

import numpy as np
import pytest
from fields import SHAPE, brain, noise

from m2diff.trust import hidden
from m2diff.trust.noise import Noise

AFFINE = np.diag([2.0, 2.0, 2.0, 1.0])
LEVEL = 1.0


def looked(low, answer, inside):
    residual = np.where(inside, low - answer, 0).astype(np.float32)
    return hidden.look(low, answer, inside, Noise.of(residual, inside), AFFINE)


def with_lesion(image, place, size, contrast):
    """``image`` with a lesion of this contrast, as the scan shows it."""
    kernel = hidden.lesion(size)
    reach = kernel.shape[0] // 2
    out = image.copy()
    out[tuple(slice(p - reach, p + reach + 1) for p in place)] += LEVEL * contrast * kernel
    return out


@pytest.fixture(scope="module")
def flat():
    return np.full(SHAPE, LEVEL, dtype=np.float32), brain()


def test_noise_alone_is_rarely_flagged(flat):
    """In at most 5 % of brains: of 30, more than 4 has a chance below 2 %."""
    answer, inside = flat
    rng = np.random.default_rng(0)
    alarms = sum(bool(looked(answer + noise(rng, sd=0.3), answer, inside).clusters) for _ in range(30))
    assert alarms <= 4


@pytest.mark.parametrize("size", hidden.SIZES_MM)
def test_the_limit_is_found_in_four_cases_of_five(flat, size, monkeypatch):
    """Lesions of a share of the limit, many in one brain: 15 % below and above it, power leaves 80 % behind."""
    answer, inside = flat
    low = answer + noise(np.random.default_rng(int(size)), sd=0.3)
    first = looked(low, answer, inside)
    monkeypatch.setattr(hidden, "noise_threshold", lambda *_: first.threshold)
    places = [(i, j, 30) for i in (18, 46) for j in (20, 52)] + [(32, 36, 14), (32, 36, 46)]
    found = dict.fromkeys((0.75, 1.0, 1.3), 0)
    for turn in range(9):
        low = answer + noise(np.random.default_rng(100 * turn + int(size)), sd=0.3)
        for share in found:
            holed = low
            for place in places:
                holed = with_lesion(holed, place, size, share * float(first.limit[size][place]))
            seen = looked(holed, answer, inside).clusters
            found[share] += sum(any(np.abs(np.array(c.world) / 2 - place).max() < 6 for c in seen) for place in places)
    rate = {share: count / (9 * len(places)) for share, count in found.items()}
    assert rate[0.75] < 0.7 < rate[1.3]
    assert 0.65 < rate[1.0] < 0.92


def test_an_erased_lesion_is_listed_with_its_place_size_and_sign(flat):
    answer, inside = flat
    low = answer + noise(np.random.default_rng(3), sd=0.1)
    for contrast in (0.9, -0.9):
        (found,) = looked(with_lesion(low, (20, 40, 30), 12.0, contrast), answer, inside).clusters
        assert np.abs(np.array(found.world) - [40, 80, 60]).max() <= 4
        assert found.size_mm in (8.0, 12.0, 16.0)
        assert np.sign(found.contrast) == np.sign(contrast)


def test_an_invented_lesion_is_flagged_as_cold(flat):
    """What the answer has and the scan lacks is negative."""
    answer, inside = flat
    low = answer + noise(np.random.default_rng(4), sd=0.1)
    (found,) = looked(low, with_lesion(answer, (40, 30, 28), 12.0, 0.9), inside).clusters
    assert found.contrast < 0
    assert found.z < -5


def test_more_noise_hides_more(flat):
    answer, inside = flat
    rng = np.random.default_rng(5)
    small, large = (looked(answer + noise(rng, sd=sd), answer, inside) for sd in (0.1, 0.3))
    for size in hidden.SIZES_MM:
        ratio = np.nanmedian(large.limit[size]) / np.nanmedian(small.limit[size])
        assert ratio == pytest.approx(3, rel=0.15)
    limits = [np.nanmedian(small.limit[size]) for size in hidden.SIZES_MM]
    assert limits == sorted(limits, reverse=True)
    assert np.isnan(small.limit[8.0][~inside]).all()
