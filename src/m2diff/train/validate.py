"""Is it learning: whole held-out scans, enhanced by few network calls, against the standard-dose scan.

A family that answers at once is asked once. One with a chain samples by its own options in a few steps, as
``enhance.volume`` does: one noise for the whole stack, the slabs stitched before each step is taken.

The score is the PSNR inside the brain, with the 99.9th percentile of the standard scan there as its peak, beside the
low-dose input's own. It steers a run; the honest evaluation of a finished one is ``m2diff evaluate``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from m2diff.batch import Conditions
from m2diff.data.cohort import PreparedSubject
from m2diff.data.dataset import window
from m2diff.data.views import cut, pad_to_multiple, starts, stitch
from m2diff.diffusion import Denoised, draw_noise, sample
from m2diff.errors import BadInput
from m2diff.families import DiffusionFamily
from m2diff.io.reconstruction import Reconstruction
from m2diff.nn.precision import Precision, autocast
from m2diff.shapes import Slab, Stack

FEW = 5
"""Network calls of a validation, unless the family makes fewer or the run's settings say otherwise."""
SLABS_AT_ONCE = 8
MARGIN = 8
"""Voxels around the brain that the network sees too."""

Answer: TypeAlias = "Callable[[Conditions, Slab | None], tuple[Slab, ...]]"
"""Of some slabs and their share of x_t, where there is one: one or several images of each."""


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
    """Network calls of each slab of a validation: those ``wanted``, or the family's own where these are few.

    1 for a family without a chain. Raises BadInput for more than the chain has steps.
    """
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
    """Score every dose of ``subjects`` by so many ``calls`` (``calls_of``); each scan's noise comes from ``seed``."""
    scans = []
    for subject in subjects:
        for drf in subject.doses:
            generator = torch.Generator(device).manual_seed(seed)
            scans.append(_score(model, subject, drf, device, precision, generator, calls))
    return Validation(tuple(scans), calls)


