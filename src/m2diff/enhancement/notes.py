"""What a user is told of a result before trusting it."""

from __future__ import annotations

import math
import re

from m2diff.enhancement import cards
from m2diff.errors import BadInput
from m2diff.families import DiffusionFamily
from m2diff.io.sidecar import tracer_in
from m2diff.preparation.pair import Prepared
from m2diff.volume import Volume

LOW_DRF = 50.0  # from here on the report opens with what is lost
_LOST = (
    "small lesions that the MRI does not show are lost (of their contrast at DRF 100, 0.30 was left where they are "
    "hot and nothing where they are cold), and regional means were wrong by 4.1 % rms (m2diff-base, simulated scans)"
)
_SAME_TRACER = {"fluorodeoxyglucose": "fdg", "fludeoxyglucose": "fdg", "florbetapir": "av45", "flortaucipir": "av1451"}


def lost(loaded: cards.Weights, drf: float) -> str:
    """What is lost at DRF ``LOW_DRF`` and more, or may be where the dose is not known (NaN); empty otherwise."""
    if math.isnan(drf) and loaded.model.needs.dose:
        return (
            "The dose of this scan is not known, and neither is what is lost: state it with --drf (20 for a "
            f"twentieth of the counts). From DRF {LOW_DRF:g} on {_LOST}."
        )
    return f"At DRF {drf:g} {_LOST}." if drf >= LOW_DRF else ""


def draws(loaded: cards.Weights) -> bool:
    """Whether these weights sample by steps; the control and the filters answer at once."""
    return isinstance(loaded.model, DiffusionFamily)


def warnings(
    loaded: cards.Weights, pet: Volume, prepared: Prepared, *, samples: int, steps: int | None
) -> tuple[str, ...]:
    """What the user should know before trusting the result; ``lost`` first, where there is something."""
    found = [*filter(None, [lost(loaded, prepared.drf)]), *prepared.remarks]
    needs = loaded.model.needs
    if prepared.mri is None and needs.mri:
        found.append("No MRI was given: the scan was enhanced from the PET alone.")
    if prepared.mri is not None and not needs.mri:
        found.append(f"{loaded.name} reads no MRI: the one given was not used.")
    if samples > 1 and not draws(loaded):
        found.append(f"{loaded.name} draws nothing: it answered once, and there is no spread.")
    if steps not in (None, 1) and not draws(loaded):
        found.append(f"{loaded.name} answers in one step: the {steps} that were asked for were not taken.")
    if prepared.alignment is not None and prepared.alignment.ambiguous:
        found.append("Left and right of the MRI could not be told apart by the PET: check its orientation.")
    if prepared.alignment is not None and prepared.alignment.doubtful:
        found.append(
            "The MRI fits the PET less well than one person's usually does: check that both are of one person."
        )
    named, known = _tracer_named(pet), _known_tracers(loaded)
    if named and known and not any(_tracer_key(name) in _tracer_key(named) for name in known):
        found.append(
            f"The sidecar names the tracer {named!r}, and {loaded.name} was trained on {', '.join(known)}: "
            "look at the result with care."
        )
    return tuple(found)


def _known_tracers(loaded: cards.Weights) -> list[str]:
    """Tracers that the weights were trained on, as far as the card tells."""
    names = loaded.card.get("tracers") or []
    if not isinstance(names, list):
        raise BadInput(f"The card of {loaded.name} must give tracers as a list of names, got {names!r}; correct it.")
    return [str(name) for name in names]


def _tracer_named(pet: Volume) -> str | None:
    """The tracer that the scan's sidecar names."""
    return tracer_in(pet.source.sidecar) if pet.source else None


def _tracer_key(name: str) -> str:
    """A tracer's name for comparison: lower case, letters and digits only, one name a substance."""
    key = re.sub(r"[^a-z0-9]", "", name.lower())
    for long, short in _SAME_TRACER.items():
        key = key.replace(long, short)
    return key
