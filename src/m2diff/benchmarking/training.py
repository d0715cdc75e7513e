"""Train every preset of a comparison alike: same persons, budget and overrides; resumable.

    OUT/runs/NAME/             what ``m2diff train`` leaves
    OUT/runs/NAME/equal.json   the run's terms, the seconds spent, whether it is finished

For all presets: no validation on the way, training on everybody who is not scored, and, under a time budget, a constant
learning rate (its number of steps is unknown). A run begun under other terms is refused. A time budget is spent in
stretches: a killed run loses the count of one at most.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from m2diff.benchmarking.people import Sides
from m2diff.data.cohort import is_cache, prepare_cohort
from m2diff.errors import BadInput
from m2diff.families import stored
from m2diff.io.bids import write_json
from m2diff.training.config import UNBOUNDED, Preset, defaults, load_preset
from m2diff.training.scans import CACHE

_MINUTES = {"min": 1.0, "m": 1.0, "h": 60.0, "s": 1 / 60, "d": 1440.0}
_STRETCH_MINUTES = 10.0
_EQUAL = ("train.validate_scans=0", "data.held_out_fraction=0")
_PEOPLE = ("data.held_out", "data.held_out_fraction")
_SPLIT = (*_PEOPLE, "train.seed")
_FREE = {"threads", "workers", "resident", "checkpoint_every", "log_every", "validate_every", "validate_steps"}
"""Settings of a run that do not change its weights."""


@dataclass(frozen=True)
class Budget:
    """Steps or minutes; None of both means each preset's own steps, which must then be equal."""

    steps: int | None = None
    minutes: float | None = None

    @classmethod
    def parse(cls, text: str | None) -> Budget:
        """From ``1500steps`` or ``20min`` (also h, s, d); BadInput for anything else."""
        if text is None:
            return cls()
        match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(steps?|min|m|h|s|d)?\s*", text)
        amount = float(match[1]) if match else 0.0
        unit = (match[2] or "") if match else ""
        if unit in _MINUTES and amount > 0:
            return cls(minutes=amount * _MINUTES[unit])
        if unit.startswith("step") and amount >= 1 and amount == int(amount):
            return cls(steps=int(amount))
        raise BadInput(f"A budget looks like 1500steps or 20min, got {text!r}; correct it.")

    @property
    def words(self) -> str:
        """The budget in words."""
        if self.minutes is not None:
            return f"{self.minutes:g} min of training each"
        return "the presets' own steps" if self.steps is None else f"{self.steps} steps each"

    def overrides(self) -> list[str]:
        """The settings that it makes in every preset, before the user's own."""
        if self.minutes is not None:
            return [*_EQUAL, f"train.steps={UNBOUNDED}", "train.schedule=constant", "train.cooldown=0"]
        return [*_EQUAL] if self.steps is None else [*_EQUAL, f"train.steps={self.steps}"]


def refuse_unread_settings(overrides: Sequence[str], *, presets: bool, test: bool) -> None:
    """Refuse ``--set`` of settings that nothing reads: held-out persons beside ``test``, others without a preset."""
    for text in overrides:
        key = _key(text)
        if key in ("data", "train"):
            raise BadInput(f"--set takes one value, as train.lr=0.001, got the whole section {text!r}; set its keys.")
        if test and key in _PEOPLE:
            raise BadInput(
                f"With --test everybody in --data is trained on, but {key} is set; leave it out, or make --data "
                "without these people (m2diff simulate --without)."
            )
        if not presets and (test or key not in _SPLIT):
            raise BadInput(f"No preset is trained, so that nothing reads --set {text}; leave it out, or ask for one.")


def hold_out_settings(overrides: Sequence[str]) -> Preset:
    """Who of one cohort is held out, by overrides: ``data.held_out``, ``data.held_out_fraction``, ``train.seed``."""
    return defaults([text for text in overrides if _key(text) in _SPLIT], "--set")


def _key(override: str) -> str:
    return override.partition("=")[0].strip()


@dataclass(frozen=True)
class Terms:
    """What is equal for all: data, held-out persons, budget, overrides, and how to run."""

    data: Path
    sides: Sides
    budget: Budget
    overrides: tuple[str, ...] = ()
    device: str = "auto"
    jobs: int = 1
    progress: bool = True

    def preset(self, name: str) -> Preset:
        """The preset as trained here; the user's overrides win, except over who is held out."""
        kept_out = f"data.held_out={json.dumps(list(self.sides.held_out))}"
        return load_preset(name, [*self.budget.overrides(), *self.overrides, kept_out])


@dataclass(frozen=True)
class TrainedRun:
    """A finished run: weights, steps, and seconds of training."""

    weights: Path
    steps: int
    seconds: float
    preset: Preset


