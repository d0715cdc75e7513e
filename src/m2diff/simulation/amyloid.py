"""SUVR levels (cerebellar grey matter 1) of an 18F amyloid tracer like florbetapir.

Healthy is amyloid-negative, ``ad`` amyloid-positive with a severity from ``MILDEST`` to 1. Published image ratios over
the whole cerebellum:

    negative    cortex 0.96 (0.04) in young controls, paler than white matter (Clark et al. 2011)
    positive    cortex 1.5 in the typical patient (100 Centiloids; Navitsky et al. 2018)
    threshold   1.11 (Landau et al. 2012)

The levels here are the tissue's own, set by hand so that blurred images (6.7 and 7.5 mm) come near: negatives 0.9 and
positives 1.3 on two real anatomies, 1.0 and 1.6 on the template (thicker cortex), a dozen persons a group.
Sensorimotor, occipital and medial temporal cortex fill late and less (Clark et al. 2011). Single regions, deep nuclei
and brainstem rest on no table of persons; the motor cortex fills like the dorsolateral frontal cortex, with which the
atlas joins it.
"""

from __future__ import annotations

import numpy as np

from m2diff.simulation import regions

MILDEST = 0.5  # the least severity of a positive person

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

    Standard deviations, cut at two so that nobody changes group: 4 % by person, 4 % by region, 1.5 % by side; of the
    amyloid 8 % by region, plus a lean of up to 10 % to one side.
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
    """1 plus a normal deviate, cut at two standard deviations."""
    return 1 + deviation * float(np.clip(rng.standard_normal(), -2, 2))
