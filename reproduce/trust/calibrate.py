"""Calibrate the intervals of one set of weights on a simulated cohort, and write the JSON that ships.

    python reproduce/trust/calibrate.py COHORT WEIGHTS OUT.json WORK [--pet]

COHORT: of ``m2diff simulate`` (people of the training set: their noise and protocols are new, their anatomies are not;
the people of the check, ``coverage.py``, are never among them). ROWS: a folder for one file a scan; run again, it goes
on.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from m2diff.enhancement import cards
from m2diff.trust.intervals import KINDS
from scans import scans
from trust_rows import Rows, rows_of

UNITS = 12
REGIONAL = KINDS[:-1]  # no region is fluid
KNOTS = 4  # levels of noise at which factors are fitted


def main(cohort: Path, weights: str, out: Path, work: Path, *, mri: bool) -> None:
    """Fit ``mri`` or ``pet`` and put it into ``out`` beside the other."""
    rows = [rows_of(scan) for scan in scans(cohort, weights, work, mri=mri)]
    told = {"weights": cards.load_weights(weights).sha256} | (json.loads(out.read_text()) if out.is_file() else {})
    told["mri" if mri else "pet"] = fitted(rows)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(json.dumps(told, indent=1) + "\n")


def fitted(rows: list[Rows]) -> dict[str, Any]:
    """All that ``trust.intervals.Calibration`` holds."""
    model = voxel_model(rows)
    noise = np.log([each.noise for each in rows])
    knots = np.quantile(noise, np.linspace(0.1, 0.9, KNOTS))
    width = float(np.diff(knots).mean())
    terms = {kind: regional_weights(rows, kind).tolist() for kind in REGIONAL}
    near = [[n for n, each in enumerate(noise) if abs(each - knot) <= 0.75 * width] for knot in knots]
    people = [[rows[n].person for n in chosen] for chosen in near]

    def factors(scores: list[np.ndarray]) -> list[float]:
        return [conformal([scores[n] for n in chosen], who) for chosen, who in zip(near, people, strict=True)]

    voxel = {kind: factors([voxel_scores(each, model, kind) for each in rows]) for kind in KINDS}
    region = {kind: factors([regional_scores(each, terms, kind) for each in rows]) for kind in REGIONAL}
    told = {**model, "noise": knots.tolist(), "voxel": voxel, "region": region, "terms": terms}
    told["written"] = False  # until the tables of ``table.py`` say that it holds in both worlds
    told["alarm"] = [one_in_twenty([rows[n] for n in chosen]) for chosen in near]
    told["joint"] = [joint(rows, terms, told, 0.9)]
    return rounded(told)


def voxel_model(rows: list[Rows]) -> dict[str, Any]:
    """A perceptron from features to the log standard deviation, by Gaussian likelihood."""
    torch.manual_seed(0)
    features = torch.tensor(np.concatenate([each.features for each in rows]))
    errors = torch.tensor(np.concatenate([each.errors for each in rows]))
    mean, scale = features.mean(0), features.std(0)
    seen = (features - mean) / scale
    first, last = nn.Linear(seen.shape[1], UNITS), nn.Linear(UNITS, 1)
    nn.init.zeros_(last.weight)
    nn.init.constant_(last.bias, float(errors.std().log()))
    optimiser = torch.optim.Adam([*first.parameters(), *last.parameters()], lr=5e-3)
    for step in range(1500):
        for group in optimiser.param_groups:
            group["lr"] = 5e-3 * (1 - step / 1500)
        part = torch.randint(len(seen), (20000,))
        log_sd = last(torch.tanh(first(seen[part])))[:, 0]
        loss = (log_sd + 0.5 * (errors[part] / log_sd.exp()) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return {
        "mean": mean.tolist(),
        "scale": scale.tolist(),
        "hidden": first.weight.T.tolist(),
        "hidden_bias": first.bias.tolist(),
        "out": last.weight[0].tolist(),
        "out_bias": float(last.bias.detach()),
    }


def log_sd(model: Mapping[str, Any], features: np.ndarray) -> np.ndarray:
    """As ``Calibration.log_sd``."""
    seen = (features - np.array(model["mean"])) / np.array(model["scale"])
    inside = np.tanh(seen @ np.array(model["hidden"]) + np.array(model["hidden_bias"]))
    return np.asarray(inside @ np.array(model["out"]) + model["out_bias"])


def voxel_scores(each: Rows, model: Mapping[str, Any], kind: str) -> np.ndarray:
    """|error| / sd of a scan's sampled voxels of one kind."""
    chosen = each.kinds == KINDS.index(kind)
    return np.abs(each.errors[chosen]) / np.exp(log_sd(model, each.features[chosen]))


