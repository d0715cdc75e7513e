"""The BIDS-App: `m2diff bids BIDS_DIR OUT_DIR participant|group`, called as BIDS-Apps are (Gorgolewski et al. 2017).

    OUT_DIR/dataset_description.json                         GeneratedBy, SourceDatasets
    OUT_DIR/sub-01/[ses-1/]pet/..._desc-enhanced_pet.nii.gz  and its sidecar: Sources, SpatialReference, all settings
    OUT_DIR/sub-01/[ses-1/]pet/..._desc-spread_pet.nii.gz    with several samples
    OUT_DIR/reports/sub-01_..._report.html                   one a scan
    OUT_DIR/group_enhanced.tsv, .json, OUT_DIR/reports/group.html    of `group`

A scan whose result is there, from the same inputs with the same options, is not done again. A broken one is told of at
the end and stops nobody else.
"""

from __future__ import annotations

import argparse
import csv
import html
import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from m2diff.cli_options import check_device
from m2diff.console import console
from m2diff.errors import BadInput
from m2diff.io import atomic, nifti
from m2diff.io.bids import write_json
from m2diff.io.bids_scans import Scan, find_scans
from m2diff.io.reconstruction import reconstruction

BIDS_VERSION = "1.10.0"
FAILED = 1
"""Exit code where some scans failed; refused options end in 2."""

COLUMNS = {
    "participant_id": "the participant",
    "session_id": "the session, n/a where there is none",
    "scan": "the PET's entities",
    "weights": "what enhanced it",
    "dose_reduction_factor": "as stated, n/a where unknown",
    "mri": "whether an MRI was read",
    "alignment": "how well the MRI's folds lie where the PET's do; n/a where nothing was registered",
    "mean_input": "mean of the low-dose scan in the head",
    "mean_enhanced": "mean of the result in the head",
    "change_percent": "the second less the first, in per cent of the first",
    "unit": "of both",
    "warnings": "what the tool remarked",
}


@dataclass(frozen=True)
class Options:
    """How every scan is enhanced."""

    weights: str
    steps: int | None
    samples: int
    dose: float | None
    seed: int
    align: bool
    use_mri: bool
    device: str
    keep_phi: bool
    sha256: str | None = None
    """Of the weights: others under the same name are others."""


def main(arguments: Sequence[str]) -> int:
    """Run the app; returns the exit code."""
    given = parser().parse_args(list(arguments))
    console.as_json = given.as_json
    root, out = given.bids_dir, given.output_dir
    if out.resolve() == root.resolve():
        raise BadInput(f"The output must not be the BIDS folder itself ({root}); give {root}/derivatives/m2diff.")
    if given.analysis_level == "group":
        table, unreadable = group(out)
        console.made(table)
        for name in unreadable:
            console.note(f"{name} is not what the participant level wrote and is left out; run that level again.")
        return FAILED if unreadable else 0
    scans = find_scans(
        root,
        participants=given.participant_label or (),
        sessions=given.session_label or (),
        rec=given.rec_label,
        trc=given.trc_label,
        run=given.run_label,
    )
    options = Options(
        given.weights, given.steps, given.samples, given.drf, given.seed,
        given.align, not given.pet_alone, given.device, given.keep_phi,
    )  # fmt: skip
    options = _checked(options, jobs=given.n_procs)
    quiet = given.quiet or given.as_json
    failures = participants(root, out, scans, options, jobs=given.n_procs, progress=not quiet)
    done = len(scans) - len(failures)
    console.result(f"{done} of {len(scans)} scans are in {out}", done=done, scans=len(scans), path=str(out))
    for name, reason in failures:
        console.error(f"{name}: {reason}")
    return FAILED if failures else 0


def _checked(options: Options, *, jobs: int) -> Options:
    """The options with the hash of their weights; refuses at once what would fail for every scan."""
    from m2diff.enhance import cards

    for name, value, least in (("--n-procs", jobs, 1), ("--samples", options.samples, 1), ("--seed", options.seed, 0)):
        if value < least:
            raise BadInput(f"{name} is a whole number of at least {least}, got {value}; correct it.")
    check_device(options.device)
    return replace(options, sha256=cards.load(options.weights, dose=options.dose).sha256)


