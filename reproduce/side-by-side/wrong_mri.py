"""What a wrong MRI does: shifted, turned, somebody else's, none; forced in, where registration would refuse it.

    python reproduce/side-by-side/wrong_mri.py TEST_COHORT OUT [METHODS]

PSNR inside the brain against the noise-free image, at DRF 20 and 100, of one scan of each person. A shift is along each
axis in turn by person, a turn is about the body's long axis. OUT/wrong_mri.jsonl is added to: the same command goes on.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from m2diff.enhancement.run import enhance
from m2diff.evaluation.case import Case
from m2diff.evaluation.compare import interval
from m2diff.io import bids
from m2diff.volume import Volume

DOSES = (20.0, 100.0)
METHODS = ("m2diff-base", "regress-base", "mr-guided")


def moved(mri: Volume, *, shift: Sequence[float] = (0, 0, 0), turn: float = 0.0) -> Volume:
    """The MRI with its head elsewhere: turned (degrees, about the image's middle), then shifted (mm, world axes)."""
    middle = mri.affine[:3, :3] @ ((np.array(mri.shape) - 1) / 2) + mri.affine[:3, 3]
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_euler("z", turn, degrees=True).as_matrix()
    motion[:3, 3] = middle - motion[:3, :3] @ middle + np.asarray(shift, dtype=float)
    return Volume(mri.data, motion @ mri.affine, mri.unit, (*mri.history, f"moved by {shift} mm, {turn} degrees"))


def conditions(number: int, mri: Volume, other: Volume) -> dict[str, Callable[[], Volume | None]]:
    """What stands in for the MRI of the ``number``-th scan."""
    axis = np.eye(3)[number % 3]
    return {
        "right": lambda: mri,
        "shifted 2 mm": lambda: moved(mri, shift=2 * axis),
        "shifted 5 mm": lambda: moved(mri, shift=5 * axis),
        "shifted 10 mm": lambda: moved(mri, shift=10 * axis),
        "turned 5 degrees": lambda: moved(mri, turn=5.0),
        "somebody else's": lambda: other,
        "none": lambda: None,
    }


def one_scan_a_person(root: Path) -> list[bids.Subject]:
    """The first scan of every person."""
    first: dict[str, bids.Subject] = {}
    for subject in bids.find_subjects(root):
        first.setdefault(subject.person, subject)
    return list(first.values())


def run(root: Path, out: Path, methods: Sequence[str]) -> None:
    """Score what is missing."""
    out.mkdir(parents=True, exist_ok=True)
    kept = out / "wrong_mri.jsonl"
    done = {tuple(json.loads(line)["key"]) for line in kept.read_text().splitlines()} if kept.exists() else set()
    subjects = one_scan_a_person(root)
    for number, subject in enumerate(subjects):
        case = Case.load(root, subject)
        other = Case.load(root, subjects[(number + 1) % len(subjects)]).t1
        for name, mri in conditions(number, case.t1, other).items():
            for drf in DOSES:
                for method in methods:
                    key = (subject.label, drf, method, name)
                    if key in done:
                        continue
                    image = enhance(case.low[drf], mri(), weights=method, drf=drf, align=False)
                    result = case.judge(image.volume, drf)
                    worst = result.regions_truth.worst
                    row = {
                        "key": key,
                        "person": subject.person,
                        "psnr_truth": result.scores_truth.psnr,
                        "ssim_truth": result.scores_truth.ssim,
                        "worst_bias_percent": worst.bias_percent,
                        "worst_region": worst.name,
                    }
                    with kept.open("a") as lines:
                        lines.write(json.dumps(row) + "\n")
                    sys.stderr.write(f"{key} {row['psnr_truth']:.2f} dB\n")


def table(out: Path) -> str:
    """The results in Markdown."""
    rows = [json.loads(line) for line in (out / "wrong_mri.jsonl").read_text().splitlines()]
    groups = defaultdict(list)
    for row in rows:
        _, drf, method, name = row["key"]
        groups[method, drf, name].append(row)
    lines = ["| method | DRF | MRI | persons | PSNR, noise-free (95 % interval) | SSIM | mean worst regional bias |"]
    lines.append("|---" * 7 + "|")
    for (method, drf, name), found in sorted(groups.items(), key=lambda item: (item[0][0], item[0][1])):
        psnr = interval([row["psnr_truth"] for row in found], generator=np.random.default_rng(0))
        ssim = np.mean([row["ssim_truth"] for row in found])
        bias = np.mean([abs(row["worst_bias_percent"]) for row in found])
        lines.append(
            f"| {method} | {drf:g} | {name} | {psnr.persons} | {psnr.mean:.2f} ({psnr.low:.2f} to {psnr.high:.2f}) "
            f"| {ssim:.4f} | {bias:.1f} % |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    cohort, target = Path(sys.argv[1]), Path(sys.argv[2])
    run(cohort, target, sys.argv[3].split(",") if len(sys.argv) > 3 else METHODS)
    (target / "wrong_mri.md").write_text(table(target))
    sys.stdout.write(table(target))
