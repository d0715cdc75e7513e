"""Where anatomies come from: folders of real T1 images with labels or tissue maps, or the bundled MNI152 template.

Two layouts are recognised. Labelled (the MICCAI 2012 multi-atlas people): ``{id}_SS`` a skull-stripped T1, ``{id}_glm``
labels (Neuromorphometrics or FreeSurfer numbers), ``{id}_tissues`` (1 CSF, 2 grey, 3 white). BIDS-like, as fMRIPrep
writes: ``{id}_T1w`` or ``{id}_desc-preproc_T1w`` with ``{id}_label-GM_probseg``, ``-WM_``, ``-CSF_``, and
``{id}_desc-aparcaseg_dseg`` where it is there. All .nii.gz or .nii.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from scipy import ndimage

from m2diff.errors import BadInput
from m2diff.io.bids import TEMPLATE
from m2diff.shapes import Affine, LabelArray, MaskArray, VolumeArray
from m2diff.simulate import regions

Kind = Literal["labelled", "tissue maps", "mni"]
Paths = tuple[tuple[str, Path], ...]  # (role, file), hashable

_LABELLED = {"t1": "_SS", "labels": "_glm", "tissues": "_tissues"}
_PROBABILITY = {"gm": "_label-GM_probseg", "wm": "_label-WM_probseg", "csf": "_label-CSF_probseg"}
_T1_ENDINGS = ("_desc-preproc_T1w", "_T1w")

LEAST_LABELLED = 0.5
"""The least share of the grey matter that an atlas must give a region: 0.88 and more in the MICCAI 2012 people, a third
at most where another atlas's numbers are taken for one of these by chance. The gaps take the nearest region."""


@dataclass(frozen=True)
class Source:
    """One anatomy that persons are made from. Nothing is read before ``load``."""

    person: str
    kind: Kind
    paths: Paths = ()

    def load(self) -> Tissues:
        """Its images in the codes of the house; the last two are remembered."""
        return _load(self)


@dataclass(frozen=True, eq=False)
class Tissues:
    """A source's brain: T1, region codes and tissue fractions, all (i, j, k) in RAS order, cropped to the brain."""

    t1: VolumeArray
    labels: LabelArray
    gm: VolumeArray
    wm: VolumeArray
    csf: VolumeArray
    affine: Affine


def mni_source() -> Source:
    """The anatomy that nilearn bundles: the MNI ICBM152 2009 template with its grey and white matter maps."""
    return Source(TEMPLATE, "mni")


def find_sources(folder: Path | str) -> list[Source]:
    """The anatomies in a folder, by name; a person whose set of files has a gap is refused, not skipped."""
    folder = Path(folder)
    if not folder.is_dir():
        raise BadInput(f"expected a folder of anatomies, {folder} is none; give a folder with T1 images and labels.")
    files = {_stem(path): path for path in sorted(folder.glob("*.nii*"))}
    found = [_labelled(stem, files) for stem in files if stem.endswith("_SS")]
    found += [_probability_maps(stem, files) for stem in files if stem.endswith("_T1w")]
    sources = sorted({source.person: source for source in found}.values(), key=lambda source: source.person)
    if not sources:
        raise BadInput(
            f"{folder} holds no anatomy: expected {{id}}_SS, _glm, _tissues or {{id}}_T1w, _label-GM_probseg, "
            f"_label-WM_probseg, _label-CSF_probseg as .nii.gz; rename or add them."
        )
    return sources


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _labelled(stem: str, files: dict[str, Path]) -> Source:
    person = stem.removesuffix("_SS")
    return Source(person, "labelled", _complete(person, _LABELLED, files))


def _probability_maps(stem: str, files: dict[str, Path]) -> Source:
    person = next(stem.removesuffix(ending) for ending in _T1_ENDINGS if stem.endswith(ending))
    paths = (("t1", files[stem]), *_complete(person, _PROBABILITY, files))
    labels = files.get(f"{person}_desc-aparcaseg_dseg")
    return Source(person, "tissue maps", (*paths, ("labels", labels)) if labels else paths)


def _complete(person: str, endings: dict[str, str], files: dict[str, Path]) -> Paths:
    missing = [f"{person}{ending}.nii.gz" for ending in endings.values() if person + ending not in files]
    if missing:
        raise BadInput(f"the anatomy {person} is not complete: add {', '.join(missing)} or remove its other files.")
    return tuple((role, files[person + ending]) for role, ending in endings.items())


@lru_cache(maxsize=2)
def _load(source: Source) -> Tissues:
    if source.kind == "mni":
        from m2diff.simulate.mni import template

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


def _load_labelled(source: Source) -> Tissues:
    images, affine = _read(source.paths)
    brain = largest_component(images["tissues"] > 0)
    cut, affine = crop(brain, affine)
    brain, tissue = brain[cut], np.where(brain[cut], images["tissues"][cut], 0)
    codes = _translated(dict(source.paths)["labels"], images["labels"][cut], grey_matter=tissue == 2) * brain
    deep = np.isin(codes, regions.DEEP)  # the nuclei follow their labels: T1 calls the thalamus half white
    tissue = np.where(deep, 2, tissue)
    soften = [ndimage.gaussian_filter((tissue == code).astype(np.float32), 0.5, truncate=3.0) for code in (2, 3, 1)]
    gm, wm, csf = soften
    ventricles = (codes == regions.CSF) & (tissue == 1)
    gm, wm = clear_ventricle_walls(gm, wm, ventricles, spare=_grey(codes))
    t1 = np.where(brain, images["t1"][cut], 0).astype(np.float32)
    return Tissues(t1, complete_labels(codes, gm, wm, csf), gm, wm, csf, affine)