def participants(
    root: Path, out: Path, scans: Sequence[Scan], options: Options, *, jobs: int, progress: bool
) -> list[tuple[str, str]]:
    """Enhance ``scans`` into ``out``; returns the names of those that failed, each with its reason."""
    from joblib import Parallel, delayed
    from tqdm import tqdm

    describe(root, out)
    missing = [scan for scan in scans if not is_done(scan, out, options)]
    work = Parallel(n_jobs=max(1, min(jobs, len(missing))), return_as="generator_unordered")(
        delayed(_guarded)(root, scan, out, options, threads=jobs > 1) for scan in missing
    )
    failures = []
    for name, reason in tqdm(work, total=len(missing), desc="enhance", unit="scan", disable=not (progress and missing)):
        if reason is not None:
            failures.append((name, reason))
    return sorted(failures)


def _guarded(root: Path, scan: Scan, out: Path, options: Options, *, threads: bool) -> tuple[str, str | None]:
    """One scan's name, and why it failed; None where it did not."""
    if threads:
        import torch

        torch.set_num_threads(1)
    try:
        participant(root, scan, out, options)
    except BadInput as refusal:
        return scan.name, " ".join(str(refusal).split())
    except Exception as trouble:  # one person's surprise must not cost the others their night
        return scan.name, f"unexpected {type(trouble).__name__}: {' '.join(str(trouble).split())[:300]}"
    return scan.name, None


def participant(root: Path, scan: Scan, out: Path, options: Options) -> None:
    """Enhance one scan: image, sidecar and report appear together."""
    from m2diff.enhance.run import enhance, write_into
    from m2diff.report.page import ReportInputs
    from m2diff.report.page import write as write_report

    mri = scan.mri if options.use_mri else None
    result = enhance(
        scan.pet, mri, weights=options.weights, steps=options.steps, samples=options.samples, dose=options.dose,
        seed=options.seed, align=options.align, device=options.device,
    )  # fmt: skip
    page = ReportInputs.of(result, scan.name)
    spread = f"{scan.folder.as_posix()}/{scan.name}_desc-spread_pet.*"  # of an earlier run with several samples
    with atomic.folder(out, replaces=(spread,)) as folder:
        place = folder / scan.folder
        place.mkdir(parents=True)
        written = write_into(result, place, keep_phi=options.keep_phi)
        for image in (written.image, *([written.spread] if written.spread else [])):
            _complete(nifti.sidecar_path(image), root, scan, mri, result, options)
        (folder / "reports").mkdir()
        write_report(folder / "reports" / f"{scan.name}_report.html", page)


def _complete(sidecar: Path, root: Path, scan: Scan, mri: Path | None, result: Any, options: Options) -> None:
    """Add to a sidecar what BIDS derivatives ask for, and the two means of the group's table."""
    content = json.loads(sidecar.read_text())
    sources = [path for path in (scan.pet, mri) if path is not None]
    content["Sources"] = [f"bids:raw:{path.relative_to(root).as_posix()}" for path in sources]
    content["SkullStripped"] = False
    content["SpatialReference"] = f"bids:raw:{scan.pet.relative_to(root).as_posix()}"
    content["m2diff"]["asked"] = _asked(options)
    content["m2diff"]["means"] = _means(result)
    sidecar.write_text(json.dumps(content, indent=2) + "\n")


def _means(result: Any) -> dict[str, float]:
    """Means of the scan and of the result over the head."""
    from m2diff.prepare import grid, mask

    head = mask.support(grid.to_working(result.low).data)
    before, after = (float(grid.to_working(volume).data[head].mean()) for volume in (result.low, result.volume))
    return {"input": before, "enhanced": after}


def _asked(options: Options) -> dict[str, Any]:
    """The options on which a result depends, and what is kept in its sidecar."""
    return {
        "weights": options.weights, "steps": options.steps, "samples": options.samples, "drf": options.dose,
        "seed": options.seed, "align": options.align, "use_mri": options.use_mri, "keep_phi": options.keep_phi,
    }  # fmt: skip


