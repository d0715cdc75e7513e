"""One noise for all slices against each slab by itself: does a sampled volume hold together along z?

    python reproduce/side-by-side/slabs.py TEST_COHORT WEIGHTS FIRST OUT.md [PERSONS]

WEIGHTS (a chain that starts from an estimate, as DDPET-3D) and FIRST (the control that makes it) are names or run
folders. ``together`` is how the tool samples: one noise for the volume, overlapping slabs stitched before each step.
``alone``: slabs side by side, each with a noise and a chain of its own. Flicker and roughness: docs/metrics.md.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

from m2diff.batch import Conditions
from m2diff.data import views
from m2diff.diffusion import Denoised, sample
from m2diff.enhancement import cards
from m2diff.enhancement.volume import FADE, Options, run_volume
from m2diff.evaluation.case import Case
from m2diff.evaluation.consistency import consistency, slice_axis
from m2diff.evaluation.metrics import score
from m2diff.io import bids
from m2diff.preparation import mask, pair
from m2diff.preparation.pair import Prepared
from m2diff.shapes import VolumeArray

DOSES = (20.0, 100.0)


@torch.inference_mode()
def alone(model, prepared: Prepared, first: VolumeArray, seed: int) -> VolumeArray:
    """A draw in which no slab knows of another."""
    generator = torch.Generator().manual_seed(seed)
    box = mask.box(prepared.support, FADE)
    slices = model.needs.slices
    low, mri, estimate = (views.to_stack(image[box]) for image in (prepared.low, prepared.mri, first))
    begins = views.starts(len(low), slices, slices)
    low_slabs, mri_slabs, first_slabs = (
        views.pad_to_multiple(views.cut(stack, slices, begins), model.needs.multiple)[0]
        for stack in (low, mri, estimate)
    )
    drf = torch.tensor([prepared.drf])
    answers = [
        _chain(model, Conditions(low_slab[None], mri_slab[None], drf), first_slab[None], generator)
        for low_slab, mri_slab, first_slab in zip(low_slabs, mri_slabs, first_slabs, strict=True)
    ]
    whole = prepared.low.copy()
    stitched = views.stitch(torch.cat(answers)[..., : low.shape[1], : low.shape[2]], begins, len(low))
    whole[box] = views.from_stack(stitched)
    return whole


def _chain(model, conditions: Conditions, first: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """The chain of one slab."""

    def denoise(x_t: torch.Tensor, t: int) -> Denoised:
        estimate = model(x_t, torch.tensor([t]), conditions)
        return Denoised(estimate.clean, estimate.variance)

    def noise(_: int = 0) -> torch.Tensor:
        return torch.randn(first.shape, generator=generator)

    return sample(
        denoise, model.schedule, noise(), noise_for_step=noise, first=first, watch=None, **model.sampling.model_dump()
    )


def main(root: Path, weights: str, control: str, out: Path, persons: int) -> None:
    """Write the table."""
    model, first_model = cards.load_weights(weights).model, cards.load_weights(control).model
    rows: dict[tuple[float, str], list[tuple[float, ...]]] = {}
    for subject in bids.find_subjects(root)[:persons]:
        case = Case.load(root, subject)
        inside, truth = case.mask.data > 0, case.noise_free.data
        for drf in DOSES:
            prepared = pair.prepare(case.low[drf], case.t1, drf=drf, align=False)
            first = run_volume(first_model, prepared, seed=0)
            images = {
                "low-dose": case.low[drf],
                "together": prepared.restore(
                    run_volume(model, prepared, seed=0, options=Options(), first=first), "together"
                ),
                "alone": prepared.restore(alone(model, prepared, first, seed=0), "alone"),
            }
            for name, image in images.items():
                along = consistency(image.data, truth, inside, axis=slice_axis(image.affine))
                psnr = score(image.data, truth, inside).psnr
                rows.setdefault((drf, name), []).append((psnr, along.flicker, along.roughness))
                sys.stderr.write(f"{subject.label} {drf:g} {name} {psnr:.2f} {along}\n")
    lines = ["| DRF | slabs | scans | PSNR, noise-free | flicker | roughness |", "|---" * 6 + "|"]
    for (drf, name), found in sorted(rows.items()):
        psnr, flicker, roughness = np.mean(found, axis=0)
        lines.append(f"| {drf:g} | {name} | {len(found)} | {psnr:.2f} | {flicker:.2f} | {roughness:.2f} |")
    out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3], Path(sys.argv[4]), int(sys.argv[5]) if len(sys.argv) > 5 else 3)
