"""The table of trust: every bar of docs/trust.md on one simulated cohort.

    python reproduce/trust/table.py COHORT WEIGHTS WORK OUT.md [--pet]

COHORT: people whom neither the weights nor the calibration saw. WORK as in ``calibrate.py``.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Any

import numpy as np
from scipy import ndimage

from m2diff.enhancement import cards
from m2diff.parcellation import atlas, segment
from m2diff.preparation import grid
from m2diff.trust import hidden, intervals
from m2diff.trust.check import Checked, check
from scans import Scan, scans
from trust_rows import rows_of

LEVELS = (0.5, 0.6, 0.7, 0.8, 0.9, 0.95)
SHIFT_MM = 5.0
NEUROMORPHOMETRICS = 100  # labels from here on are that atlas's, and the balance can be tried with them
PLACES = 24  # lesions that are put into each answer, one at a time, by size
SHARES = (0.7, 0.85, 1.0, 1.15, 1.3)  # of the limit
Found = dict[tuple[float, str], list[Any]]


def main(cohort: Path, weights: str, work: Path, out: Path, *, mri: bool) -> None:
    """Measure and write the table."""
    told = intervals.calibration(cards.load_weights(weights).sha256, mri=mri)
    found: Found = defaultdict(list)
    for scan in scans(cohort, weights, work, mri=mri):
        checked = check(scan.low, scan.answer, scan.head, scan.affine, scan.fine, told)
        regional(scan, checked, found)
        if told is not None:
            covered(scan, checked, told, found)
        flagged(scan, checked, found)
        inserted(scan, checked, found)
        print(scan.person, scan.drf, flush=True)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(text(found, f"{weights}, {'with MRI' if mri else 'PET alone'}, {cohort.name}"))


def regional(scan: Scan, checked: Checked, found: Found) -> None:
    """Regional errors (percent of the standard scan's means, the simulator's labels) and PSNR of each image."""
    step = round(SHIFT_MM / grid.WORKING_MM)
    moved = np.roll(scan.fine, step, axis=1)
    off = check(scan.low, scan.answer, scan.head, scan.affine, moved, None).answer
    truth = ndimage.mean(scan.standard, scan.labels, scan.tissue)
    images = {"input": scan.low, "network": scan.answer, "balanced": checked.answer, "5 mm off": off}
    if scan.labels.max() >= NEUROMORPHOMETRICS:
        classes, sides = atlas.from_neuromorphometrics(scan.labels)
        exact = segment.fine_number(classes, sides)
        images["true regions"] = check(scan.low, scan.answer, scan.head, scan.affine, exact, None).answer
    for name, image in images.items():
        errors = 100 * (ndimage.mean(image, scan.labels, scan.tissue) / truth - 1)
        found[scan.drf, f"regions {name}"].append(dict(zip(scan.tissue.tolist(), errors, strict=True)))
        wrong = np.mean((image - scan.standard)[scan.brain] ** 2)
        found[scan.drf, f"psnr {name}"].append(10 * np.log10(scan.standard[scan.brain].max() ** 2 / wrong))


def covered(scan: Scan, checked: Checked, told: intervals.Calibration, found: Found) -> None:
    """Whether intervals hold the noise-free scan, by kind of tissue."""
    assert checked.sd is not None
    ratio = np.abs(checked.answer - scan.noise_free) / np.maximum(checked.sd, 1e-9)
    for number, kind in enumerate(intervals.KINDS, start=1):
        inside = checked.brain & (checked.kinds == number)
        for level in LEVELS:
            limit = NormalDist().inv_cdf(0.5 + level / 2)
            found[scan.drf, f"voxel {kind} {level}"].append(float((ratio[inside] <= limit).mean()))
    rows = rows_of(scan, checked)
    worst = 0.0
    for number, kind in enumerate(intervals.KINDS[:-1]):
        chosen = rows.region_kinds == number
        sd = np.sqrt((rows.terms[chosen] * told.terms[kind]).sum(1))
        half = sd * told.factor("region", kind, checked.noise_level)
        held = np.abs(rows.region_errors[chosen]) / half
        found[scan.drf, f"region {kind}"].append(float((held <= 1).mean()))
        found[scan.drf, "half"].append(float(np.mean(100 * half / np.sqrt(rows.terms[chosen, 2]))))
        worst = max(worst, float(held.max()))
    found[scan.drf, "joint"].append(float(worst <= told.joint[0]))
    sample = checked.brain & (checked.kinds < len(intervals.KINDS))
    error = np.abs(checked.answer - scan.noise_free)[sample]
    found[scan.drf, "follows"].append(float(np.corrcoef(checked.sd[sample], error)[0, 1]))


def flagged(scan: Scan, checked: Checked, found: Found) -> None:
    """Alarms in a brain without a lesion, and away from lesions in others; the median limits."""
    near = ndimage.binary_dilation(scan.lesions > 0, iterations=5)
    index = np.linalg.inv(scan.affine)
    places = [tuple(np.rint(index @ [*one.world, 1.0])[:3].astype(int)) for one in checked.hidden.clusters]
    found[scan.drf, "alarm"].append(float(any(not near[place] for place in places)))
    for size, limit in checked.hidden.limit.items():
        found[scan.drf, f"limit {size:g}"].append(100 * float(np.nanmedian(limit)))


def inserted(scan: Scan, checked: Checked, found: Found) -> None:
    """Lesions put in or erased, of shares of the limit: the largest |z| there, with them and without."""
    rng = np.random.default_rng(0)
    core = np.argwhere(ndimage.binary_erosion(checked.brain & (scan.lesions == 0), iterations=3))
    shown = {size: hidden.lesion(size) for size in hidden.SIZES_MM}
    seen = checked.hidden
    for size in hidden.SIZES_MM:
        for turn in range(PLACES):
            place = tuple(core[rng.integers(len(core))])
            share, sign = SHARES[turn % len(SHARES)], 1 if turn % 2 else -1
            amount = sign * share * float(seen.limit[size][place]) * level(checked.answer, shown[size], place)
            without, there = [], []
            for other, kernel in shown.items():
                response = float((kernel**2).sum()) * level(checked.answer, kernel, place)
                sd = float(seen.limit[other][place]) / (seen.threshold + hidden.POWER) * response
                without.append(abs(float(seen.z[other][place])))
                there.append(abs(float(seen.z[other][place]) + amount * overlap(shown[size], kernel) / sd))
            found[scan.drf, f"power {share}"].append(float(max(there) > seen.threshold))
            if share > 1:
                found[scan.drf, "z"].append((max(without), max(there)))


def level(image: np.ndarray, kernel: np.ndarray, place: tuple[int, ...]) -> float:
    """The mean of ``image`` around ``place``, weighted by a kernel."""
    reach = kernel.shape[0] // 2
    part = image[tuple(slice(p - reach, p + reach + 1) for p in place)]
    return float((part * kernel).sum() / kernel.sum()) if part.shape == kernel.shape else float(image[place])


def overlap(one: np.ndarray, other: np.ndarray) -> float:
    """The sum of products of two centred kernels."""
    small, large = sorted((one, other), key=lambda kernel: kernel.size)
    cut = (large.shape[0] - small.shape[0]) // 2
    inner = slice(cut, large.shape[0] - cut)
    return float((small * large[inner, inner, inner]).sum())


def text(found: Found, title: str) -> str:
    """The table in Markdown."""
    doses = sorted({drf for drf, _ in found})
    lines = [f"# {title}", "", f"Simulated; {len(found[doses[0], 'alarm'])} scans a dose. A row is a DRF.", ""]
    images = [
        name
        for name in ("input", "network", "balanced", "5 mm off", "true regions")
        if (doses[0], f"psnr {name}") in found
    ]
    errors = {name: lambda drf, n=name: f"{rms(found[drf, f'regions {n}']):.2f}" for name in images}
    errors["balanced / input"] = lambda drf: (
        f"{rms(found[drf, 'regions balanced']) / rms(found[drf, 'regions input']):.2f}"
    )
    lines += rows(
        "Regional error: root mean square over regions and scans, per cent of the standard scan", doses, errors
    )
    biases = {name: lambda drf, n=name: f"{worst_bias(found[drf, f'regions {n}']):.1f}" for name in images[:3]}
    lines += rows("Largest mean bias of a region over the scans, per cent", doses, biases)
    lines += rows("PSNR to the standard scan, dB", doses, {n: mean(found, f"psnr {n}", 2) for n in images[:3]})
    if (doses[0], "joint") in found:
        kinds = {kind: mean(found, f"voxel {kind} 0.9", 3) for kind in intervals.KINDS}
        kinds["calibration error"] = lambda drf: f"{calibration_error(found, drf):.3f}"
        kinds["correlation of sd with |error|"] = mean(found, "follows", 2)
        lines += rows("Voxels that a 90 % interval holds", doses, kinds)
        regions = {kind: mean(found, f"region {kind}", 3) for kind in intervals.KINDS[:-1]}
        regions |= {"all regions at once": mean(found, "joint", 2), "half width, % of the mean": mean(found, "half", 2)}
        lines += rows("Regions that a 90 % interval holds", doses, regions)
    power = {f"{share:g} of the limit": mean(found, f"power {share}", 2) for share in SHARES}
    power |= {"AUC above the limit": lambda drf: f"{auc(found[drf, 'z']):.3f}"}
    power |= {"scans with a false alarm": mean(found, "alarm", 2)}
    lines += rows("Lesions put in or erased that are flagged", doses, power)
    limits = {f"{size:g} mm": mean(found, f"limit {size:g}", 0) for size in hidden.SIZES_MM}
    return "\n".join([*lines, *rows("Limit of detection, median over the brain, per cent of contrast", doses, limits)])


def mean(found: Found, name: str, digits: int) -> Callable[[float], str]:
    """A column: the mean of a measure at each dose."""
    return lambda drf: f"{np.nanmean(found[drf, name]):.{digits}f}"


def worst_bias(errors: Sequence[Mapping[int, float]]) -> float:
    """The largest |mean over scans| of a region's error."""
    numbers = set.intersection(*(set(each) for each in errors))
    return max((float(np.mean([each[n] for each in errors])) for n in numbers), key=abs)


