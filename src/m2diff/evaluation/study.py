"""Evaluate one image by all measures that the given volumes support.

scores, regions                 against the reference (the standard-dose scan, itself noisy)
scores_truth, regions_truth     against the noise-free image, if given
lesions                         against the noise-free image, or else the reference
dose_equivalence                needs the noise-free image, plain reconstructions by dose, and the dose given
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

from m2diff.errors import BadInput
from m2diff.evaluation import lesions as lesion_module
from m2diff.evaluation import regions as region_module
from m2diff.evaluation.compare import DoseEquivalence, dose_equivalence
from m2diff.evaluation.lesions import Lesion, LesionTruth
from m2diff.evaluation.metrics import Scores, score
from m2diff.evaluation.regions import RegionTable
from m2diff.io import nifti
from m2diff.io.labels import as_labels
from m2diff.io.load import Image
from m2diff.shapes import LabelArray, MaskArray
from m2diff.volume import Volume


@dataclass(frozen=True)
class Evaluation:
    """All measures of one image; None (or empty) for what the given volumes do not support."""

    scores: Scores
    scores_truth: Scores | None = None
    regions: RegionTable | None = None
    regions_truth: RegionTable | None = None
    lesions: tuple[Lesion, ...] = ()
    dose_equivalence: DoseEquivalence | None = None
    unit: str = "unknown"

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists and numbers for ``json.dumps``; numbers that are not finite become None."""
        tree = _plain(asdict(self))
        for name, table in (("regions", self.regions), ("regions_truth", self.regions_truth)):
            if table is not None:
                tree[name]["worst"] = table.worst.name if table.worst else None
        return tree

    def to_tsv(self) -> list[list[str]]:
        """Long rows, header first: about (scores, region, lesion ...), against, name, measure, value."""
        rows = [["about", "against", "name", "measure", "value"]]
        for against, scores in (("reference", self.scores), ("truth", self.scores_truth)):
            rows += _rows("scores", against, "brain", scores)
        for against, table in (("reference", self.regions), ("truth", self.regions_truth)):
            for region in table.rows if table else ():
                rows += _rows("region", against, region.name, region)
        best = "reference" if self.scores_truth is None else "truth"
        for lesion in self.lesions:
            rows += _rows("lesion", best, f"{lesion.kind} {lesion.label}", lesion)
        return rows + _rows("dose_equivalence", "truth", "brain", self.dose_equivalence)


@dataclass(frozen=True)
class MethodRow:
    """One row of a comparison of methods: name, scores, worst regional bias, whether it is ours."""

    name: str
    scores: Scores
    worst_bias_percent: float | None = None
    worst_region: str | None = None
    highlight: bool = False

    @classmethod
    def of(cls, name: str, evaluation: Evaluation, *, highlight: bool = False) -> MethodRow:
        """The row of ``evaluation``, against its reference."""
        worst = evaluation.regions.worst if evaluation.regions else None
        bias, region = (worst.bias_percent, worst.name) if worst else (None, None)
        return cls(name, evaluation.scores, bias, region, highlight)


