"""The methods compared: name -> function(PET, MRI, dose reduction factor) -> image. A new one is a new row."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache, lru_cache
from itertools import product
from pathlib import Path

from m2diff.enhancement import cards
from m2diff.enhancement.volume import run_volume
from m2diff.families.filters import FILTERS
from m2diff.parcellation import segment
from m2diff.preparation.pair import prepare
from m2diff.trust.balance import balance
from m2diff.trust.check import partition
from m2diff.volume import Volume

Method = Callable[[Volume, Volume, float], Volume]
INPUT, OURS = "low-dose input", "m2diff"
GRIDS = {
    "gaussian": [{"fwhm_mm": width} for width in (2.0, 3.0, 4.0, 5.0, 6.0, 8.0)],
    "mr-guided": [{"radius": r, "eps": e} for r, e in product((1, 2), (0.05, 0.2, 0.8, 3.2))],
}
"""What the filters are tuned over."""


def plain(pet: Volume, mri: Volume, drf: float) -> Volume:
    """The scan itself."""
    return pet


def network(weights: str, *, alone: bool = False, balanced: bool = False) -> Method:
    """Weights by name or path; ``alone``: without the MRI; ``balanced``: by region, as `m2diff enhance` does."""
    loaded = cache(cards.load_weights)

    def answer(pet: Volume, mri: Volume, drf: float) -> Volume:
        prepared = prepare(pet, None if alone else mri, drf=drf, align=False)
        image = run_volume(loaded(weights).model, prepared, seed=0)
        if balanced:
            fine = regions_of(mri).fine_on(prepared.affine, prepared.low.shape)
            image = image + balance(prepared.low, image, partition(fine), prepared.support).correction
        return prepared.restore(image)

    return answer


@lru_cache(maxsize=1)
def regions_of(mri: Volume) -> segment.Parcels:
    """The regions of a person's MRI, found once."""
    return segment.find(mri)


def filtered(name: str, parameters: dict[float, dict[str, float]]) -> Method:
    """A filter by its parameters at each dose."""

    def answer(pet: Volume, mri: Volume, drf: float) -> Volume:
        prepared = prepare(pet, mri, drf=drf, align=False)
        return prepared.restore(run_volume(FILTERS[name](**parameters[drf]), prepared, seed=0))

    return answer


def compared(filters: Path) -> dict[str, Method]:
    """The methods of the study; ``filters``: what ``study.py tune`` wrote."""
    found = json.loads(filters.read_text())
    best = {name: {float(drf): each for drf, each in by_drf.items()} for name, by_drf in found.items()}
    return {
        INPUT: plain,
        **{f"{name} filter": filtered(name, by_drf) for name, by_drf in best.items()},
        "regress": network("regress-base"),
        OURS: network("m2diff-base", balanced=True),
        f"{OURS}, not balanced": network("m2diff-base"),
        f"{OURS}, PET alone": network("m2diff-base", alone=True),
    }


def grid(doses: list[float]) -> dict[str, tuple[str, dict[str, float], Method]]:
    """Every setting of the filters: label -> (filter, parameters, method)."""
    return {
        label(name, each): (name, each, filtered(name, dict.fromkeys(doses, each)))
        for name, settings in GRIDS.items()
        for each in settings
    }


def label(name: str, parameters: dict[str, float]) -> str:
    """A filter and its setting in words."""
    return f"{name} " + " ".join(f"{key}={value:g}" for key, value in parameters.items())
