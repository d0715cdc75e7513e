"""``m2diff evaluate``."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from m2diff.cli.console import console
from m2diff.cli.options import AsJson, MriSeries, Quiet
from m2diff.errors import BadInput

if TYPE_CHECKING:
    from m2diff.evaluation.study import Evaluation
    from m2diff.volume import Volume


def evaluate_command(
    image: Annotated[Path, typer.Argument(help="The image to judge (NIfTI).")],
    reference: Annotated[Path, typer.Option(help="The standard-dose scan, on the same grid.")],
    out: Annotated[
        Path | None, typer.Option(help="Folder for report.html, evaluation.json and evaluation.tsv.")
    ] = None,
    mask: Annotated[Path | None, typer.Option(help="Brain mask; scores are taken where it is above zero.")] = None,
    labels: Annotated[
        Path | None, typer.Option(help="Region labels, for the regional table (and the mask, if none).")
    ] = None,
    mri: Annotated[
        Path | None,
        typer.Option(help="T1 of the person: the report shows it, and without mask and labels it tells the brain."),
    ] = None,
    mri_series: MriSeries = None,
    region_names: Annotated[Path | None, typer.Option(help="Names of the regions (.json, .tsv, .csv).")] = None,
    lesions: Annotated[Path | None, typer.Option(help="Labels of recorded lesions; needs --record.")] = None,
    record: Annotated[
        Path | None, typer.Option(help="What `m2diff simulate` recorded of the person: its lesions and region names.")
    ] = None,
    truth: Annotated[Path | None, typer.Option(help="Noise-free image, where there is one.")] = None,
    low: Annotated[
        list[str] | None, typer.Option(help="A plain scan for dose equivalence, as DRF=FILE; repeatable.")
    ] = None,
    drf: Annotated[
        float | None, typer.Option(help="Dose reduction factor of the image's input; the report shows that --low.")
    ] = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Score an image inside a fixed brain mask: PSNR, SSIM, NRMSE, regions, lesions, dose equivalence; a report."""
    from m2diff.evaluation.study import evaluate as run
    from m2diff.io import atomic, nifti
    from m2diff.io.labels import load_names
    from m2diff.reporting.page import ReportInputs, write_page

    if lesions is not None and record is None:
        raise BadInput("--lesions needs what is recorded of them (kind and true contrast); add --record FILE.")
    if drf is not None and not 1 <= drf < math.inf:
        raise BadInput(f"--drf expects a dose reduction factor of 1 or more, got {drf:g}; correct it.")
    if mri is None and mri_series is not None:
        raise BadInput("--mri-series picks a series of the MRI's folder, and no --mri was given; add it.")
    if out is not None:
        atomic.check_folder(out)
    judged, standard = nifti.load(image, what="image"), nifti.load(reference, what="reference")
    ladder = {factor: nifti.load(path, what="plain scan") for factor, path in map(_rung, low or [])}
    told = _record(record) if record is not None else {}
    names = load_names(region_names) if region_names is not None else told.get("regions")
    told_brain, guide, found = mask or labels, None, None
    if mri is not None and told_brain is not None and out is None:
        console.note("--mri was not read: the brain is told by --mask or --labels, and no report is made (--out).")
    elif mri is not None:
        guide, found = _placed(mri, mri_series, standard, find_brain=told_brain is None)
    known: dict[str, Any] = {
        "mask": mask or found,
        "labels": labels,
        "region_names": names,
        "truth": truth,
        "lesions": lesions,
        "lesion_truths": told.get("lesions", ()),
    }
    result = run(judged, standard, **known, ladder=ladder, drf=drf)
    if ladder and result.dose_equivalence is None:
        console.note("Dose equivalence is left out: it needs --truth, --low and --drf, all three.")
    console.result(_said(result), **(result.to_json() if as_json else {}))
    if out is None:
        return
    plain = ladder.get(drf) if drf is not None else None
    page = ReportInputs(
        title=f"{image.name} held against {reference.name}",
        story="An estimate of the standard-dose scan, held against that scan.",
        low=plain,
        enhanced=judged,
        mri=guide,
        reference=standard,
        evaluation=result,
        low_evaluation=None if plain is None else run(plain, standard, **known),
        settings={
            "image": {"file": image.name, "sha256": nifti.sha256(image)},
            "reference": {"file": reference.name, "sha256": nifti.sha256(reference)},
            "brain": "found in the MRI" if told_brain is None else told_brain.name,
            "dose reduction factor": drf,
        },
    )
    with atomic.folder(out) as folder:
        (folder / "evaluation.json").write_text(json.dumps(result.to_json(), indent=2) + "\n")
        (folder / "evaluation.tsv").write_text("".join("\t".join(row) + "\n" for row in result.to_tsv()))
        write_page(folder / "report.html", page)
    console.made(out / "report.html")


def _placed(
    path: Path, series: str | None, standard: Volume, *, find_brain: bool
) -> tuple[Volume | None, Volume | None]:
    """The MRI on the grid of the reference, and, where asked for, its brain there."""
    from m2diff.io.load import load_image
    from m2diff.preparation.brain import brain_in_pet
    from m2diff.preparation.pair import prepare

    mri = load_image(path, what="MRI", series=series)
    prepared = prepare(standard, mri)
    placement = None if prepared.alignment is None else prepared.alignment.matrix
    return prepared.mri_on_pet(), brain_in_pet(mri, standard, placement) if find_brain else None


def _record(path: Path) -> dict[str, Any]:
    """Lesions and region names of a simulation's record; BadInput for any other file."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return {
            "lesions": list(record["lesions"]),
            "regions": {int(code): str(name) for code, name in record["regions"].items()},
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise BadInput(
            f"--record expects the .json that `m2diff simulate` wrote of a person, with lesions and regions, and "
            f"{path} is none; give that file."
        ) from None


def _rung(text: str) -> tuple[float, Path]:
    """One ``DRF=FILE`` of a dose ladder."""
    factor, _, path = text.partition("=")
    try:
        drf = float(factor)
    except ValueError:
        drf = math.nan
    if not 0 < drf < math.inf or not path:
        raise BadInput(f"--low expects DRF=FILE such as 20=low.nii.gz, got {text!r}; correct it.")
    return drf, Path(path)


def _said(result: Evaluation) -> str:
    """The result in a few lines."""
    scores = result.scores
    lines = [f"PSNR {scores.psnr:.2f} dB   SSIM {scores.ssim:.4f}   NRMSE {scores.nrmse:.4f}   NMSE {scores.nmse:.4f}"]
    if result.regions is not None and result.regions.worst is not None:
        lines.append(f"Worst regional bias {result.regions.worst.bias_percent:+.2f} % ({result.regions.worst.name})")
    for lesion in result.lesions:
        kept = "" if math.isnan(lesion.reference_recovery) else f", recovery {lesion.reference_recovery:.2f}"
        lines.append(f"Lesion {lesion.label} ({lesion.kind}): contrast {lesion.contrast:.2f}{kept}")
    if result.dose_equivalence is not None:
        lines.append(f"Dose equivalence {result.dose_equivalence.gain:.1f} times the dose given")
    return "\n".join(lines)