def _load_maps(source: Source) -> Tissues:
    from m2diff.simulate.mni import label_by_seeds

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
    """The labels (i, j, k) of ``path`` in the codes of the house; BadInput where they are of no atlas that is known.

    An atlas that is not known would leave the grey matter without a region, and so without any uptake.
    """
    codes = regions.translate(labels)
    share = float(_grey(codes)[grey_matter].mean()) if grey_matter.any() else 0.0
    if share < LEAST_LABELLED:
        found = [int(label) for label in np.unique(labels) if label != 0]
        some = ", ".join(map(str, found[:5])) + (", ..." if len(found) > 5 else "") if found else "none"
        raise BadInput(
            f"{path} must hold FreeSurfer aparc+aseg or Neuromorphometrics (MICCAI 2012) labels over the grey matter, "
            f"but its labels ({some}) give a region to {share:.0%} of it; give labels of one of these atlases."
        )
    return codes


def _grey(codes: LabelArray) -> MaskArray:
    """Where codes name a region of grey matter."""
    return (codes > 0) & (codes <= regions.OTHER_GREY) & ~np.isin(codes, regions.WHITE_MATTER)


def largest_component(mask: MaskArray) -> MaskArray:
    """The largest connected part of a mask: the brain, without what lies beside it in the field of view."""
    parts, count = ndimage.label(mask)
    if not count:
        raise BadInput("an anatomy's tissue maps hold no brain: expected voxels above 0; check the files.")
    return parts == np.bincount(parts.ravel())[1:].argmax() + 1


def crop(brain: MaskArray, affine: Affine, margin: int = 2) -> tuple[tuple[slice, ...], Affine]:
    """The box around the brain with a margin, and the affine of what it cuts out."""
    box = ndimage.find_objects(brain.astype(np.uint8))[0]
    low = [max(0, side.start - margin) for side in box]
    cut = tuple(slice(start, side.stop + margin) for start, side in zip(low, box, strict=True))
    moved = affine.copy()
    moved[:3, 3] = (affine @ [*low, 1.0])[:3]
    return cut, moved


def grey_nuclei(codes: LabelArray, gm: VolumeArray, wm: VolumeArray) -> tuple[VolumeArray, VolumeArray]:
    """Grey and white fractions in which nuclei and brainstem count as grey: their uptake follows their own label."""
    deep = ndimage.gaussian_filter(np.isin(codes, regions.DEEP).astype(np.float32), 0.7, truncate=3.0)
    return gm + wm * deep, wm * (1 - deep)


def clear_ventricle_walls(
    gm: VolumeArray, wm: VolumeArray, ventricles: MaskArray, spare: MaskArray
) -> tuple[VolumeArray, VolumeArray]:
    """Fractions without the shell of "grey matter" around the ventricles: there CSF and white matter mix to its grey.

    Left in, it would light up as cortex does. ``spare`` marks real grey matter beside the ventricles.
    """
    wall = ndimage.binary_dilation(ventricles, iterations=3) & ~ndimage.binary_dilation(spare)
    return np.where(wall, 0, gm), np.where(wall, wm + gm, wm)


def complete_labels(codes: LabelArray, gm: VolumeArray, wm: VolumeArray, csf: VolumeArray) -> LabelArray:
    """A code for every voxel of the brain that agrees with its main tissue.

    Grey matter that has no region (the gaps of an atlas) takes the nearest one's; white matter takes its side and
    cerebrum or cerebellum from there; the rest is CSF. BadInput where no grey matter has a region.
    """
    fractions = np.stack([gm, wm, csf])
    main = fractions.argmax(0)
    brain = fractions.sum(0) > 0.25
    seeds = _grey(codes) & (main == 0) & brain
    if not seeds.any():
        raise BadInput(
            "an anatomy's labels must name a region of its grey matter, but they name none; give labels that lie on "
            "its tissue maps."
        )
    nearest = ndimage.distance_transform_edt(~seeds, return_distances=False, return_indices=True)
    region = codes[tuple(nearest)]
    white = np.where(np.isin(codes, regions.WHITE_MATTER), codes, _white_of(region))
    out = np.select([main == 0, main == 1], [region, white], regions.CSF)
    return np.where(brain, out, 0).astype(np.int16)


def _white_of(region: LabelArray) -> LabelArray:
    """The white matter that belongs to a grey region: cerebellar or cerebral, on its side (midline: left)."""
    lookup = np.zeros(64, dtype=np.int16)
    for code, name in regions.REGIONS.items():
        left, right = (regions.CEREBELLAR_WHITE_LEFT, regions.CEREBELLAR_WHITE_RIGHT)
        if code not in (*regions.CEREBELLAR_CORTEX, regions.BRAINSTEM, regions.PONS):
            left, right = regions.WHITE_MATTER_LEFT, regions.WHITE_MATTER_RIGHT
        lookup[code] = right if name.endswith("_right") else left
    return lookup[region]