def refuse_unequal_budgets(names: Sequence[str], terms: Terms) -> None:
    """Refuse unknown presets and unequal budgets, before training."""
    steps = {name: terms.preset(name).train.steps for name in names}
    if len(set(steps.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in steps.items())
        raise BadInput(f"The presets have budgets of their own ({told}); give one for all, as in --budget 1500steps.")


def preset_differences(presets: Mapping[str, Preset]) -> dict[str, dict[str, Any]]:
    """The data and training settings in which presets differ, with each preset's value."""
    told = {name: dict(_settings(preset)) for name, preset in presets.items()}
    keys = dict.fromkeys(key for each in told.values() for key in each)
    values = {key: {name: each.get(key) for name, each in told.items()} for key in keys}
    return {key: each for key, each in values.items() if len({json.dumps(value) for value in each.values()}) > 1}


def _settings(preset: Preset) -> Iterator[tuple[str, Any]]:
    """All settings that may change the weights, by the keys of ``--set``."""
    tree = preset.model_dump(mode="json", include={"data", "train"})
    for section, settings in tree.items():
        yield from ((f"{section}.{key}", value) for key, value in settings.items() if key not in _FREE)


def trained_runs(names: Sequence[str], out: Path, terms: Terms) -> dict[str, TrainedRun]:
    """Train every run, by name. One failure does not stop the others; it is raised at the end."""
    found, failed = {}, []
    for name in names:
        try:
            found[Path(name).stem] = trained_run(name, out, terms)
        except BadInput as refusal:
            failed.append(f"{Path(name).stem}: {refusal}")
    if failed:
        raise BadInput(
            f"{len(failed)} of {len(names)} presets could not be trained (the others are): {' '.join(failed)} Mend "
            "them, or leave them out."
        )
    return found


def trained_run(name: str, out: Path, terms: Terms) -> TrainedRun:
    """The run of preset ``name`` under ``out``: returned if finished, otherwise resumed or begun."""
    preset = terms.preset(name)
    folder = out / "runs" / Path(name).stem
    record = _opened(folder, _asked(preset, terms))
    if not record["finished"] and not is_cache(terms.data):  # not counted as training time
        prepare_cohort(terms.data, terms.data / CACHE, jobs=terms.jobs, progress=terms.progress)
    while not record["finished"]:
        _stretch(preset, folder, terms, record)
        write_json(folder / "equal.json", record)
    weights = folder / "weights.safetensors"
    return TrainedRun(weights, stored.steps_of(stored.read_card(weights)), record["seconds"], preset)


def _asked(preset: Preset, terms: Terms) -> dict[str, Any]:
    """The terms of a run as plain values."""
    settings = preset.model_dump(mode="json")
    settings["train"] = {key: value for key, value in settings["train"].items() if key not in _FREE}
    train = sorted([learner.label, learner.person, learner.record] for learner in terms.sides.train)
    doses = list(terms.sides.train_doses)
    return {"budget": asdict(terms.budget), "scans": train, "doses": doses, "preset": settings}


def _opened(folder: Path, asked: dict[str, Any]) -> dict[str, Any]:
    """The run's record; BadInput where its folder holds a run with other terms."""
    path = folder / "equal.json"
    if not path.is_file():
        record = {"asked": asked, "seconds": 0.0, "finished": False}
        write_json(path, record)
        return record
    record = json.loads(path.read_text())
    if record["asked"] != asked:
        other = ", ".join(key for key in asked if asked[key] != record["asked"].get(key))
        raise BadInput(f"{folder} was trained under other terms ({other}); choose another --out, or the same terms.")
    return record


def _stretch(preset: Preset, folder: Path, terms: Terms, record: dict[str, Any]) -> None:
    """Train to the last step, or for a stretch of the time left; updates ``record``."""
    from m2diff.training.loop import train

    minutes = terms.budget.minutes
    left = None if minutes is None else minutes - record["seconds"] / 60
    limit = None if left is None else min(left, _STRETCH_MINUTES)
    begun = time.monotonic()

    def spent() -> float:
        return min(time.monotonic() - begun, float("inf") if limit is None else 60 * limit)

    try:
        train(
            preset, terms.data, folder, limit_minutes=limit, device=terms.device, jobs=terms.jobs,
            progress=terms.progress,
        )  # fmt: skip
    except SystemExit:  # a signal: the checkpoint stays, the time counts
        record["seconds"] += spent()
        write_json(folder / "equal.json", record)
        raise
    record["seconds"] += spent()
    record["finished"] = left is None or record["seconds"] >= 60 * float(minutes or 0) - 1
