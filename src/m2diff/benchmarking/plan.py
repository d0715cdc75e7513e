"""What is to be scored: every method on every scan at every dose, each under the id of all that its row depends on."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

from m2diff.benchmarking.methods import STANDARD, TRUTH, Method
from m2diff.benchmarking.people import Sides, record_hash
from m2diff.benchmarking.rows import row_id
from m2diff.benchmarking.score import MEASURED, Task, loaded
from m2diff.enhancement.run import FIRST
from m2diff.families import stored
from m2diff.families.filters import presets as filter_settings
from m2diff.io import bids

REFERENCES = (Method(STANDARD, "input", STANDARD), Method(TRUTH, "input", TRUTH))


@dataclass(frozen=True)
class Entry:
    """A method with its weights, and the hash of what makes its answer."""

    method: Method
    weights: str | None
    first: str | None
    identity: str
    family: str | None = None
    training: stored.Training = field(default_factory=stored.Training)
    """What the weights' card says of their training."""

    @property
    def terms(self) -> tuple[Any, ...] | None:
        """Steps, slabs a step, scans and persons of the training; None where the card does not tell."""
        known = [self.training.told.get(key) for key in ("steps", "batch", "train_scans")]
        return None if None in (*known, self.training.persons) else (*known, self.training.persons)


def entries(methods: tuple[Method, ...], weights: dict[str, Path]) -> tuple[Entry, ...]:
    """The methods, each with its weights (``weights``: of the trained runs, by name).

    A chain that starts from a first estimate takes it from the regression that was trained as it was (here, or by
    both cards with the same steps on the same people), where there is one.
    """
    made = [_entry(method, weights) for method in methods]
    return tuple(_started(entry, _control(entry, made)) for entry in made)


def tasks(
    entries: tuple[Entry, ...],
    sides: Sides,
    *,
    seed: int,
    device: str,
    shown: tuple[str, tuple[float, ...]],
    images: Path,
) -> list[Task]:
    """All rows, scan by scan so that each is read once; the images of ``shown`` (scan, doses) are kept."""
    elsewhere = {} if device == "cpu" else {"device": device}  # rows of a CPU were measured before ids knew of others
    references = tuple(Entry(method, None, None, method.name) for method in REFERENCES)
    found = []
    for subject in sides.test:
        scan = scan_id(subject)
        doses = [drf for drf in sides.doses if drf in subject.low]
        wanted = [(entry, 1.0) for entry in references] + [(entry, drf) for drf in doses for entry in entries]
        for entry, drf in wanted:
            name = row_id(
                {"measured": MEASURED, "method": entry.method.name, "by": entry.identity, "scan": scan, "drf": drf}
                | {"seed": seed}
                | elsewhere
            )
            kept = subject.label == shown[0] and drf in shown[1] and entry.method.kind != "input"
            image = images / f"{name}.nii.gz" if kept else None
            found.append(Task(name, entry.method, subject.label, drf, entry.weights, entry.first, image, seed))
    return found


def _entry(method: Method, weights: dict[str, Path]) -> Entry:
    if method.kind == "input":
        return Entry(method, None, None, method.name)
    if method.kind == "filter":
        return Entry(method, None, None, _hash(filter_settings().get(method.source, {})), "filter")
    name = str(weights[method.run]) if method.kind == "preset" else method.source
    found = loaded(name)
    model = found.card["model"]
    return Entry(method, name, None, _hash([found.sha256, model]), model.get("family"), stored.training(found.card))


def _control(entry: Entry, among: list[Entry]) -> str | None:
    """The weights of the regression on equal terms with ``entry``."""
    for other in among:
        both_here = entry.method.kind == other.method.kind == "preset"
        if other.family == "regress" and (both_here or (entry.terms is not None and entry.terms == other.terms)):
            return other.weights
    return None


def _started(entry: Entry, own: str | None) -> Entry:
    """``entry`` with the weights of its first estimate, where its chain needs one."""
    if entry.weights is None:
        return entry
    known = loaded(entry.weights)
    sampling = getattr(known.model, "sampling", None)
    if sampling is None or sampling.start is None:
        return entry
    first = own or str(known.card.get("first_estimate", FIRST))
    return replace(entry, first=first, identity=_hash([entry.identity, loaded(first).sha256]))


def scan_id(subject: bids.Subject) -> str:
    """What a scan is known by: the record of its making, and its name."""
    return f"{subject.label} {record_hash(subject)}"


def _hash(content: Any) -> str:
    return sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()