def evaluate(
    image: Image,
    reference: Image,
    *,
    mask: Image | None = None,
    truth: Image | None = None,
    labels: Image | None = None,
    region_names: Mapping[int, str] | None = None,
    lesions: Image | None = None,
    lesion_truths: Iterable[LesionTruth | Mapping[str, Any]] = (),
    ladder: Mapping[float, Image] | None = None,
    drf: float | None = None,
) -> Evaluation:
    """Evaluate ``image`` against ``reference`` inside a brain mask: ``mask`` > 0, or else ``labels`` > 0.

    Images are volumes or NIfTI paths on one grid; activity is in the unit of ``image``. ``truth``: the noise-free
    image. ``lesions``, ``lesion_truths``: a volume of lesion labels and their record. ``ladder``: plain reconstructions
    by dose reduction factor; with ``truth`` and ``drf`` (of the image's input) they give the dose equivalence.
    """
    image, reference = _read(image, "image"), _read(reference, "reference")
    mask, labels = _optional(mask, "mask", allow_blank=True), _optional(labels, "label")
    truth, lesions = _optional(truth, "truth"), _optional(lesions, "lesion", allow_blank=True)
    plain = {factor: _read(rung, "plain scan") for factor, rung in (ladder or {}).items()}
    rungs = {f"plain scan at DRF {factor:g}": volume for factor, volume in plain.items()}
    activity = {"reference": reference, "truth": truth, **rungs}
    _check(image, activity, {"mask": mask, "labels": labels, "lesions": lesions})
    brain, codes = scored_voxels(mask, labels), None if labels is None else as_labels(labels)
    best = reference if truth is None else truth
    return Evaluation(
        scores=score(image.data, reference.data, brain),
        scores_truth=None if truth is None else score(image.data, truth.data, brain),
        regions=_regions(image, reference, codes, region_names),
        regions_truth=None if truth is None else _regions(image, truth, codes, region_names),
        lesions=_lesions(image, best, lesions, lesion_truths, codes, brain),
        dose_equivalence=None
        if truth is None or not plain or drf is None
        else dose_equivalence(image.data, truth.data, {dose: low.data for dose, low in plain.items()}, brain, drf),
        unit=image.unit,
    )


def _read(image: Image, what: str, *, allow_blank: bool = False) -> Volume:
    return image if isinstance(image, Volume) else nifti.load(image, what=what, allow_blank=allow_blank)


def _optional(image: Image | None, what: str, *, allow_blank: bool = False) -> Volume | None:
    return None if image is None else _read(image, what, allow_blank=allow_blank)


def scored_voxels(mask: Volume | None, labels: Volume | None) -> MaskArray:
    """Where scores count: the mask, or else all labelled voxels; never derived from the compared images."""
    given = mask if mask is not None else labels
    if given is None:
        raise BadInput("Scores are taken inside a fixed brain mask, and none was given; add --mask or --labels.")
    brain = given.data > 0
    if not brain.any():
        what = "mask" if mask is not None else "label volume"
        raise BadInput(f"The {what} covers no voxel; give one that is above zero inside the brain.")
    return brain


def _check(image: Volume, activity: Mapping[str, Volume | None], places: Mapping[str, Volume | None]) -> None:
    """Refuse volumes on another grid or, for activity, in another unit."""
    for name, other in {**activity, **places}.items():
        if other is not None and not image.same_grid(other):
            raise BadInput(
                f"Image and {name} must lie on one grid, but the image has shape {image.shape} with affine "
                f"{_affine(image)} and the {name} {other.shape} with {_affine(other)}; resample one onto the other."
            )
    for name, other in activity.items():
        if other is not None and "unknown" not in (image.unit, other.unit) and image.unit != other.unit:
            raise BadInput(f"Image and {name} must share one unit, got {image.unit} and {other.unit}; convert one.")


def _affine(volume: Volume) -> str:
    return "[" + "; ".join(" ".join(f"{value:.4g}" for value in row) for row in volume.affine[:3]) + "]"


def _regions(
    image: Volume, reference: Volume, codes: LabelArray | None, names: Mapping[int, str] | None
) -> RegionTable | None:
    if codes is None:
        return None
    return region_module.table(image.data, codes, voxel_size=image.voxel_size, names=names, reference=reference.data)


def _lesions(
    image: Volume,
    reference: Volume,
    volume: Volume | None,
    truths: Iterable[LesionTruth | Mapping[str, Any]],
    codes: LabelArray | None,
    brain: MaskArray,
) -> tuple[Lesion, ...]:
    known = [truth if isinstance(truth, LesionTruth) else LesionTruth.from_record(truth) for truth in truths]
    if volume is None or not known:
        return ()
    size, places = image.voxel_size, as_labels(volume)
    return lesion_module.measure(image.data, reference.data, places, known, voxel_size=size, labels=codes, within=brain)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return value


def _rows(about: str, against: str, name: str, item: Any) -> list[list[str]]:
    """One row per number of a dataclass; none for None."""
    measured = {} if item is None else asdict(item)
    return [
        [about, against, name, measure, f"{value:.8g}"]
        for measure, value in measured.items()
        if isinstance(value, int | float) and measure not in ("label", "counted", "extrapolated")
    ]
