"""The levels of an 18F amyloid tracer of the florbetapir kind, in SUVR (cerebellar grey matter 1).

Healthy is amyloid-negative here, ``ad`` amyloid-positive at a severity between ``MILDEST`` and 1:

    negative    white matter stands out without any amyloid, and cortex is pale: 0.96 (0.04) on average over the whole
                cerebellum in young controls (Clark et al. 2011)
    positive    cortex rises to white matter or above: 1.5 over the whole cerebellum in the typical patient (100
                Centiloids; Navitsky et al. 2018)
    threshold   1.11 over the whole cerebellum (Landau et al. 2012)

These are ratios in images. The levels here are the tissue's own, set by hand so that blurred images (6.7 and 7.5 mm)
have such ratios: negatives 0.9 and positives 1.3 on two real anatomies, 1.0 and 1.6 on the template with its thick
cortex, a dozen persons a group all on their side of the threshold. Sensorimotor, occipital and medial temporal cortex
fill late and less (Clark et al. 2011).

Note: single regions, the deep nuclei and the brainstem have no table of persons behind them, as FDG's have; and the
atlas holds the precentral with the dorsolateral frontal cortex, so the motor cortex fills like it.
"""

from __future__ import annotations

import numpy as np

from m2diff.simulation import regions

MILDEST = 0.5
"""The least severity of a positive person."""

NEGATIVE_CORTEX = 1.0
NEGATIVE = {
    "thalamus": 1.30,
    "caudate": 1.05,
    "putamen": 1.25,
    "globus_pallidus": 1.45,
    "hippocampus": 1.15,
    "ventral_diencephalon": 1.40,
    "brainstem_wo_pons": 1.50,
    "pons": 1.70,
}
"""SUVR without amyloid; other regions have ``NEGATIVE_CORTEX``."""

_GAIN = {
    "precuneus": 1.45,
    "posterior_cingulate_cortex": 1.40,
    "anterior_cingulate_cortex": 1.40,
    "orbitofrontal_cortex": 1.40,
    "superior_frontal_gyrus": 1.25,
    "dorsolateral_frontal_cortex": 1.25,
    "isthmus_cingulate_cortex": 1.20,
    "dorsolateral_parietal_cortex": 1.20,
    "lateral_temporal_cortex": 1.20,
    "insula": 0.80,
    "putamen": 0.65,
    "lateral_occipital_cortex": 0.65,
    "cuneus": 0.55,
    "caudate": 0.50,
    "mesial_temporal_cortex": 0.45,
    "paracentral_lobule": 0.45,
    "postcentral_gyrus": 0.40,
    "lingual_gyrus": 0.40,
    "pericalcarine_cortex": 0.35,
    "amygdala": 0.25,
    "hippocampus": 0.10,
    "thalamus": 0.10,
}
"""SUVR that amyloid adds at severity 1."""


def grey_levels(rng: np.random.Generator, severity: float) -> dict[int, float]:
    """One person's SUVR by code of the table's 52 regions; ``severity`` 0 is amyloid-negative.

    Persons differ by 4 %, regions by 4 % and their sides by 1.5 % (standard deviations, cut at two, so that nobody
    changes group by chance); amyloid itself by 8 % a region, and leans up to a tenth to one side.
    """
    person, lean = _about_one(rng, 0.04), float(rng.uniform(-0.1, 0.1))
    of_region = {stem: _about_one(rng, 0.04) for stem in dict.fromkeys(map(_stem, range(1, 53)))}
    levels = {}
    for code in range(1, 53):
        stem, side = _stem(code), _about_one(rng, 0.015)
        amyloid = severity * _GAIN.get(stem, 0.0) * _about_one(rng, 0.08)
        amyloid *= 1 + (lean if regions.REGIONS[code].endswith("_left") else -lean)
        spread = 1.0 if code in regions.CEREBELLAR_CORTEX else person * of_region[stem]  # the cerebellum is the unit
        levels[code] = NEGATIVE.get(stem, NEGATIVE_CORTEX) * spread * side + amyloid
    return levels


def _stem(code: int) -> str:
    """A region's name without its side."""
    return regions.REGIONS[code].removesuffix("_left").removesuffix("_right")


def _about_one(rng: np.random.Generator, deviation: float) -> float:
    """1, give or take; never further than two standard deviations."""
    return 1 + deviation * float(np.clip(rng.standard_normal(), -2, 2))
