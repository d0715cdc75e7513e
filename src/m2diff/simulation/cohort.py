"""A cohort of simulated persons as a BIDS data set; the same command run again makes only what is missing."""

from __future__ import annotations

import csv
import io
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from m2diff.errors import BadInput
from m2diff.io import bids, nifti
from m2diff.io.atomic import replacing
from m2diff.io.suv import HALF_LIFE_S
from m2diff.shapes import Affine, VolumeArray
from m2diff.simulation import regions, scanner, tracer
from m2diff.simulation.anatomy import Anatomy, make_person
from m2diff.simulation.doses import DosePlan
from m2diff.simulation.head import find_heads
from m2diff.simulation.recipe import Recipe
from m2diff.simulation.scanner import MODELS, ScannerName
from m2diff.simulation.sources import AnatomySource, find_sources, mni_source
from m2diff.simulation.tracer import TRACERS, TracerName
from m2diff.volume import Volume

ATTENUATION = np.array([0.0, 0.0096, 0.0146, 0.0099, 0.0096], dtype=np.float32)
"""1/mm at 511 keV by ``Anatomy.tissue_class``: air, soft tissue, skull, brain, other (ICRU 44 densities)."""

_GROUP_LEVELS: dict[TracerName, dict[str, str]] = {
    "fdg": {"healthy": "normal FDG", "ad": "Alzheimer pattern"},
    "amyloid": {"healthy": "amyloid-negative", "ad": "amyloid-positive"},
}
"""What the groups of participants.tsv are, by tracer."""

README = """A simulated cohort (m2diff simulate): no person was scanned.

pet/ holds the standard-dose scan and binomially thinned lower doses of the same counts, in Bq/mL;
derivatives/simulation holds the noise-free reconstruction, the true activity, regions, brain mask, lesions.
"""


@dataclass(frozen=True, eq=False)
class Scan:
    """One simulated person on the scanner's grid. Images in Bq/mL, (i, j, k)."""

    anatomy: Anatomy
    uptake: tracer.Uptake
    protocol: scanner.Protocol
    affine: Affine
    doses: dict[float, VolumeArray]  # by dose reduction factor; 1 is the standard scan
    noise_free: VolumeArray
    truth: VolumeArray
    labels: np.ndarray
    brain: np.ndarray
    lesion_labels: np.ndarray
    lesions: tuple[tracer.SimulatedLesion, ...]


def find_anatomies(recipe: Recipe) -> list[AnatomySource]:
    """The anatomies a recipe draws on, in the order of their names."""
    sources = [mni_source()] if recipe.anatomies is None else find_sources(recipe.anatomies)
    where = "the template" if recipe.anatomies is None else recipe.anatomies
    known = {source.person for source in sources}
    unknown = [name for name in (*recipe.persons, *recipe.without) if name not in known]
    if unknown:
        raise BadInput(
            f"{where} holds no anatomy named {', '.join(unknown)}; it holds {sorted(known)}; see --anatomies."
        )
    kept = [s for s in sources if s.person not in recipe.without and (not recipe.persons or s.person in recipe.persons)]
    if not kept:
        raise BadInput(f"no anatomy is left in {where}: --persons and --without exclude them all.")
    return kept


def group_of(recipe: Recipe, number: int, sources: int) -> tracer.Group:
    """Healthy or AD; with ``both``, each anatomy alternates between the groups."""
    if recipe.group != "both":
        return recipe.group
    turn, place = divmod(number, sources)
    return "ad" if (turn + place) % 2 else "healthy"


def simulate_person(recipe: Recipe, number: int) -> Scan:
    """Simulate person ``number`` (0, 1, ...) of a recipe; the two alone decide the result."""
    rng = np.random.default_rng(np.random.SeedSequence(recipe.seed, spawn_key=(number,)))
    sources = find_anatomies(recipe)
    source, group = sources[number % len(sources)], group_of(recipe, number, len(sources))
    random_uptake = recipe.randomise and rng.random() < 0.25
    uptake = tracer.draw_uptake(rng, group, "random" if random_uptake else recipe.tracer)
    protocol = scanner.random_protocol(rng) if recipe.randomise else scanner.named(recipe.scanner)
    protocol = replace(protocol, counts=protocol.counts * TRACERS[recipe.tracer].counts)
    anatomy = make_person(source, rng, head=_head(recipe, rng), heads=recipe.heads)
    activity = tracer.activity_map(anatomy, uptake, rng) * np.float32(uptake.reference_bq_ml)
    activity, t1, lesion_labels, lesions = tracer.add_lesions(anatomy, activity, rng)
    return _scan(replace(anatomy, t1=t1), uptake, protocol, activity, lesion_labels, lesions, recipe.doses, rng)


