"""The main job: a low-dose scan (and its MRI) in, the standard-dose scan out, with a record of what was done."""

from __future__ import annotations

import math
import platform
from collections.abc import Mapping
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from m2diff.enhancement import cards, notes, trusted
from m2diff.enhancement.enhanced import Enhanced
from m2diff.enhancement.volume import Options, repeat, run_volume
from m2diff.errors import BadInput
from m2diff.families import DiffusionFamily, Enhancer
from m2diff.io import nifti
from m2diff.io.labels import as_labels
from m2diff.io.load import Image, as_volume
from m2diff.io.sidecar import drf_in
from m2diff.nn.precision import Precision, best_device, best_precision
from m2diff.preparation import scope
from m2diff.preparation.pair import Prepared, prepare
from m2diff.shapes import VolumeArray
from m2diff.volume import Volume

DEFAULT, FIRST = "m2diff-base", "regress-base"
"""The default weights, and those that make the first estimate for chains that start from one."""
MOST_STEPS = 1000
SPREAD_STEPS = 5
"""Steps of each of several draws where the weights' own number is one, since one step draws nothing."""


def enhance(
    pet: Image,
    mri: Image | None = None,
    *,
    weights: str | Path | cards.Weights = DEFAULT,
    steps: int | None = None,
    samples: int = 1,
    drf: float | None = None,
    seed: int = 0,
    align: bool = True,
    device: str = "auto",
    precision: Precision = "auto",
    batch: int = 8,
    first_estimate: str | Path | cards.Weights | None = None,
    labels: Image | None = None,
    region_names: Mapping[int, str] | None = None,
    suvr_reference: str = "cerebellar-grey",
    balance: bool = True,
    checks: bool = True,
    progress: bool = False,
) -> Enhanced:
    """Turn a low-dose PET scan into its standard-dose estimate.

    ``mri``: the same person's T1, if any. ``weights``: a name, a path (see ``cards``) or loaded weights. ``steps``:
    network calls a draw (None: the weights' own, but ``SPREAD_STEPS`` for several draws where that is one).
    ``samples``: draws that are averaged. ``drf``: dose reduction factor (20: one twentieth of the standard scan's
    counts; None: ``DoseReductionFactor`` of the sidecar, else unknown). ``first_estimate``: weights whose answer a
    chain starts from, where it does (None: the card's, or ``FIRST``). ``seed`` changes the result, ``batch`` does not.
    ``labels``, ``region_names``: regions of your own on the PET's grid, for the table. ``suvr_reference``: what SUVR is
    relative to (``parcellation.atlas.REFERENCES``). ``balance``: correct regional means by the scan
    (``trust.balance``). ``checks``: False leaves all of ``trust`` out, balance too, for comparisons of bare methods.
    BadInput where the PET shows no person's head or the MRI is no T1; of a longer body the head alone is enhanced.
    """
    _check(steps, samples, seed, batch)
    pet, mri = as_volume(pet), None if mri is None else as_volume(mri, what="MRI")
    _check_two(pet, mri)
    own = _labels(labels, region_names, pet)
    trusted.check_reference(suvr_reference)
    scope.check(pet, mri)
    drf = _drf(pet) if drf is None else drf
    loaded = weights if isinstance(weights, cards.Weights) else cards.load_weights(weights, drf=drf)
    filled = SPREAD_STEPS if steps is None and samples > 1 and _one_step(loaded.model) else steps
    options = Options(filled, batch, precision, best_device(device), progress)
    prepared = prepare(pet, mri, drf=drf, align=align)
    warnings = notes.warnings(loaded, pet, prepared, samples=samples, steps=steps)
    control = _control(loaded, first_estimate)
    first = None if control is None else _answer(control, prepared, options)
    draws = repeat(loaded.model, prepared, samples=samples, seed=seed, options=options, first=first)
    answer, trust = draws.mean, trusted.UNCHECKED
    if checks:
        answer, trust = trusted.assess(
            prepared, answer, mri, loaded.sha256, labels=own, reference=suvr_reference, balanced=balance
        )
    warnings += trust.notes
    return Enhanced(
        volume=prepared.restore(
            answer, f"enhanced with {loaded.name}" + (", balanced by region" if trust.deviation else "")
        ),
        spread=None if draws.spread is None else trusted.spread(prepared, draws.spread, "spread over the draws"),
        low=pet,
        mri=prepared.mri_on_pet(),
        trust=trust,
        settings=_settings(loaded, pet, mri, prepared, options, samples if notes.draws(loaded) else 1, seed, align)
        | {"first_estimate": None if control is None else {"name": control.name, "sha256": control.sha256}}
        | {"trust": trust.settings(), "warnings": list(warnings)},
        warnings=warnings,
        lost=notes.lost(loaded, prepared.drf),
    )


