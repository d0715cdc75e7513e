"""How far registration can be trusted: its error, the bad fits it lets pass and the good ones it refuses.

    python reproduce/registration/bench.py TEST_COHORT OUT [SHARD/SHARDS]

Good pairs: a person's own MRI, turned by up to 30 degrees about any axis and moved by up to 40 mm any way, with its
head or with the brain alone, on the person's PET at DRF 20 or 100. Bad pairs: another person's MRI so placed, and the
person's own with one of its axes flipped. Each is tried once and kept in OUT/results.jsonl, so that the same command
goes on where an earlier one stopped; OUT/table.md is made from it. Seconds are of one CPU core.
"""

from __future__ import annotations

import json
import sys
import time
import zlib
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from m2diff.errors import BadInput
from m2diff.io import bids, nifti
from m2diff.preparation import grid, register
from m2diff.volume import Volume

DEGREES, MM = 30.0, 40.0
GOOD_EACH, BAD_EACH = 10, {"swapped": 4, "flipped x": 2, "flipped y": 2, "flipped z": 2}
"""Pairs of each scan of the cohort."""


def cases(root: Path) -> list[tuple[str, bids.Subject, bids.Subject, int]]:
    """(kind, whose PET, whose MRI, number) of every pair, every scan and kind in turn: a stop leaves a fair share."""
    subjects = bids.find_subjects(root)
    found = []
    for at, subject in enumerate(subjects):
        others = [other for other in subjects if other.person != subject.person]
        for kind, count in {"good": GOOD_EACH, **BAD_EACH}.items():
            for number in range(count):
                whose = others[(at + number) % len(others)] if kind == "swapped" else subject
                found.append((number / count, (kind, subject, whose, number)))
    return [case for _, case in sorted(found, key=lambda one: one[0])]


def placed(kind: str, whose: bids.Subject, number: int, seed: int) -> tuple[Volume, np.ndarray, dict]:
    """The MRI as it is given to the registration, the way back to its PET, and how it was made."""
    rng = np.random.default_rng(seed)
    degrees, mm = rng.uniform(0, DEGREES), rng.uniform(0, MM)
    axis, way = (v / np.linalg.norm(v) for v in rng.normal(size=(2, 3)))
    matrix = np.eye(4)
    matrix[:3, :3] = Rotation.from_rotvec(np.deg2rad(degrees) * axis).as_matrix()
    matrix[:3, 3] = mm * way
    mri = nifti.load(whose.t1, what="MRI")
    skull = number % 2 == 0
    data = mri.data
    if not skull:
        brain = nifti.load(whose.mask, what="mask")
        data = data * (grid.onto(brain, mri.affine, mri.shape) > 0.5)
    if kind.startswith("flipped"):
        data = np.flip(data, "xyz".index(kind[-1])).copy()
    about = {"degrees": round(degrees, 1), "mm": round(mm, 1), "skull": skull}
    return Volume(data, matrix @ mri.affine), matrix, about


def run(root: Path, out: Path, shard: int, shards: int) -> None:
    """Try what is missing."""
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "results.jsonl"
    done = {tuple(json.loads(line)["key"]) for line in kept.read_text().splitlines()} if kept.exists() else set()
    for place, (kind, subject, whose, number) in enumerate(cases(root)):
        key = (kind, subject.label, whose.label, number)
        if place % shards != shard or key in done:
            continue
        drf = (20.0, 100.0)[(number // 2) % 2]
        mri, matrix, about = placed(kind, whose, number, zlib.crc32(repr(key).encode()))
        pet = nifti.load(subject.low[drf])
        begun = time.process_time()
        try:
            found = register.align(mri, pet)
            outcome = {"accepted": True, "error_mm": miss(found.matrix @ matrix, subject), **found.to_json()}
        except BadInput as refusal:
            outcome = {"accepted": False, "why": str(refusal)[:160]}
        row = {"key": key, "drf": drf, **about, **outcome, "seconds": round(time.process_time() - begun, 1)}
        with kept.open("a") as lines:
            lines.write(json.dumps(row) + "\n")
        sys.stderr.write(json.dumps(row) + "\n")


def miss(matrix: np.ndarray, subject: bids.Subject) -> float:
    """Mean distance (mm) by which ``matrix`` misplaces the voxels of the brain."""
    brain = nifti.load(subject.mask, what="mask")
    points = np.c_[np.argwhere(brain.data > 0.5)[::50] @ brain.affine[:3, :3].T + brain.affine[:3, 3]]
    return round(float(np.linalg.norm(points @ matrix[:3, :3].T + matrix[:3, 3] - points, axis=1).mean()), 3)


def summarise(out: Path) -> str:
    """The rates and the errors, as a table."""
    rows = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    lines = ["| pairs | tried | accepted | refused |", "|---|---|---|---|"]
    for kind in ("good", *BAD_EACH):
        mine = [row for row in rows if row["key"][0] == kind]
        taken = sum(row["accepted"] for row in mine)
        lines.append(f"| {kind} | {len(mine)} | {taken} | {len(mine) - taken} |")
    lines += ["", "| good and accepted | pairs | median error mm | worst mm | refused |", "|---|---|---|---|---|"]
    good = [row for row in rows if row["key"][0] == "good"]
    for name, chosen in (
        ("all", good),
        *((f"DRF {drf:g}", [r for r in good if r["drf"] == drf]) for drf in (20.0, 100.0)),
        *((name, [r for r in good if r["skull"] is value]) for name, value in (("head", True), ("brain alone", False))),
        ("over 20 degrees and 25 mm", [r for r in good if r["degrees"] > 20 and r["mm"] > 25]),
    ):
        errors = [row["error_mm"] for row in chosen if row["accepted"]]
        if errors:
            text = f"{np.median(errors):.2f} | {max(errors):.2f}"
            lines.append(f"| {name} | {len(chosen)} | {text} | {len(chosen) - len(errors)} |")
    taken, left = [r for r in rows if r["accepted"]], [r for r in rows if not r["accepted"]]
    warned = [r["key"][0] == "good" for r in taken if r["handed"] < register.HANDED]
    counted = f"{sum(warned)} good, {len(warned) - sum(warned)} bad"
    lines += ["", f"Accepted, but left and right could not be told apart: {counted}."]
    for name, chosen in (("accepted", taken), ("refused", left)):
        seconds = [row["seconds"] for row in chosen] or [0.0]
        lines.append(f"CPU seconds of a pair {name}: median {np.median(seconds):.1f}, longest {max(seconds):.1f}.")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    cohort, target = Path(sys.argv[1]), Path(sys.argv[2])
    run(cohort, target, *(map(int, sys.argv[3].split("/")) if len(sys.argv) > 3 else (0, 1)))
    (target / "table.md").write_text(summarise(target))
    sys.stdout.write(summarise(target))