def _head(recipe: Recipe, rng: np.random.Generator) -> Literal["none", "grown", "map"]:
    """The kind of head of one person; ``mixed`` draws it."""
    if recipe.head != "mixed":
        return recipe.head
    kinds: list[Literal["none", "grown", "map"]] = ["none", "grown", "map" if recipe.heads else "grown"]
    return kinds[int(rng.choice(3, p=[0.4, 0.3, 0.3]))]


def _scan(
    anatomy: Anatomy,
    uptake: tracer.Uptake,
    protocol: scanner.Protocol,
    activity: VolumeArray,
    lesion_labels: np.ndarray,
    lesions: tuple[tracer.SimulatedLesion, ...],
    doses: DosePlan,
    rng: np.random.Generator,
) -> Scan:
    """Scan the person and reconstruct every dose."""
    affine = _scanner_grid(anatomy, protocol, rng)
    edge = float(anatomy.affine[0, 0])
    blurred = scanner.blur(activity, protocol.resolution_mm, (edge, edge, edge))

    step = np.linalg.solve(anatomy.affine, affine)  # the axes are parallel

    def on_grid(image: np.ndarray, order: int = 1) -> np.ndarray:
        return ndimage.affine_transform(
            image, np.diag(step)[:3], step[:3, 3], output_shape=protocol.shape, order=order, prefilter=False
        )

    mu = ndimage.gaussian_filter(ATTENUATION[anatomy.tissue_class], 1.0)
    acquisition = scanner.acquire(on_grid(blurred), on_grid(mu), protocol)
    images = {
        factor: scanner.reconstruct(acquisition, counts, factor)
        for factor, counts in scanner.dose_ladder(acquisition, doses.draw(rng), rng)
    }
    brain = ndimage.gaussian_filter(anatomy.gm + anatomy.wm + anatomy.csf, 0.8)
    return Scan(
        anatomy=anatomy,
        uptake=uptake,
        protocol=protocol,
        affine=affine,
        doses=images,
        noise_free=scanner.reconstruct(acquisition, acquisition.expected),
        truth=on_grid(scanner.blur(activity, protocol.voxel_mm, (edge, edge, edge))),
        labels=on_grid(anatomy.labels, order=0).astype(np.int16),
        brain=on_grid(brain) > 0.5,
        lesion_labels=on_grid(lesion_labels, order=0).astype(np.int16),
        lesions=lesions,
    )


def _scanner_grid(anatomy: Anatomy, protocol: scanner.Protocol, rng: np.random.Generator) -> Affine:
    """The affine of the PET, with the brain near the centre of the field of view."""
    brain = np.argwhere((anatomy.gm + anatomy.wm) > 0.5)
    centre = (anatomy.affine @ [*((brain.min(0) + brain.max(0)) / 2), 1.0])[:3] + rng.uniform(-6, 6, 3)
    affine = np.diag([*protocol.spacing, 1.0])
    affine[:3, 3] = centre - (np.array(protocol.shape) - 1) / 2 * np.array(protocol.spacing)
    return affine


def simulate(
    out: Path | str,
    subjects: int = 10,
    *,
    drf: str | Sequence[float] = (4.0, 10.0, 20.0, 50.0, 100.0),
    group: Literal["healthy", "ad", "both"] = "both",
    seed: int = 0,
    anatomies: Path | str | None = None,
    persons: Sequence[str] = (),
    without: Sequence[str] = (),
    heads: Path | str | None = None,
    head: Literal["none", "grown", "map", "mixed"] = "grown",
    randomise: bool = False,
    tracer: TracerName = "fdg",
    scanner: ScannerName = "pet-mr",
    jobs: int = 1,
    progress: bool = True,
) -> Path:
    """Make (or finish) a BIDS cohort of ``subjects`` simulated persons under ``out``; return ``out``.

    ``drf``: dose reduction factors (20: one twentieth of the standard scan's counts), or draws for each person, as in
    ``"4-100:3"``. ``anatomies``: a folder of real anatomies; None warps the MNI152 template. The others: see
    ``Recipe``. The same seed makes the same cohort, whatever ``jobs`` (processes). BadInput for unknown settings and a
    folder that holds something else.
    """
    plan = DosePlan.parse(drf) if isinstance(drf, str) else DosePlan(tuple(sorted({float(each) for each in drf})))
    recipe = Recipe(
        doses=plan,
        group=group,
        seed=seed,
        anatomies=None if anatomies is None else Path(anatomies),
        persons=tuple(persons),
        without=tuple(without),
        heads=None if heads is None else Path(heads),
        head=head,
        randomise=randomise,
        tracer=tracer,
        scanner=scanner,
    )
    return make_cohort(recipe, out, subjects, jobs=jobs, progress=progress)