@dataclass(frozen=True, eq=False)
class _Slabs:
    """A stack as the batches of slabs that a network reads; neighbouring slabs share half their slices."""

    model: Any
    batches: list[Conditions]
    begins: list[int]
    size: tuple[int, ...]
    """Slices, rows and columns of the stack."""
    precision: Precision

    @classmethod
    def of(
        cls, model: nn.Module, low: Stack, mri: Stack | None, drf: float, recon: Reconstruction, precision: Precision
    ) -> _Slabs:
        """Cut a stack (d, h, w), and its MRI where there is one, into slabs that ``model`` can take."""
        needs: Any = model.needs
        begins = starts(low.shape[0], needs.slices, max(needs.slices // 2, 1))
        slabs = _cut(low, needs, begins)
        guides = [None] * len(slabs) if mri is None else _cut(mri, needs, begins)
        batches = []
        for part, guide in zip(slabs, guides, strict=True):
            dose = torch.full((len(part),), drf, device=low.device)
            made = torch.tensor([list(recon)] * len(part), dtype=torch.float32, device=low.device)
            batches.append(Conditions(part, guide, dose, made))
        return cls(model, batches, begins, tuple(low.shape), precision)

    def stitched(self, answer: Answer, x_t: Stack | None = None) -> tuple[Stack, ...]:
        """The answers to all slabs, each kind of them as one stack (d, h, w); ``x_t`` is cut as the scan is."""
        noised = [None] * len(self.batches) if x_t is None else _cut(x_t, self.model.needs, self.begins)
        answers = []
        for conditions, x in zip(self.batches, noised, strict=True):
            with autocast(conditions.low.device, self.precision):
                answers.append([each.float() for each in answer(conditions, x)])
        depth, height, width = self.size
        wholes = (torch.cat(each)[..., :height, :width] for each in zip(*answers, strict=True))
        return tuple(stitch(whole, self.begins, depth) for whole in wholes)


def _cut(stack: Stack, needs: Any, begins: list[int]) -> list[Slab]:
    """The slabs of a stack, padded to the sizes that the network takes, some at once."""
    slabs, _ = pad_to_multiple(cut(stack, needs.slices, begins), needs.multiple)
    return [part.contiguous(memory_format=torch.channels_last) for part in slabs.split(SLABS_AT_ONCE)]


def enhance_stack(
    model: nn.Module,
    low: Stack,
    mri: Stack | None,
    drf: float,
    precision: Precision,
    generator: torch.Generator,
    *,
    recon: Reconstruction = Reconstruction(),
    calls: int = 1,
) -> Stack:
    """What the network makes of a whole stack (d, h, w) in so many ``calls`` of each slab.

    Without an MRI the network is asked for its PET-alone answer.
    """
    slabs = _Slabs.of(model, low, mri, drf, recon, precision)
    if not isinstance(model, DiffusionFamily):
        at_once: Any = model.enhance
        return slabs.stitched(lambda conditions, _: (at_once(conditions, generator=generator),))[0]
    if calls == 1 and model.sampling.start is None:
        return slabs.stitched(lambda conditions, _: (first_estimate(model, conditions, generator),))[0]
    return _sampled(model, slabs, low, generator, calls)


def first_estimate(model: DiffusionFamily, conditions: Conditions, generator: torch.Generator) -> Slab:
    """What a chain of one step answers (b, s, h, w): the estimate at t = T - 1."""
    low, clip = conditions.low, model.sampling.clip
    noise = torch.randn(low.shape, generator=generator, device=low.device)
    t = torch.full((low.shape[0],), len(model.schedule) - 1, device=low.device)
    clean = model(noise, t, conditions).clean
    return clean if clip is None else clean.clamp(-clip, clip)


def _sampled(model: DiffusionFamily, slabs: _Slabs, low: Stack, generator: torch.Generator, calls: int) -> Stack:
    """The end (d, h, w) of the family's own chain in ``calls`` steps.

    A chain that starts from a first estimate has the low-dose scan ``low`` (d, h, w) as such: the control's, which
    ``enhance`` takes, is not of the run.
    """

    def noise(_: int = 0) -> Stack:
        return draw_noise(low, generator=generator)

    def denoise(x_t: Stack, t: int) -> Denoised:
        def answer(conditions: Conditions, x: Slab | None) -> tuple[Slab, ...]:
            assert x is not None
            estimate = model(x, torch.full((len(x),), t, device=x.device), conditions)
            return (estimate.clean,) if estimate.variance is None else (estimate.clean, estimate.variance)

        return Denoised(*slabs.stitched(answer, x_t))

    sampling = model.sampling.model_dump() | {"steps": calls}
    return sample(denoise, model.schedule, noise(), noise_for_step=noise, first=low, **sampling)


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
    calls: int,
) -> ScanScore:
    low, target, brain = (
        torch.from_numpy(_around_brain(subject, stack)) for stack in (subject.low(drf), subject.standard, subject.mask)
    )
    mri = None if subject.mri is None else torch.from_numpy(_around_brain(subject, subject.mri)).to(device)
    recon = subject.meta.recon
    estimate = enhance_stack(model, low.to(device), mri, drf, precision, generator, recon=recon, calls=calls).cpu()
    inside = brain > 0.5
    reference = target[inside] * subject.meta.ratio[drf]
    return ScanScore(subject.label, drf, psnr(estimate[inside], reference), psnr(low[inside], reference))


def _around_brain(subject: PreparedSubject, stack: Any) -> Any:
    """All that the score needs of a stack: the brain's box and a margin."""
    box = subject.meta.brain
    corner = [max(at - MARGIN, 0) for at in box.low]
    high = [min(at + MARGIN, n) for at, n in zip(box.high, stack.shape, strict=True)]
    return window(stack, corner, [b - a for a, b in zip(corner, high, strict=True)])