def regional_weights(rows: Iterable[Rows], kind: str) -> np.ndarray:
    """The weights (not negative) of the three terms of regional variance, by Gaussian likelihood."""
    chosen = [
        (each.terms[each.region_kinds == KINDS.index(kind)], each.region_errors[each.region_kinds == KINDS.index(kind)])
        for each in rows
    ]
    terms = torch.tensor(np.concatenate([t for t, _ in chosen]))
    errors = torch.tensor(np.concatenate([e for _, e in chosen]))
    scaled = terms / terms[:, 2:]
    relative = errors / terms[:, 2].sqrt()
    logs = torch.tensor([1.0, 0.0, -9.0], dtype=torch.float64, requires_grad=True)
    optimiser = torch.optim.LBFGS([logs], max_iter=100)

    def cost() -> torch.Tensor:
        optimiser.zero_grad()
        variance = (scaled * logs.exp()).sum(1) + 1e-8
        loss = (0.5 * variance.log() + 0.5 * relative**2 / variance).mean() + 1e-3 * (
            logs - torch.tensor([1.0, 0.0, -9.0])
        ).square().mean()
        loss.backward()
        return loss

    optimiser.step(cost)  # type: ignore[arg-type]
    return np.exp(logs.detach().numpy())


def regional_scores(each: Rows, terms: Mapping[str, list[float]], kind: str) -> np.ndarray:
    """|error| / sd of a scan's regions of one kind."""
    chosen = each.region_kinds == KINDS.index(kind)
    sd = np.sqrt((each.terms[chosen] * np.array(terms[kind])).sum(1))
    return np.abs(each.region_errors[chosen]) / sd


def conformal(scores: list[np.ndarray], people: list[str], alpha: float = 0.1) -> float:
    """Conformal risk control by person.

    the smallest factor whose mean miss rate, with a person's worth added, is alpha.
    """
    by_person = [
        np.concatenate([s for s, p in zip(scores, people, strict=True) if p == person])
        for person in sorted(set(people))
    ]
    by_person = [each for each in by_person if each.size]
    count = len(by_person)
    if count < 1 / alpha - 1:
        raise SystemExit(f"{count} people cannot hold {1 - alpha:.0%}: at least {1 / alpha - 1:.0f} are needed")

    def risk(factor: float) -> float:
        missed = float(np.mean([(each > factor).mean() for each in by_person]))
        return count / (count + 1) * missed + alpha / (count + 1)

    low, high = 0.01, 50.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (low, middle) if risk(middle) <= alpha else (middle, high)
    return high


def joint(rows: list[Rows], terms: Mapping[str, list[float]], told: Mapping[str, Any], level: float) -> float:
    """What widens every regional interval so that all hold at once: over the 90 % ones, by person."""
    worst: dict[str, list[float]] = {}
    for each in rows:
        ratio = 0.0
        for kind in REGIONAL:
            factor = float(np.interp(np.log(each.noise), told["noise"], told["region"][kind]))
            scores = regional_scores(each, terms, kind)
            ratio = max(ratio, float(scores.max()) / factor if scores.size else 0.0)
        worst.setdefault(each.person, []).append(ratio)
    scores = np.sort(np.concatenate([np.array(found) for found in worst.values()]))
    return float(scores[min(int(np.ceil((len(scores) + 1) * level)) - 1, len(scores) - 1)])


def one_in_twenty(rows: list[Rows]) -> float:
    """The conformal 95 % quantile of the largest |z| away from lesions, over the threshold of pure noise, by scan."""
    largest = np.sort([each.alarm for each in rows])
    return float(largest[min(int(np.ceil((len(largest) + 1) * 0.95)) - 1, len(largest) - 1)])


def rounded(value: Any) -> Any:
    """Numbers with five figures: what a file needs."""
    if isinstance(value, dict):
        return {key: rounded(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rounded(item) for item in value]
    return float(f"{value:.5g}") if isinstance(value, float) else value


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("cohort", "weights", "out", "work"):
        parser.add_argument(name, type=str if name == "weights" else Path)
    parser.add_argument("--pet", action="store_true")
    given = parser.parse_args()
    main(given.cohort, given.weights, given.out, given.work, mri=not given.pet)
