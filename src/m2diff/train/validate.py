"""Is it learning: whole held-out scans, one network call a slab, against the standard-dose scan.

The score is the PSNR inside the brain, with the 99.9th percentile of the standard scan there as its peak, beside the
low-dose input's own. It steers a run; the honest evaluation of a finished one is ``m2diff evaluate``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from m2diff.batch import Conditions
from m2diff.data.cohort import PreparedSubject
from m2diff.data.dataset import window
from m2diff.data.views import cut, pad_to_multiple, starts, stitch
from m2diff.io.reconstruction import Reconstruction
from m2diff.nn.precision import Precision, autocast
from m2diff.shapes import Slab, Stack

SLABS_AT_ONCE = 8
MARGIN = 8
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

    @property
    def gain(self) -> float:
        """Mean PSNR above the input, dB: the score by which the best weights are kept."""
        return float(np.mean([scan.psnr - scan.input_psnr for scan in self.scans]))

    @property
    def psnr(self) -> float:
        """Mean PSNR over all scans, dB."""
        return float(np.mean([scan.psnr for scan in self.scans]))

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
        return {"gain": self.gain, "by_drf": self.by_dose(), "scans": [asdict(scan) for scan in self.scans]}


@torch.no_grad()
def validate(
    model: nn.Module,
    subjects: Sequence[PreparedSubject],
    *,
    device: torch.device,
    precision: Precision = "auto",
    seed: int = 0,
) -> Validation:
    """Score every dose of ``subjects``; the noise of a diffusion's first step comes from ``seed``."""
    scans = []
    for subject in subjects:
        for drf in subject.doses:
            generator = torch.Generator(device).manual_seed(seed)
            scans.append(_score(model, subject, drf, device, precision, generator))
    return Validation(tuple(scans))


def first_estimate(model: nn.Module, conditions: Conditions, generator: torch.Generator) -> Slab:
    """What one network call answers: a diffusion's estimate at t = T - 1, a regression's only one."""
    schedule = getattr(model, "schedule", None)
    if schedule is None:
        return model.enhance(conditions, generator=generator)  # type: ignore[operator]
    low = conditions.low
    noise = torch.randn(low.shape, generator=generator, device=low.device)
    t = torch.full((low.shape[0],), len(schedule) - 1, device=low.device)
    return model(noise, t, conditions).clean


def enhance_stack(
    model: nn.Module,
    low: Stack,
    mri: Stack | None,
    drf: float,
    precision: Precision,
    generator: torch.Generator,
    *,
    recon: Reconstruction = Reconstruction(),
) -> Stack:
    """The first estimate of a whole stack (d, h, w), slab by slab; neighbouring slabs share half their slices.

    Without an MRI the network is asked for its PET-alone answer.
    """
    needs: Any = model.needs
    begins = starts(low.shape[0], needs.slices, max(needs.slices // 2, 1))
    slabs, _ = pad_to_multiple(cut(low, needs.slices, begins), needs.multiple)
    guides = None if mri is None else pad_to_multiple(cut(mri, needs.slices, begins), needs.multiple)[0]
    answers = []
    for first in range(0, len(begins), SLABS_AT_ONCE):
        part = slice(first, first + SLABS_AT_ONCE)
        inputs = slabs[part].contiguous(memory_format=torch.channels_last)
        guide = None if guides is None else guides[part].contiguous(memory_format=torch.channels_last)
        dose = torch.full((len(inputs),), drf, device=low.device)
        made = torch.tensor([list(recon)] * len(inputs), dtype=torch.float32, device=low.device)
        with autocast(low.device, precision):
            answers.append(first_estimate(model, Conditions(inputs, guide, dose, made), generator).float())
    whole = torch.cat(answers)[..., : low.shape[1], : low.shape[2]]
    return stitch(whole, begins, low.shape[0])


def psnr(image: Tensor, reference: Tensor) -> float:
    """PSNR of the voxels of one brain, dB; peak: the reference's 99.9th percentile."""
    peak = float(np.percentile(reference.numpy(), 99.9))
    error = float((image - reference).double().square().mean())
    return 10.0 * math.log10(peak**2 / error) if error > 0 else math.inf


def _score(
    model: nn.Module,
    subject: PreparedSubject,
    drf: float,
    device: torch.device,
    precision: Precision,
    generator: torch.Generator,
) -> ScanScore:
    low, target, brain = (
        torch.from_numpy(_around_brain(subject, stack)) for stack in (subject.low(drf), subject.standard, subject.mask)
    )
    mri = None if subject.mri is None else torch.from_numpy(_around_brain(subject, subject.mri)).to(device)
    estimate = enhance_stack(model, low.to(device), mri, drf, precision, generator, recon=subject.meta.recon).cpu()
    inside = brain > 0.5
    reference = target[inside] * subject.meta.ratio[drf]
    return ScanScore(subject.label, drf, psnr(estimate[inside], reference), psnr(low[inside], reference))


def _around_brain(subject: PreparedSubject, stack: Any) -> Any:
    """All that the score needs of a stack: the brain's box and a margin."""
    box = subject.meta.brain
    corner = [max(at - MARGIN, 0) for at in box.low]
    high = [min(at + MARGIN, n) for at, n in zip(box.high, stack.shape, strict=True)]
    return window(stack, corner, [b - a for a, b in zip(corner, high, strict=True)])