def make_cohort(recipe: Recipe, out: Path | str, subjects: int, *, jobs: int = 1, progress: bool = True) -> Path:
    """Make (or finish) a recipe's cohort as ``simulate``; a shorter one keeps and lists everybody who is finished."""
    from joblib import Parallel, delayed
    from tqdm import tqdm

    if subjects < 1:
        raise BadInput(f"--subjects expects at least 1, got {subjects}.")
    if jobs == 0:
        raise BadInput("--jobs expects the number of persons made at once, or -1 for all cores, got 0.")
    out = Path(out)
    sources = find_anatomies(recipe)
    if recipe.heads is not None:
        find_heads(recipe.heads)  # raises before anything is written
    _claim(out, recipe)
    finished = _finished(out)
    missing = [n for n in range(subjects) if n not in finished]
    _write_participants(out, recipe, sorted({*range(subjects), *finished}), [source.person for source in sources])
    work = (delayed(_make)(recipe, out, n, label_of(n)) for n in missing)
    with warnings.catch_warnings():
        # loky takes the workers' large matrices for a leak and replaces the workers: harmless.
        warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
        done = Parallel(n_jobs=jobs, return_as="generator_unordered")(work)
        for _ in tqdm(done, total=len(missing), desc="simulate", unit="person", disable=not progress):
            pass
    return out


def label_of(number: int) -> str:
    """The label of person ``number`` (from 0): 001 to 999, 1000 and so on."""
    return f"{number + 1:03d}"


def _finished(out: Path) -> set[int]:
    """The numbers of a cohort's persons that are finished on disk."""
    labels = [folder.name.removeprefix("sub-") for folder in (out / "derivatives" / "simulation").glob("sub-*")]
    numbers = {int(label) - 1 for label in labels if label.isdecimal() and int(label)}
    return {number for number in numbers if bids.record_path(out, label_of(number)).is_file()}


def _claim(out: Path, recipe: Recipe) -> None:
    """Write the dataset's description, or refuse a folder that another recipe has begun."""
    description = out / "dataset_description.json"
    if description.is_file():
        begun = _recipe_of(description)
        if begun != recipe.describe():
            raise BadInput(f"{out} holds a data set made with other settings; choose another folder or delete it.")
    elif out.is_dir() and any(out.iterdir()):
        raise BadInput(f"{out} is not empty and holds no simulated cohort; choose another folder.")
    generated = [{"Name": "m2diff simulate", "Version": version("m2diff")}]
    common = {"BIDSVersion": "1.10.0", "License": "see the licence of the anatomies it was made from"}
    about = {"Name": "Simulated low-dose brain PET", "DatasetType": "raw", "GeneratedBy": generated}
    derived = {"Name": "Truth of a simulated cohort", "DatasetType": "derivative", "GeneratedBy": generated}
    # The description comes first, so that a killed run can go on.
    for path, words in (
        (description, {**about, "M2diffRecipe": recipe.describe(), **common}),
        (out / "derivatives" / "simulation" / "dataset_description.json", {**derived, **common}),
    ):
        if not path.is_file():
            bids.write_json(path, words)
    if not (out / "README").is_file():
        with replacing(out / "README") as temporary:
            temporary.write_text(README)


def _recipe_of(description: Path) -> Any:
    """The recipe in a dataset's description, None if it names none; BadInput for what is no description."""
    try:
        content = json.loads(description.read_text(encoding="utf-8"))
    except ValueError:  # not JSON, or not UTF-8
        content = None
    if not isinstance(content, dict):
        raise BadInput(
            f"{description} must describe a data set as a JSON object, but it cannot be read as one; mend it, or "
            "choose another folder."
        )
    return content.get("M2diffRecipe")


