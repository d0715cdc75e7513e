"""A model run over a whole volume: the border from networks back to volumes.

The head is cut out as a box, the box as slabs of neighbouring slices, half of each shared with the next; the answers
are stitched into one volume before the sampler takes its step. Noise is drawn once for the whole working grid, so a
seed gives the same image whatever the batch, the box or the order of slices.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from m2diff.batch import Conditions
from m2diff.data import views
from m2diff.diffusion import Denoised, Watch, sample
from m2diff.errors import BadInput
from m2diff.families import DiffusionFamily, Enhancer
from m2diff.nn.precision import Precision, autocast
from m2diff.prepare import mask
from m2diff.prepare.grid import smoothed
from m2diff.prepare.pair import Prepared
from m2diff.shapes import Slab, Stack, VolumeArray

MARGIN = 4
"""Voxels around the head's box that the network sees and that fade into the input."""

ELSEWHERE = (2, 2, 4)
"""Voxels (i, j, k) by which a second look's box begins earlier: half a cell of a fit in plane, half a slab's stride."""

WatchVolume: TypeAlias = Callable[[int, VolumeArray], None]
"""Told the step and the clean estimate there, normalised, on the working grid (i, j, k)."""


@dataclass(frozen=True)
class Options:
    """How a model is run. None takes the family's own number of steps; ``anchor_mm`` 0 leaves the anchor out."""

    steps: int | None = None
    batch: int = 8
    """Slabs at once: memory and speed, not the image."""
    precision: Precision = "auto"
    device: str = "cpu"
    anchor_mm: float = 0.0
    progress: bool = False


def run(
    model: Enhancer,
    prepared: Prepared,
    *,
    seed: int,
    options: Options = Options(),
    first: VolumeArray | None = None,
    watch: WatchVolume | None = None,
) -> VolumeArray:
    """One draw of the clean scan, normalised, on the working grid (i, j, k).

    Outside the head's box (grown by ``MARGIN`` voxels) the low-dose input stays; over the margin one fades into the
    other. ``first``: a normalised estimate for chains that start from one; None is the low-dose scan. ``watch``: told
    the estimates of a chain on the way. Raises BadInput where the model answers no finite number.
    """
    if model.needs.view == "volume":
        estimate = _filtered(model, prepared)
    else:
        box = mask.box(prepared.support, MARGIN)
        seen: Watch | None = None if watch is None else lambda t, clean: watch(t, _whole(clean, prepared, box))
        slabs = _Slabs.of(model, prepared, box, options)
        estimate = _whole(slabs.run(seed, prepared.low if first is None else first, seen), prepared, box)
        if model.needs.looks > 1 and _answers_at_once(model, options):
            estimate += _second_look(model, prepared, seed, options)
            estimate /= 2
    if not np.isfinite(estimate).all():
        raise BadInput("The model answered NaN or infinity; try precision fp32, or other weights.")
    return anchored(estimate, prepared, options.anchor_mm)


def _answers_at_once(model: Enhancer, options: Options) -> bool:
    """Whether one call is the whole of it; a chain would pay for every step twice."""
    return not isinstance(model, DiffusionFamily) or (options.steps or model.sampling.steps) == 1


def _second_look(model: Enhancer, prepared: Prepared, seed: int, options: Options) -> VolumeArray:
    """The answer to the scan left for right and cut ``ELSEWHERE``: what is chance in a cut is another there."""
    other = prepared.mirrored()
    tight = mask.box(other.support, MARGIN)
    i, j, k = (slice(max(s.start - more, 0), s.stop) for s, more in zip(tight, ELSEWHERE, strict=True))
    answer = _Slabs.of(model, other, (i, j, k), options).run(seed, other.low)
    return np.ascontiguousarray(_whole(answer, other, (i, j, k))[::-1])


