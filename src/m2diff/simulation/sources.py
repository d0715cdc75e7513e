"""Where anatomies come from: the bundled MNI152 template, or a folder (.nii.gz or .nii) in one of two layouts.

Labelled (the MICCAI 2012 multi-atlas people): ``{id}_SS`` a skull-stripped T1, ``{id}_glm`` labels (Neuromorphometrics
or FreeSurfer numbers), ``{id}_tissues`` (1 CSF, 2 grey, 3 white). BIDS-like, as fMRIPrep writes: ``{id}_T1w`` or
``{id}_desc-preproc_T1w`` with ``{id}_label-GM_probseg``, ``-WM_``, ``-CSF_``, and optionally
``{id}_desc-aparcaseg_dseg``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from m2diff.errors import BadInput
from m2diff.io.bids import TEMPLATE
from m2diff.io.nifti import stem
from m2diff.shapes import Affine, LabelArray, MaskArray
from m2diff.simulation import regions
from m2diff.simulation.mni import label_by_seeds, template
from m2diff.simulation.tissue_maps import (
    Tissues,
    clear_ventricle_walls,
    complete_labels,
    crop,
    grey_nuclei,
    is_grey,
    largest_component,
)  # fmt: skip

AnatomyKind = Literal["labelled", "tissue maps", "mni"]
Paths = tuple[tuple[str, Path], ...]  # (role, file), hashable

_LABELLED = {"labels": "_glm", "tissues": "_tissues"}
_PROBABILITY = {"gm": "_label-GM_probseg", "wm": "_label-WM_probseg", "csf": "_label-CSF_probseg"}
_T1_ENDING = re.compile("(_desc-preproc)?_T1w$")

LEAST_LABELLED = 0.5
"""Least share of grey matter that an atlas must label: 0.88 and more in the MICCAI 2012 people, a third at most for
labels of another atlas."""


@dataclass(frozen=True)
class AnatomySource:
    """One anatomy that persons are made from; ``load`` reads it."""

    person: str
    kind: AnatomyKind
    paths: Paths = ()

    def load(self) -> Tissues:
        """Its images in the codes of ``REGIONS``; the last two sources are cached."""
        return _load(self)


def mni_source() -> AnatomySource:
    """The anatomy that nilearn bundles: the MNI ICBM152 2009 template with its grey and white matter maps."""
    return AnatomySource(TEMPLATE, "mni")


def find_sources(folder: Path | str) -> list[AnatomySource]:
    """The anatomies in a folder, by name; BadInput for a person with a missing file."""
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInput(f"expected a folder of anatomies, {folder} is none; give a folder with T1 images and labels.")
    files = {stem(path): path for path in sorted(folder.glob("*.nii*"))}
    found = [_source(name.removesuffix("_SS"), "labelled", name, files) for name in files if name.endswith("_SS")]
    found += [
        _source(_T1_ENDING.sub("", name), "tissue maps", name, files) for name in files if _T1_ENDING.search(name)
    ]
    sources = sorted({source.person: source for source in found}.values(), key=lambda source: source.person)
    if not sources:
        raise BadInput(
            f"{folder} holds no anatomy: expected {{id}}_SS, _glm, _tissues or {{id}}_T1w, _label-GM_probseg, "
            f"_label-WM_probseg, _label-CSF_probseg as .nii.gz; rename or add them."
        )
    return sources


def _source(person: str, kind: AnatomyKind, t1: str, files: dict[str, Path]) -> AnatomySource:
    """The anatomy whose T1 image is called ``t1``; BadInput where one of its other files is missing."""
    endings = _LABELLED if kind == "labelled" else _PROBABILITY
    missing = [f"{person}{ending}.nii.gz" for ending in endings.values() if person + ending not in files]
    if missing:
        raise BadInput(f"the anatomy {person} is not complete: add {', '.join(missing)} or remove its other files.")
    paths = {"t1": files[t1], **{role: files[person + ending] for role, ending in endings.items()}}
    labels = files.get(f"{person}_desc-aparcaseg_dseg")
    if kind == "tissue maps" and labels:
        paths["labels"] = labels
    return AnatomySource(person, kind, tuple(paths.items()))


@lru_cache(maxsize=2)
def _load(source: AnatomySource) -> Tissues:
    if source.kind == "mni":
        return template()
    return _load_labelled(source) if source.kind == "labelled" else _load_maps(source)


def _read(paths: Paths) -> tuple[dict[str, np.ndarray], Affine]:
    """Every image of a person in RAS order, and their one affine."""
    import nibabel as nib

    images: dict[str, Any] = {}
    for role, path in paths:
        try:
            image = nib.as_closest_canonical(nib.load(path))
            images[role] = (np.asarray(image.dataobj).squeeze(), image.affine)
        except (OSError, EOFError, ValueError, nib.filebasedimages.ImageFileError) as error:
            raise BadInput(f"{path} cannot be read as an image ({error}); replace the file.") from error
    shape, affine = images["t1"][0].shape, images["t1"][1]
    for role, path in paths:
        if images[role][0].shape != shape or len(shape) != 3 or not np.allclose(images[role][1], affine, atol=1e-2):
            raise BadInput(f"{path} lies on another grid than its T1 image; resample it to the T1 first.")
        bad = int(images[role][0].size - np.isfinite(images[role][0]).sum())
        if bad:
            raise BadInput(f"{path} must hold finite numbers, but {bad} of its voxels are NaN or infinite; mend it.")
    return {role: data for role, (data, _) in images.items()}, np.asarray(affine, dtype=np.float64)


def _load_labelled(source: AnatomySource) -> Tissues:
    images, affine = _read(source.paths)
    brain = largest_component(images["tissues"] > 0)
    cut, affine = crop(brain, affine)
    brain, tissue = brain[cut], np.where(brain[cut], images["tissues"][cut], 0)
    codes = _translated(dict(source.paths)["labels"], images["labels"][cut], grey_matter=tissue == 2) * brain
    deep = np.isin(codes, regions.DEEP)  # T1 segmentations call half of the thalamus white matter
    tissue = np.where(deep, 2, tissue)
    soften = [ndimage.gaussian_filter((tissue == code).astype(np.float32), 0.5, truncate=3.0) for code in (2, 3, 1)]
    gm, wm, csf = soften
    ventricles = (codes == regions.CSF) & (tissue == 1)
    gm, wm = clear_ventricle_walls(gm, wm, ventricles, spare=is_grey(codes))
    t1 = np.where(brain, images["t1"][cut], 0).astype(np.float32)
    return Tissues(t1, complete_labels(codes, gm, wm, csf), gm, wm, csf, affine)


def _load_maps(source: AnatomySource) -> Tissues:
    images, affine = _read(source.paths)
    brain = largest_component(images["gm"] + images["wm"] + images["csf"] > 0.5)
    cut, affine = crop(brain, affine)
    gm, wm, csf = (
        np.where(brain[cut], images[role][cut], 0).clip(0, 1).astype(np.float32) for role in ("gm", "wm", "csf")
    )
    t1 = np.where(brain[cut], images["t1"][cut], 0).astype(np.float32)
    if "labels" in images:
        grey_matter = (gm > wm) & (gm > csf)
        codes = _translated(dict(source.paths)["labels"], images["labels"][cut], grey_matter)
    else:
        codes = label_by_seeds(brain[cut])
    gm, wm = grey_nuclei(codes, gm, wm)
    return Tissues(t1, complete_labels(codes, gm, wm, csf), gm, wm, csf, affine)


def _translated(path: Path, labels: np.ndarray, grey_matter: MaskArray) -> LabelArray:
    """The labels (i, j, k) of ``path`` in the codes of ``REGIONS``; BadInput for an unknown atlas."""
    codes = regions.translate(labels)
    share = float(is_grey(codes)[grey_matter].mean()) if grey_matter.any() else 0.0
    if share < LEAST_LABELLED:
        found = [int(label) for label in np.unique(labels) if label != 0]
        some = ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "") if found else "none"
        raise BadInput(
            f"{path} must hold FreeSurfer aparc+aseg or Neuromorphometrics (MICCAI 2012) labels over the grey matter, "
            f"but its labels ({some}) give a region to {share:.0%} of it; give labels of one of these atlases."
        )
    return codes
