"""Scores held-out scans during training: PSNR in the brain; peak: the standard scan's 99.9th percentile there.

Scans are enhanced whole, in few network calls, as in ``enhancement.volume``. Finished runs: ``m2diff evaluate``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from m2diff.data.cohort import PreparedSubject
from m2diff.data.dataset import window
from m2diff.data.slabs import Slabs
from m2diff.diffusion import draw_noise
from m2diff.errors import BadInput
from m2diff.families import DiffusionFamily
from m2diff.families.base import run_chain
from m2diff.nn.precision import Precision
from m2diff.shapes import Stack

FEW = 5
"""Network calls of a validation, at most, unless the run's settings say otherwise."""
SLABS_AT_ONCE = 8
_MARGIN = 8
"""Voxels around the brain that the network sees too."""


@dataclass(frozen=True)
class ScanScore:
    """One held-out scan: the network's PSNR and its input's, dB."""

    label: str
    drf: float
    psnr: float
    input_psnr: float


@dataclass(frozen=True)
class Validation:
    """All held-out scans of one validation."""

    scans: tuple[ScanScore, ...]
    calls: int = 1
    """Network calls of each slab."""

    @property
    def gain(self) -> float:
        """Mean PSNR above the input, dB: the score by which the best weights are kept."""
        return float(np.mean([scan.psnr - scan.input_psnr for scan in self.scans]))

    @property
    def psnr(self) -> float:
        """Mean PSNR over all scans, dB."""
        return float(np.mean([scan.psnr for scan in self.scans]))

    @property
    def input_psnr(self) -> float:
        """Mean PSNR of the inputs, dB."""
        return float(np.mean([scan.input_psnr for scan in self.scans]))

    def by_dose(self) -> dict[str, dict[str, float]]:
        """Mean PSNR of network and input for each dose reduction factor."""
        doses = sorted({scan.drf for scan in self.scans})
        groups = {drf: [scan for scan in self.scans if scan.drf == drf] for drf in doses}
        return {
            f"{drf:g}": {
                "psnr": float(np.mean([scan.psnr for scan in scans])),
                "input_psnr": float(np.mean([scan.input_psnr for scan in scans])),
                "scans": len(scans),
            }
            for drf, scans in groups.items()
        }

    def to_card(self) -> dict[str, Any]:
        """The results as a model card and a checkpoint hold them."""
        scans = [asdict(scan) for scan in self.scans]
        return {"calls": self.calls, "gain": self.gain, "by_drf": self.by_dose(), "scans": scans}


def calls_of(model: nn.Module, wanted: int | None) -> int:
    """Calls a slab: ``wanted``, or the family's own up to ``FEW``, 1 without a chain; BadInput beyond the chain."""
    if not isinstance(model, DiffusionFamily):
        return 1
    if wanted is None:
        return min(model.sampling.steps, FEW)
    start = model.sampling.start
    most = len(model.schedule) if start is None else start + 1
    if wanted > most:
        raise BadInput(f"train.validate_steps must not exceed the chain's {most} steps, got {wanted}; lower it.")
    return wanted


@torch.no_grad()
def validate(
    model: nn.Module,
    subjects: Sequence[PreparedSubject],
    *,
    device: torch.device,
    precision: Precision = "auto",
    seed: int = 0,
    calls: int = 1,
) -> Validation:
    """Score every dose of ``subjects`` in ``calls`` network calls a slab; each scan's noise comes from ``seed``."""
    scans = []
    for subject in subjects:
        mri = None if subject.mri is None else _around_brain(subject, subject.mri).to(device)
        target, inside = _around_brain(subject, subject.standard), _around_brain(subject, subject.mask) > 0.5
        for drf in subject.doses:
            low, generator = _around_brain(subject, subject.low(drf)), torch.Generator(device).manual_seed(seed)
            estimate = enhance_stack(model, low.to(device), mri, drf, precision, generator, calls=calls).cpu()
            reference = target[inside] * subject.meta.ratio[drf]
            scores = [psnr(image[inside], reference) for image in (estimate, low)]
            scans.append(ScanScore(subject.label, drf, *scores))
    return Validation(tuple(scans), calls)


def enhance_stack(
    model: nn.Module,
    low: Stack,
    mri: Stack | None,
    drf: float,
    precision: Precision,
    generator: torch.Generator,
    *,
    calls: int = 1,
) -> Stack:
    """A stack (d, h, w) enhanced in ``calls`` network calls a slab; ``low`` serves as a chain's first estimate."""
    network: Any = model
    slabs = Slabs.of(low, mri, network.needs, drf=drf, batch=SLABS_AT_ONCE)
    return run_chain(
        network,
        lambda answer, x_t: slabs.stitched(answer, x_t, device=low.device),
        lambda _: draw_noise(low, generator=generator),
        generator=generator,
        precision=precision,
        first=low,
        steps=calls,
    )


def psnr(image: Tensor, reference: Tensor) -> float:
    """PSNR over the voxels of one brain, dB; peak: the reference's 99.9th percentile."""
    peak = float(np.percentile(reference.numpy(), 99.9))
    error = float((image - reference).double().square().mean())
    return 10.0 * math.log10(peak**2 / error) if error > 0 else math.inf


def _around_brain(subject: PreparedSubject, stack: Any) -> Tensor:
    """The brain's box of a stack and a margin, all that the score needs."""
    box = subject.meta.brain
    corner = [max(at - _MARGIN, 0) for at in box.low]
    high = [min(at + _MARGIN, n) for at, n in zip(box.high, stack.shape, strict=True)]
    return torch.from_numpy(window(stack, corner, [b - a for a, b in zip(corner, high, strict=True)]))
