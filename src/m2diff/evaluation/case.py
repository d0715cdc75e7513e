"""A simulated person's images for evaluation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2diff.errors import BadInput
from m2diff.evaluation.study import Evaluation, evaluate
from m2diff.io import bids, nifti
from m2diff.volume import Volume


@dataclass(frozen=True, eq=False)
class Case:
    """One simulated person's scans and truths, all on the PET's grid."""

    t1: Volume
    low: dict[float, Volume]
    standard: Volume
    noise_free: Volume
    mask: Volume
    labels: Volume
    lesions: Volume
    record: dict[str, Any]

    @classmethod
    def load(cls, root: Path, subject: bids.Subject) -> Case:
        """Read a simulated person's images and record."""
        needed = (subject.t1, subject.noise_free, subject.mask, subject.labels, subject.lesions)
        there = [nifti.load(path, what="image", allow_blank=True) for path in needed if path is not None]
        if len(there) < len(needed):
            raise BadInput(f"sub-{subject.label} is no finished simulated person; give a cohort of `m2diff simulate`.")
        t1, noise_free, mask, labels, lesions = there
        return cls(
            t1=t1,
            low={drf: nifti.load(path) for drf, path in subject.low.items()},
            standard=nifti.load(subject.standard),
            noise_free=noise_free,
            mask=mask,
            labels=labels,
            lesions=lesions,
            record=json.loads(bids.record_path(root, subject.label).read_text()),
        )

    def judge(self, image: Volume, drf: float) -> Evaluation:
        """Evaluate ``image``, made from the scan at ``drf``, against the standard scan and the noise-free truth."""
        return evaluate(
            image,
            self.standard,
            mask=self.mask,
            truth=self.noise_free,
            labels=self.labels,
            region_names={int(code): name for code, name in self.record["regions"].items()},
            lesions=self.lesions,
            lesion_truths=self.record["lesions"],
            ladder={1.0: self.standard, **self.low},
            drf=drf,
        )