def calibration_error(found: Found, drf: float) -> float:
    """Mean |held - said| over levels and kinds, weighted alike."""
    return float(np.mean([abs(np.mean(found[drf, f"voxel {k} {v}"]) - v) for k in intervals.KINDS for v in LEVELS]))


def auc(pairs: Sequence[tuple[float, float]]) -> float:
    """How often a place with a lesion has the larger |z| than one without."""
    without, there = np.array(pairs).T
    return float((there[:, None] > without[None]).mean())


def rows(title: str, doses: Iterable[float], columns: Mapping[str, Callable[[float], str]]) -> list[str]:
    """One table: a row a dose."""
    head = ["DRF", *columns]
    out = [f"## {title}", "", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    out += ["| " + " | ".join([f"{drf:g}", *(cell(drf) for cell in columns.values())]) + " |" for drf in doses]
    return [*out, ""]


def rms(scans_: Iterable[Mapping[int, float]]) -> float:
    """Over all regions of all scans."""
    values = np.concatenate([list(each.values()) for each in scans_])
    return float(np.sqrt(np.mean(values**2)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    for name in ("cohort", "weights", "work", "out"):
        parser.add_argument(name, type=str if name == "weights" else Path)
    parser.add_argument("--pet", action="store_true")
    given = parser.parse_args()
    main(given.cohort, given.weights, given.work, given.out, mri=not given.pet)