def _write_participants(out: Path, recipe: Recipe, listed: list[int], persons: list[str]) -> None:
    """participants.tsv and its dictionary; ``listed``: the persons' numbers, ``persons``: the anatomies in turns."""
    text = io.StringIO()
    table = csv.writer(text, delimiter="\t", lineterminator="\n")
    table.writerow(["participant_id", "anatomy", "group"])
    for n in listed:
        table.writerow([f"sub-{label_of(n)}", persons[n % len(persons)], group_of(recipe, n, len(persons))])
    with replacing(out / "participants.tsv") as temporary:
        temporary.write_text(text.getvalue())
    columns = {
        "anatomy": {
            "Description": "The real or template anatomy this person was warped from; split data by it (people of the "
            "template MNI152 have shapes of their own, but its folds)"
        },
        "group": {"Description": "Diagnostic group", "Levels": _GROUP_LEVELS[recipe.tracer]},
    }
    bids.write_json(out / "participants.json", columns)


def _make(recipe: Recipe, out: Path, number: int, label: str) -> None:
    """Simulate one person and write it; the record comes last and marks it finished."""
    scan = simulate_person(recipe, number)
    _write_images(recipe, scan, out, label)
    record = {
        "anatomy": scan.anatomy.person,
        "head": scan.anatomy.has_head,
        "group": scan.uptake.group,
        "uptake": asdict(scan.uptake),
        "protocol": asdict(scan.protocol),
        "lesions": [asdict(lesion) for lesion in scan.lesions],
        "regions": {str(code): name for code, name in regions.REGIONS.items()},
    }
    bids.write_json(bids.record_path(out, label), record)


def _write_images(recipe: Recipe, scan: Scan, out: Path, label: str) -> None:
    trc = TRACERS[recipe.tracer].trc
    t1 = Volume(scan.anatomy.t1, scan.anatomy.affine, unit="arbitrary")
    nifti.save(t1, bids.t1_path(out, label), dtype=np.int16, sidecar={"Modality": "MR", "Manufacturer": "simulated"})
    for factor, image in scan.doses.items():
        volume = Volume(image, scan.affine, unit="Bq/mL")
        nifti.save(volume, bids.pet_path(out, label, factor, trc), sidecar=pet_sidecar(recipe, scan.protocol, factor))
    for what, image in (("noisefree", scan.noise_free), ("truth", scan.truth)):
        sidecar = {"Units": "Bq/mL", "Description": f"simulated: {what}"}
        nifti.save(Volume(image, scan.affine, unit="Bq/mL"), bids.derived_path(out, label, what, trc), sidecar=sidecar)
    for what, codes in (("regions", scan.labels), ("brain", scan.brain), ("lesions", scan.lesion_labels)):
        volume = Volume(codes.astype(np.float32), scan.affine, unit="label")
        nifti.save(volume, bids.derived_path(out, label, what, trc), dtype=np.int16)


def pet_sidecar(recipe: Recipe, protocol: scanner.Protocol, factor: float) -> dict[str, Any]:
    """The PET fields that BIDS asks for, and the dose reduction factor."""
    injected = TRACERS[recipe.tracer]
    return {
        "Modality": "PT",
        "Manufacturer": "simulated",
        "ManufacturersModelName": MODELS[recipe.scanner],
        "Units": "Bq/mL",
        "TracerName": injected.name,
        "TracerRadionuclide": injected.radionuclide,
        "InjectedRadioactivity": injected.injected_mbq / factor,
        "InjectedRadioactivityUnits": "MBq",
        **dict.fromkeys(("InjectedMass", "InjectedMassUnits"), "n/a"),
        **dict.fromkeys(("SpecificRadioactivity", "SpecificRadioactivityUnits"), "n/a"),
        "ModeOfAdministration": "bolus",
        "TimeZero": "12:00:00",
        "InjectionStart": 0,
        "ScanStart": injected.scan_start_s,
        "FrameTimesStart": [0],
        "FrameDuration": [injected.duration_s],
        "AcquisitionMode": "list mode",
        "ImageDecayCorrected": True,
        "ImageDecayCorrectionTime": 0,
        "RadionuclideHalfLife": HALF_LIFE_S[injected.radionuclide],
        "AttenuationCorrection": "simulated attenuation map, exact",
        "ReconMethodName": "OSEM",
        "ReconMethodParameterLabels": ["iterations", "subsets"],
        "ReconMethodParameterUnits": ["none", "none"],
        "ReconMethodParameterValues": [protocol.iterations, protocol.subsets],
        "ReconFilterType": "Gaussian" if protocol.postfilter_mm else "none",
        "ReconFilterSize": protocol.postfilter_mm,
        "DoseReductionFactor": factor,
        "Simulated": True,
    }
