"""Every preset of a comparison trained alike: same persons, same budget, same overrides; stopped and resumed at will.

OUT/runs/NAME/             what ``m2diff train`` leaves
OUT/runs/NAME/equal.json   what the run was asked for, the seconds spent, whether it is finished

Settings that would make one preset's training unlike another's are set for all: nobody is validated on the way (a chain
of many steps would spend its time on that), everybody but the scored is trained on, and under a time budget, whose
number of steps nobody knows, the learning rate stays constant. A run that was begun under other terms is refused, not
mixed in. A time budget is spent in stretches, so that a killed run loses count of one at most.
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
    """Steps or minutes; neither is each preset's own number of steps, which must then be one and the same."""

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
        """The budget as the page and the table state it."""
        if self.minutes is not None:
            return f"{self.minutes:g} min of training each"
        return "the presets' own steps" if self.steps is None else f"{self.steps} steps each"

    def overrides(self) -> list[str]:
        """What it sets in every preset, before the user's own settings."""
        if self.minutes is not None:
            return [*_EQUAL, f"train.steps={UNBOUNDED}", "train.schedule=constant", "train.cooldown=0"]
        return [*_EQUAL] if self.steps is None else [*_EQUAL, f"train.steps={self.steps}"]


def refuse_unread_settings(overrides: Sequence[str], *, presets: bool, test: bool) -> None:
    """Refuse ``--set`` where nothing reads it: who is held out beside a ``test`` cohort, settings without a preset."""
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
    """Who of one cohort is held out (``data.held_out``, ``data.held_out_fraction``, ``train.seed``).

    The overrides alone say it, the defaults where they do not: no preset's file decides on whom the others are scored.
    """
    return defaults([text for text in overrides if _key(text) in _SPLIT], "--set")


def _key(override: str) -> str:
    return override.partition("=")[0].strip()


@dataclass(frozen=True)
class Terms:
    """What is equal for all: the data, who of it is left out, the budget, the overrides, where and how it runs."""

    data: Path
    sides: Sides
    budget: Budget
    overrides: tuple[str, ...] = ()
    device: str = "auto"
    jobs: int = 1
    progress: bool = True

    def preset(self, name: str) -> Preset:
        """The preset as it is trained here; the user's overrides have the last word, but for who is held out."""
        kept_out = f"data.held_out={json.dumps(list(self.sides.held_out))}"
        return load_preset(name, [*self.budget.overrides(), *self.overrides, kept_out])


@dataclass(frozen=True)
class TrainedRun:
    """A finished run: its weights, the steps it took, the seconds that they took."""

    weights: Path
    steps: int
    seconds: float
    preset: Preset


def refuse_unequal_budgets(names: Sequence[str], terms: Terms) -> None:
    """Refuse presets that nobody knows, and budgets that are not equal, before anything is trained."""
    steps = {name: terms.preset(name).train.steps for name in names}
    if len(set(steps.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in steps.items())
        raise BadInput(f"The presets have budgets of their own ({told}); give one for all, as in --budget 1500steps.")


def preset_differences(presets: Mapping[str, Preset]) -> dict[str, dict[str, Any]]:
    """The settings of data and training in which presets differ, each with every preset's value."""
    told = {name: dict(_settings(preset)) for name, preset in presets.items()}
    keys = dict.fromkeys(key for each in told.values() for key in each)
    values = {key: {name: each.get(key) for name, each in told.items()} for key in keys}
    return {key: each for key, each in values.items() if len({json.dumps(value) for value in each.values()}) > 1}


def _settings(preset: Preset) -> Iterator[tuple[str, Any]]:
    """All that may change the weights, by the keys that ``--set`` takes."""
    tree = preset.model_dump(mode="json", include={"data", "train"})
    for section, settings in tree.items():
        yield from ((f"{section}.{key}", value) for key, value in settings.items() if key not in _FREE)


def trained_runs(names: Sequence[str], out: Path, terms: Terms) -> dict[str, TrainedRun]:
    """Every run by its name. One that cannot be trained does not keep the others: it is told when they are done."""
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
    """The run of the preset ``name`` under ``out``: taken as it is where finished, resumed or begun otherwise."""
    preset = terms.preset(name)
    folder = out / "runs" / Path(name).stem
    record = _opened(folder, _asked(preset, terms))
    if not record["finished"] and not is_cache(terms.data):  # before the clock starts, which counts training alone
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
    """The run's record; BadInput where its folder holds a run under other terms."""
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
    """Train to the end of the steps, or for a stretch of the time that is left; ``record`` is brought up to date."""
    from m2diff.training.loop import train

    minutes = terms.budget.minutes
    left = None if minutes is None else minutes - record["seconds"] / 60
    limit = None if left is None else min(left, _STRETCH_MINUTES)
    begun = time.monotonic()

    def spent() -> float:
        """Seconds of training; never more than were given."""
        return min(time.monotonic() - begun, float("inf") if limit is None else 60 * limit)

    try:
        train(
            preset, terms.data, folder, limit_minutes=limit, device=terms.device, jobs=terms.jobs,
            progress=terms.progress,
        )  # fmt: skip
    except SystemExit:  # a signal: a checkpoint is left, and what was spent is spent
        record["seconds"] += spent()
        write_json(folder / "equal.json", record)
        raise
    record["seconds"] += spent()
    record["finished"] = left is None or record["seconds"] >= 60 * float(minutes or 0) - 1