def anchored(estimate: VolumeArray, prepared: Prepared, fwhm_mm: float) -> VolumeArray:
    """``estimate`` with its coarse structure (a Gaussian of ``fwhm_mm`` inside the head) taken from the input.

    Regional means of a low-dose scan are unbiased, if noisy; a network's need not be. 0 leaves it as it is.
    """
    if fwhm_mm <= 0.0:
        return estimate
    inside = prepared.support.astype(np.float32)
    weight = np.maximum(smoothed(inside, fwhm_mm), 1e-3)
    correction = smoothed(inside * (prepared.low - estimate), fwhm_mm) / weight
    return np.asarray(estimate + inside * correction, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class _Slabs:
    """A box of a volume as the batches of slabs that a network reads."""

    model: Any
    options: Options
    batches: list[Conditions]
    starts: list[int]
    size: tuple[int, int, int]
    """Slices, rows and columns of the box."""
    place: tuple[slice, slice, slice]
    """The box in the whole stack (d, h, w)."""
    whole: tuple[int, int, int]

    @classmethod
    def of(cls, model: Any, prepared: Prepared, box: tuple[slice, slice, slice], options: Options) -> _Slabs:
        """Cut ``box`` (i, j, k) of a pair into batches."""
        low = views.to_stack(prepared.low[box])
        begins = views.starts(low.shape[0], model.needs.slices, max(model.needs.slices // 2, 1))
        mri = None if prepared.mri is None or not model.needs.mri else views.to_stack(prepared.mri[box])
        slabs = _cut(low, model, begins)
        guides = None if mri is None else _cut(mri, model, begins)
        dose = torch.full((len(begins),), prepared.dose)
        recon = torch.tensor([list(prepared.recon)] * len(begins), dtype=torch.float32)
        batches = [
            Conditions(slabs[part], None if guides is None else guides[part], dose[part], recon[part])
            for part in _parts(len(begins), options.batch)
        ]
        d, h, w = low.shape
        k, j, i = prepared.low.shape[::-1]
        return cls(model.to(options.device), options, batches, begins, (d, h, w), (box[2], box[1], box[0]), (k, j, i))

    @torch.inference_mode()
    def run(self, seed: int, first: VolumeArray, watch: Watch | None = None) -> Stack:
        """The clean box (d, h, w); ``first`` (i, j, k) is the whole volume that a chain may start from."""
        generator = torch.Generator().manual_seed(seed)
        if not isinstance(self.model, DiffusionFamily):
            return self._stitched(lambda conditions, _: (self.model.enhance(conditions, generator=generator),), None)[0]

        def noise(_: int = 0) -> Stack:
            return torch.randn(self.whole, generator=generator)[self.place]

        def denoise(x_t: Stack, t: int) -> Denoised:
            def answer(conditions: Conditions, x: Tensor | None) -> tuple[Tensor, ...]:
                steps = torch.full((len(conditions.low),), t, device=conditions.low.device)
                estimate = self.model(x, steps, conditions)
                return (estimate.clean,) if estimate.variance is None else (estimate.clean, estimate.variance)

            return Denoised(*self._stitched(answer, x_t))

        sampling = self.model.sampling.model_dump()
        sampling["steps"] = self.options.steps or sampling["steps"]
        begin = views.to_stack(first)[self.place]
        return sample(denoise, self.model.schedule, noise(), noise_for_step=noise, first=begin, watch=watch, **sampling)

    def _stitched(self, answer: Any, x_t: Stack | None) -> tuple[Stack, ...]:
        """The answers to all slabs, each kind of them as one stack; ``x_t`` is cut as the conditions are."""
        options = self.options
        noised = None if x_t is None else _cut(x_t, self.model, self.starts)
        answers = []
        parts = list(_parts(len(self.starts), options.batch))
        bar = tqdm(zip(parts, self.batches, strict=True), "enhance", len(parts), False, disable=not options.progress)
        for part, conditions in bar:
            there = conditions.to(options.device)
            x = None if noised is None else noised[part].to(options.device)
            with autocast(options.device, options.precision):
                answers.append([each.float().cpu() for each in answer(there, x)])
        _, h, w = self.size
        return tuple(
            views.stitch(torch.cat(each)[..., :h, :w], self.starts, self.size[0]) for each in zip(*answers, strict=True)
        )


def _cut(stack: Stack, model: Any, begins: list[int]) -> Slab:
    """The slabs of a stack, padded to the sizes that the model takes."""
    slabs, _ = views.pad_to_multiple(views.cut(stack, model.needs.slices, begins), model.needs.multiple)
    return slabs.contiguous(memory_format=torch.channels_last)


def _parts(count: int, batch: int) -> Iterator[slice]:
    """Slices of ``batch`` out of ``count``."""
    return (slice(first, min(first + batch, count)) for first in range(0, count, max(batch, 1)))


def _filtered(model: Enhancer, prepared: Prepared) -> VolumeArray:
    """A filter's answer: it reads whole volumes at once."""
    mri = None if prepared.mri is None or not model.needs.mri else views.to_stack(prepared.mri)[None]
    conditions = Conditions(views.to_stack(prepared.low)[None], mri, torch.tensor([prepared.dose]))
    return views.from_stack(model.enhance(conditions, generator=torch.Generator())[0])


def _whole(answer: Stack, prepared: Prepared, box: tuple[slice, slice, slice]) -> VolumeArray:
    """The low-dose volume with the answer (d, h, w) in its box (i, j, k)."""
    volume = prepared.low.copy()
    volume[box] += _fade(box, volume.shape) * (views.from_stack(answer) - prepared.low[box])
    return volume


def _fade(box: tuple[slice, slice, slice], shape: tuple[int, ...]) -> VolumeArray:
    """1 inside the box, falling over ``MARGIN`` voxels towards each face that is not the image's own end."""
    ramps = []
    for span, size in zip(box, shape, strict=True):
        ramp = np.ones(span.stop - span.start, dtype=np.float32)
        rise = (np.arange(MARGIN, dtype=np.float32) + 0.5) / MARGIN
        count = min(MARGIN, len(ramp))
        if span.start > 0:
            ramp[:count] *= rise[:count]
        if span.stop < size:
            ramp[len(ramp) - count :] *= rise[:count][::-1]
        ramps.append(ramp)
    return ramps[0][:, None, None] * ramps[1][None, :, None] * ramps[2][None, None, :]
