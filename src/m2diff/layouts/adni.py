"""Exports of the Image and Data Archive (ADNI and the studies that share it).

    ADNI/002_S_0413/Coreg,_Avg,_Std_Img_and_Vox_Siz,_Uniform_Resolution/2017-06-21_13_45_59.0/I863056/*.nii or *.dcm
    ADNI/002_S_0413/ADNI_Brain_PET__Raw/2017-06-21_13_23_38.0/I863052/*.dcm           frames of 5 minutes
    ADNI/002_S_0413/Accelerated_Sagittal_MPRAGE/2017-06-21_13_23_38.0/I863048/*.dcm
    ADNI_002_S_0413_Coreg,_Avg,..._S572522_I863056.xml                                anywhere below: what each image is

The XML says modality, tracer, research group and visit; without it, folder names do. Each PET gets the T1 of the
nearest day. Sessions carry the archive's number of the PET, not its date. Frames are averaged; low doses simulated.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from xml.etree import ElementTree

from m2diff.errors import BadInput
from m2diff.io import dicom
from m2diff.io.dicom.read import frames
from m2diff.io.load import ENDINGS, load_image
from m2diff.layouts.visit import Visit, mean
from m2diff.volume import Volume

_SUBJECT = re.compile(r"\d{3}_S_\d{4,5}")
_DAY = re.compile(r"(\d{4})-(\d{2})-(\d{2})_\d{2}_\d{2}_\d{2}")
_IMAGE = re.compile(r"[IS](\d+)")
_XML = re.compile(r"_I(\d+)\.xml$", re.IGNORECASE)
_PET = re.compile(r"PET|coreg|AV45|AV1451|FDG|florbeta|PIB|uniform[_ ]resolution", re.IGNORECASE)
_T1 = re.compile(r"mp-?_?rage|mpr|spgr|t1|ir-?fspgr", re.IGNORECASE)
_NO_T1 = re.compile(r"t2|flair|dti|mask|seg|localizer|scout|b1[-_ ]cal", re.IGNORECASE)
_TRACERS = {
    "AV1451": ("18FAV1451", "flortaucipir", "F18"), "AV45": ("18FAV45", "florbetapir", "F18"),
    "FBB": ("18FFBB", "florbetaben", "F18"), "PIB": ("11CPIB", "PiB", "C11"), "FDG": ("18FFDG", "FDG", "F18"),
}  # fmt: skip
"""By a word in the tracer's or the series' name: BIDS label, name, nuclide; longer words come first."""


@dataclass(frozen=True)
class ListedImage:
    """One image of the archive: where its files lie and what it is."""

    folder: Path
    subject: str
    description: str
    day: date
    modality: str
    tracer: str
    """From the XML, or else a word of the description; empty where neither names it."""
    group: str
    visit: str


def recognises(root: Path) -> bool:
    """Whether ``root`` holds a subject's folder of the archive, with images."""
    return any(True for _ in _images(root))


def visits(root: Path, factors: Sequence[float] = ()) -> Iterator[Visit]:
    """Every PET image of every subject; ``factors`` are left to the simulation."""
    people: dict[str, list[ListedImage]] = defaultdict(list)
    for image in _images(root):
        people[image.subject].append(image)
    for subject, images in sorted(people.items()):
        scans = sorted((i for i in images if i.modality == "PET"), key=lambda i: (i.day, i.description, i.folder.name))
        anatomies = [i for i in images if i.modality == "MRI" and _T1.search(i.description) and not _odd(i.description)]
        for scan in scans:
            label, name, nuclide = _tracer(scan)
            nearest = min(anatomies, key=lambda i: (abs((i.day - scan.day).days), i.description), default=None)
            yield Visit(
                f"adni {scan.folder.name}",
                {"sub": re.sub(r"\W|_", "", subject), "ses": scan.folder.name, "trc": label},
                {1.0: partial(_read, scan, "PET")},
                None if nearest is None else partial(_read, nearest, "MRI"),
                about={"group": scan.group},
                sidecar={
                    "TracerName": name,
                    **({"TracerRadionuclide": nuclide} if nuclide else {}),
                    "SeriesDescription": scan.description.replace("_", " "),
                    **({"VisitName": scan.visit} if scan.visit else {}),
                },
            )


def _read(image: ListedImage, what: str) -> Volume:
    """The image, averaged over its frames."""
    files = sorted(path for path in image.folder.iterdir() if path.name.lower().endswith(ENDINGS))
    files = [path for path in files if not path.name.lower().endswith(".img")]
    if files and what == "PET":
        return mean([partial(load_image, path) for path in files])
    if files:
        return load_image(files[0], what="MRI")
    if what == "MRI":
        return load_image(image.folder, what="MRI")
    count = frames(dicom.choose(image.folder, "PT"))
    return mean([partial(load_image, image.folder, frame=n if count > 1 else None) for n in range(1, count + 1)])


def _images(root: Path) -> Iterator[ListedImage]:
    """Every image below ``root``, described by its XML or else its folders' names."""
    known = {int(match[1]): path for path in root.rglob("*.xml") if (match := _XML.search(path.name))}
    for folder in sorted(path for path in root.rglob("*") if path.is_dir() and _IMAGE.fullmatch(path.name)):
        day, description, subject = (folder.parents[n].name for n in range(3))
        when = _DAY.match(day)
        if not when or not _SUBJECT.fullmatch(subject) or not any(entry.is_file() for entry in folder.iterdir()):
            continue
        said = _said(known.get(int(folder.name[1:])))
        modality = said.get("modality") or ("PET" if _PET.search(description) else "MRI")
        tracer = said.get("tracer") or next((key for key in _TRACERS if key in description.upper()), "")
        on = date(*(int(part) for part in when.groups()))
        group = said.get("group", "unknown")
        yield ListedImage(folder, subject, description, on, modality, tracer, group, said.get("visit", ""))


def _tracer(scan: ListedImage) -> tuple[str, str, str]:
    """BIDS label, name and nuclide of a scan's tracer; FDG where nothing is stated."""
    words = re.sub(r"[^A-Z0-9]", "", scan.tracer.upper())
    for key, (label, name, nuclide) in _TRACERS.items():
        if key in words or name.upper() in words or (not words and key == "FDG"):
            return label, name, nuclide
    return re.sub(r"[^A-Za-z0-9]", "", scan.tracer), scan.tracer, ""


def _said(path: Path | None) -> dict[str, str]:
    """The contents of the XML at ``path``; its elements may lack the archive's namespace."""
    if path is None:
        return {}
    try:
        tree = ElementTree.parse(path)
    except (ElementTree.ParseError, OSError, ValueError) as trouble:
        raise BadInput(f"The description {path.name} is no readable XML; download it again or remove it.") from trouble
    texts: dict[str, str] = {}
    for element in tree.iter():
        name, text = element.tag.rpartition("}")[2], (element.text or "").strip()
        if name == "protocol" and element.get("term", "").lower() in ("radiopharmaceutical", "tracer"):
            texts.setdefault("tracer", text)
        elif text and name in _FIELDS:
            texts.setdefault(_FIELDS[name], text)
    if "modality" in texts:
        texts["modality"] = {"PT": "PET", "MR": "MRI"}.get(texts["modality"].upper(), texts["modality"].upper())
    return texts


_FIELDS = {"modality": "modality", "researchGroup": "group", "visitIdentifier": "visit"}


def _odd(description: str) -> bool:
    return bool(_NO_T1.search(description.replace("MT1", "")))