def _control(loaded: cards.Weights, given: str | Path | cards.Weights | None) -> cards.Weights | None:
    """The weights of the first estimate, where the model's chain starts from one."""
    sampling = getattr(loaded.model, "sampling", None)
    if sampling is None or sampling.start is None:
        return None
    chosen = loaded.card.get("first_estimate", FIRST) if given is None else given
    return chosen if isinstance(chosen, cards.Weights) else cards.load_weights(chosen)


def _one_step(model: Enhancer) -> bool:
    """Whether a chain of this model is one call by default."""
    return isinstance(model, DiffusionFamily) and model.sampling.steps == 1


def _answer(control: cards.Weights, prepared: Prepared, options: Options) -> VolumeArray:
    """The first estimate: the control's own answer."""
    return run_volume(control.model, prepared, seed=0, options=replace(options, steps=None))


def _check(steps: int | None, samples: int, seed: int, batch: int) -> None:
    """Refuse options out of range."""
    if steps is not None and not 1 <= steps <= MOST_STEPS:
        raise BadInput(f"The number of steps lies between 1 and {MOST_STEPS}, got {steps}; choose one in that range.")
    if samples < 1:
        raise BadInput(f"The number of samples is at least 1, got {samples}; choose 1 or more.")
    if seed < 0:
        raise BadInput(f"The seed is a whole number of at least 0, got {seed}; choose another.")
    if batch < 1:
        raise BadInput(f"The batch holds at least 1 slab, got {batch}; choose 1 or more.")


def _check_two(pet: Volume, mri: Volume | None) -> None:
    """Refuse a PET passed as its own MRI: its noise would be taken for anatomy."""
    if mri is not None and pet.source and mri.source and pet.source.sha256 == mri.source.sha256:
        raise BadInput(
            f"The PET {pet.source.path} and the MRI {mri.source.path} are one file; pass the person's MRI, or none."
        )


def _drf(pet: Volume) -> float | None:
    """The dose reduction factor in the scan's sidecar, where it states one."""
    return drf_in(pet.source.sidecar) if pet.source else None


def _labels(
    labels: Image | None, names: Mapping[int, str] | None, pet: Volume
) -> tuple[Volume, Mapping[int, str]] | None:
    """The user's regions and their names; BadInput where they lie on another grid than the PET."""
    from m2diff.io.axes import along

    if labels is None:
        return None
    atlas = along(labels if isinstance(labels, Volume) else nifti.load(labels, what="label"), pet)
    if not atlas.same_grid(pet):
        shapes = f"shape {atlas.shape} beside {pet.shape}" if atlas.shape != pet.shape else "another affine"
        raise BadInput(f"--labels must lie on the PET's grid, got {shapes}; resample them by nearest voxel.")
    return atlas.with_data(as_labels(atlas).astype(np.float32), "whole numbers"), names or {}


def _settings(
    loaded: cards.Weights,
    pet: Volume,
    mri: Volume | None,
    prepared: Prepared,
    options: Options,
    samples: int,
    seed: int,
    align: bool,
) -> dict[str, Any]:
    """Everything that the result depends on, as plain JSON values."""
    sampling = getattr(loaded.model, "sampling", None)
    alignment = prepared.alignment
    precision = best_precision(options.device) if options.precision == "auto" else options.precision
    return {
        "pet": _input(pet),
        "mri": None if mri is None else _input(mri),
        "unit": pet.unit,
        "weights": {"name": loaded.name, "sha256": loaded.sha256, "licence": loaded.card.get("licence")},
        "family": loaded.card.get("model", {}).get("family"),
        "steps": None if sampling is None else options.steps or sampling.steps,
        "samples": samples,
        "seed": seed,
        "dose_reduction_factor": None if math.isnan(prepared.drf) else prepared.drf,
        "scale": prepared.scale,
        "align": align,
        "alignment": None
        if alignment is None
        else {"mri_to_pet_mm": alignment.matrix.round(6).tolist(), **alignment.to_json()},
        "precision": precision,
        "device": options.device,
        "versions": _versions(),
    }


def _input(volume: Volume) -> dict[str, Any]:
    """An input's name and hash, if it came from a file."""
    source = volume.source
    return {"file": source.path.name, "sha256": source.sha256} if source else {"file": "in memory", "sha256": None}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("m2diff", "torch", "numpy", "scipy", "nibabel", "SimpleITK"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