def is_done(scan: Scan, out: Path, options: Options) -> bool:
    """True when the result of these very files with these options is there, whole."""
    image = out / scan.folder / f"{scan.name}_desc-enhanced_pet.nii.gz"
    sidecar = nifti.sidecar_path(image)
    if not (image.is_file() and sidecar.is_file()):
        return False
    try:
        made = json.loads(sidecar.read_text())["m2diff"]
        mri = scan.mri if options.use_mri else None
        same_mri = (made["mri"] or {}).get("sha256") == (None if mri is None else nifti.sha256(mri))
        same = made["asked"] == _asked(options) and made["weights"]["sha256"] == options.sha256
        told = made["reconstruction"] == reconstruction(nifti.read_sidecar(scan.pet)).to_json()
        return bool(same and made["pet"]["sha256"] == nifti.sha256(scan.pet) and same_mri and told)
    except (ValueError, KeyError, TypeError, OSError):
        return False


def describe(root: Path, out: Path) -> None:
    """The description of the derivative data set, and what validators should pass over."""
    inside = out.resolve().is_relative_to(root.resolve())
    raw_link = "../.." if inside else root.resolve().as_uri()
    about: dict[str, Any] = {
        "Name": "m2diff: standard-dose estimates of low-dose PET scans",
        "BIDSVersion": BIDS_VERSION,
        "DatasetType": "derivative",
        "License": "not stated; the weights' card limits what they may be used for",
        "GeneratedBy": [{"Name": "m2diff", "Version": version("m2diff")}],
        "DatasetLinks": {"raw": raw_link},
    }
    raw = root / "dataset_description.json"
    if raw.is_file():
        try:
            described = json.loads(raw.read_text())
            about["SourceDatasets"] = [
                {"DOI": described["DatasetDOI"]} if "DatasetDOI" in described else {"URL": raw_link}
            ]
        except (ValueError, OSError, TypeError):
            about["SourceDatasets"] = [{}]
    write_json(out / "dataset_description.json", about)
    with atomic.replacing(out / ".bidsignore") as temporary:
        temporary.write_text("reports\nreports/\nreports/**\ngroup_enhanced.*\n")


def group(out: Path) -> tuple[Path, list[str]]:
    """The table of all scans in ``out`` (and its page); returns its path, and the sidecars too broken for it."""
    sidecars = sorted(out.glob("sub-*/**/*_desc-enhanced_pet.json")) if out.is_dir() else []
    rows, unreadable = [], []
    for path in sidecars:
        try:
            rows.append(_row(json.loads(path.read_text()), path))
        except (ValueError, KeyError, TypeError, OSError):
            unreadable.append(path.name)
    if not rows:
        raise BadInput(f"{out} holds no enhanced scan yet; run the participant level first.")
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, delimiter="\t", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    with atomic.folder(out) as folder:
        (folder / "group_enhanced.tsv").write_text(text.getvalue())
        about = {name: {"Description": meaning} for name, meaning in COLUMNS.items()}
        (folder / "group_enhanced.json").write_text(json.dumps(about, indent=2) + "\n")
        (folder / "reports").mkdir()
        (folder / "reports" / "group.html").write_text(_page(rows), encoding="utf-8")
    return out / "group_enhanced.tsv", unreadable


def _row(sidecar: dict[str, Any], path: Path) -> dict[str, Any]:
    made = sidecar["m2diff"]
    name = path.name.removesuffix("_desc-enhanced_pet.json")
    entities = dict(part.split("-", 1) for part in name.split("_") if "-" in part)
    before, after = made["means"]["input"], made["means"]["enhanced"]
    folds = (made.get("alignment") or {}).get("folds")
    row = {
        "participant_id": f"sub-{entities['sub']}",
        "session_id": f"ses-{entities['ses']}" if "ses" in entities else None,
        "scan": name,
        "weights": made["weights"]["name"],
        "dose_reduction_factor": made["dose_reduction_factor"],
        "mri": "yes" if made["mri"] else "no",
        "alignment": None if folds is None or not math.isfinite(folds) else folds,
        "mean_input": f"{before:.6g}",
        "mean_enhanced": f"{after:.6g}",
        "change_percent": f"{100 * (after / before - 1):.3f}" if before else None,
        "unit": made["unit"],
        "warnings": " ".join(made.get("warnings", [])) or None,
    }
    return {key: "n/a" if value is None else value for key, value in row.items()}


def _page(rows: Sequence[dict[str, Any]]) -> str:
    """The table as one page, each scan linked to its report; a change that stands out is marked."""
    changes = [abs(float(row["change_percent"])) for row in rows if row["change_percent"] != "n/a"]
    limit = max(5.0, 3 * float(np.median(changes))) if changes else 5.0
    head = "".join(f"<th title='{html.escape(meaning)}'>{name}</th>" for name, meaning in COLUMNS.items())
    body = []
    for row in rows:
        change = row["change_percent"]
        loud = " class=loud" if change != "n/a" and abs(float(change)) > limit else ""
        cells = {key: html.escape(str(value)) for key, value in row.items()}
        cells["scan"] = f"<a href='{cells['scan']}_report.html'>{cells['scan']}</a>"
        body.append(f"<tr{loud}>" + "".join(f"<td>{cell}</td>" for cell in cells.values()) + "</tr>")
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><title>m2diff: all scans</title>"
        "<style>body{font:15px system-ui,sans-serif;margin:2rem}table{border-collapse:collapse}"
        "td,th{border-bottom:1px solid #ccc;padding:.3rem .6rem;text-align:left}.loud{background:#fff0e0}</style>"
        f"<h1>{len(rows)} scans</h1><p>Marked: the mean over the head changed by more than {limit:.1f} %. "
        "For research, not for diagnosis.</p>"
        f"<table><tr>{head}</tr>{''.join(body)}</table></html>\n"
    )


class _Parser(argparse.ArgumentParser):
    """Refuses as the other verbs do."""

    def error(self, message: str) -> NoReturn:
        """One sentence instead of the usage."""
        raise BadInput(f"{message} (see `m2diff bids --help`).")


def parser() -> argparse.ArgumentParser:
    """The options, as BIDS-Apps name them."""
    parser = _Parser("m2diff bids", description="Enhance the PET scans of a BIDS data set.")
    parser.add_argument("--version", action="version", version=f"m2diff {version('m2diff')}")
    parser.add_argument("bids_dir", type=Path, help="the BIDS data set")
    parser.add_argument("output_dir", type=Path, help="the derivatives' folder")
    parser.add_argument("analysis_level", choices=["participant", "group"])
    parser.add_argument("--participant-label", "--participant_label", nargs="+", metavar="LABEL")
    parser.add_argument("--session-label", "--session_label", nargs="+", metavar="LABEL")
    parser.add_argument("--rec-label", metavar="LABEL", help="only scans of this reconstruction (rec-)")
    parser.add_argument("--trc-label", metavar="LABEL", help="only scans of this tracer (trc-)")
    parser.add_argument("--run-label", metavar="LABEL", help="only scans of this run (run-)")
    parser.add_argument("--n-procs", "--n_procs", "--nprocs", type=int, default=1, help="scans at once")
    parser.add_argument("--weights", default="m2diff-base")
    parser.add_argument("--steps", type=int)
    parser.add_argument("--samples", type=int, default=1)
    parser.add_argument("--drf", type=float, help="dose reduction factor of all scans; default: each sidecar's")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--no-align", dest="align", action="store_false", help="trust the headers")
    parser.add_argument("--pet-alone", action="store_true", help="read no MRI")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--keep-phi", action="store_true", help="keep names, numbers and dates in the sidecars")
    parser.add_argument("--quiet", action="store_true", help="no progress bar")
    parser.add_argument("--json", dest="as_json", action="store_true", help="one JSON object a line, and no bar")
    return parser
