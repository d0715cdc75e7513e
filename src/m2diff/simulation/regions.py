"""The atlas: 52 regions with real FDG statistics, white matter and CSF; and how other atlases map to it.

Codes 1 to 52 are the columns of the table of 537 normals (fdg-neurosegmenter, MIT licence): groups of FreeSurfer's
Desikan-Killiany labels, odd codes on the left. 53 to 60 are added: white matter, other grey matter, CSF.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files

import numpy as np

from m2diff.shapes import LabelArray

WHITE_MATTER_LEFT, WHITE_MATTER_RIGHT = 53, 54
CEREBELLAR_WHITE_LEFT, CEREBELLAR_WHITE_RIGHT = 55, 56
WHITE_MATTER = (WHITE_MATTER_LEFT, WHITE_MATTER_RIGHT, CEREBELLAR_WHITE_LEFT, CEREBELLAR_WHITE_RIGHT)
OTHER_GREY, CSF = 57, 60


@dataclass(frozen=True, eq=False)
class Normals:
    """Regional FDG SUVR of healthy people: names (52), mean (52,), covariance (52, 52)."""

    names: tuple[str, ...]
    mean: np.ndarray
    covariance: np.ndarray


@lru_cache(maxsize=1)
def normals() -> Normals:
    """The statistics of 537 cognitively normal people (see ``tables/fdg_normals.json`` for source and licence)."""
    table = json.loads(files("m2diff.simulation").joinpath("tables/fdg_normals.json").read_text(encoding="utf-8"))
    return Normals(tuple(table["names"]), np.array(table["mean"]), np.array(table["covariance"]))


REGIONS: dict[int, str] = {
    **dict(enumerate(normals().names, start=1)),
    WHITE_MATTER_LEFT: "cerebral_white_matter_left",
    WHITE_MATTER_RIGHT: "cerebral_white_matter_right",
    CEREBELLAR_WHITE_LEFT: "cerebellar_white_matter_left",
    CEREBELLAR_WHITE_RIGHT: "cerebellar_white_matter_right",
    OTHER_GREY: "other_grey_matter",
    CSF: "csf",
}
"""Code -> name. Codes 1 to 52 are the table's columns."""

CODES: dict[str, int] = {name: code for code, name in REGIONS.items()}

BRAINSTEM, PONS = CODES["brainstem_wo_pons"], CODES["pons"]
CEREBELLAR_CORTEX = (CODES["cerebellar_cortex_left"], CODES["cerebellar_cortex_right"])
DEEP = tuple(range(CODES["thalamus_left"], 53))
"""Nuclei and brainstem: uptake follows their label, since T1 segmentations call some of their voxels white matter."""


def both(*stems: str) -> tuple[int, ...]:
    """The codes of both sides of the named regions."""
    return tuple(CODES[f"{stem}_{side}"] for stem in stems for side in ("left", "right"))


def _paired(tables: Iterable[Mapping[str, Iterable[tuple[int, int]]]]) -> dict[int, int]:
    """Label -> code of tables that give (left, right) labels by a region's name without its side."""
    return {
        label: CODES[f"{stem}_{side}"]
        for table in tables
        for stem, pairs in table.items()
        for pair in pairs
        for label, side in zip(pair, ("left", "right"), strict=True)
    }


# Neuromorphometrics (BrainCOLOR) labels of the MICCAI 2012 multi-atlas challenge: cortex in pairs, even on the right,
# odd = even + 1 on the left. The table has Desikan-Killiany borders: each gyrus goes where most of it lies.
_BRAINCOLOR_CORTEX: dict[str, tuple[int, ...]] = {
    "superior_frontal_gyrus": (152, 190, 192),
    "orbitofrontal_cortex": (104, 124, 130, 136, 140, 146, 158, 178),
    "dorsolateral_frontal_cortex": (118, 120, 126, 142, 162, 164, 182, 204),
    "paracentral_lobule": (148, 150),
    "postcentral_gyrus": (112, 176),
    "dorsolateral_parietal_cortex": (106, 174, 194, 198),
    "precuneus": (168,),
    "anterior_cingulate_cortex": (100, 186),
    "posterior_cingulate_cortex": (110, 138, 166),  # the front of 138 and the foot of 166 are cut off below
    "lateral_temporal_cortex": (132, 154, 180, 184, 200, 202, 206),
    "mesial_temporal_cortex": (116, 122, 170),
    "lateral_occipital_cortex": (128, 144, 156, 160, 196),
    "pericalcarine_cortex": (108,),
    "lingual_gyrus": (134,),
    "cuneus": (114, 188),
    "insula": (102, 172),
}
_BRAINCOLOR_DEEP: dict[str, tuple[tuple[int, int], ...]] = {  # (left, right)
    "insula": ((65, 66),),
    "postcentral_gyrus": ((67, 68),),
    "cerebellar_cortex": ((39, 38),),
    "cerebellar_white_matter": ((41, 40),),
    "cerebral_white_matter": ((43, 42), (45, 44), (54, 53)),
    "amygdala": ((32, 31), (34, 33)),
    "caudate": ((37, 36),),
    "hippocampus": ((48, 47),),
    "globus_pallidus": ((56, 55),),
    "putamen": ((58, 57),),
    "thalamus": ((60, 59),),
    "ventral_diencephalon": ((62, 61),),
}
_BRAINCOLOR_SINGLE = {
    **dict.fromkeys((4, 11, 15, 46, 49, 50, 51, 52, 63, 64), CSF),  # ventricles, CSF, vessels
    **dict.fromkeys((23, 30, 69, 70, 75, 76), OTHER_GREY),  # accumbens, optic chiasm, basal forebrain
    35: BRAINSTEM,
    **dict.fromkeys((71, 72, 73), CEREBELLAR_CORTEX[0]),  # the vermis has no side: cut at the midline below
}
BRAINCOLOR: dict[int, int] = _BRAINCOLOR_SINGLE | _paired(
    ({stem: tuple((even + 1, even) for even in evens) for stem, evens in _BRAINCOLOR_CORTEX.items()}, _BRAINCOLOR_DEEP)
)
"""Neuromorphometrics label -> code of the house."""

# FreeSurfer's aparc+aseg: cortex 1000 + n left, 2000 + n right; after the table's own correspondence list, with
# bankssts (1) and the temporal pole (33) joined to the lateral temporal and the frontal pole (32) to the frontal.
APARC: dict[str, tuple[int, ...]] = {
    "superior_frontal_gyrus": (28,),
    "orbitofrontal_cortex": (12, 14),
    "dorsolateral_frontal_cortex": (3, 18, 19, 20, 24, 27, 32),
    "paracentral_lobule": (17,),
    "postcentral_gyrus": (22,),
    "dorsolateral_parietal_cortex": (8, 29, 31),
    "precuneus": (25,),
    "anterior_cingulate_cortex": (2, 26),
    "posterior_cingulate_cortex": (23,),
    "isthmus_cingulate_cortex": (10,),
    "lateral_temporal_cortex": (1, 9, 15, 30, 33, 34),
    "mesial_temporal_cortex": (6, 7, 16),
    "lateral_occipital_cortex": (11,),
    "pericalcarine_cortex": (21,),
    "lingual_gyrus": (13,),
    "cuneus": (5,),
    "insula": (35,),
}
_ASEG: dict[str, tuple[tuple[int, int], ...]] = {  # (left, right)
    "cerebral_white_matter": ((2, 41), (78, 79), (5001, 5002)),
    "cerebellar_white_matter": ((7, 46),),
    "cerebellar_cortex": ((8, 47),),
    "thalamus": ((10, 49), (9, 48)),
    "caudate": ((11, 50),),
    "putamen": ((12, 51),),
    "globus_pallidus": ((13, 52),),
    "hippocampus": ((17, 53),),
    "amygdala": ((18, 54),),
    "ventral_diencephalon": ((28, 60),),
}
_ASEG_SINGLE = {
    **dict.fromkeys((4, 5, 14, 15, 24, 30, 31, 43, 44, 62, 63, 72, 80), CSF),
    **dict.fromkeys((26, 58, 85), OTHER_GREY),
    **dict.fromkeys((77, 251, 252, 253, 254, 255), WHITE_MATTER_LEFT),  # sideless white matter, cut at the midline
    16: BRAINSTEM,
}


FREESURFER: dict[int, int] = _ASEG_SINGLE | _paired(
    ({stem: tuple((1000 + n, 2000 + n) for n in numbers) for stem, numbers in APARC.items()}, _ASEG)
)
"""FreeSurfer aparc+aseg label -> code of the house."""


def translate(labels: np.ndarray) -> LabelArray:
    """Convert labels of either atlas, (i, j, k) in RAS order, to codes of ``REGIONS``; 0 where there is none.

    Labels from 1000 on mean FreeSurfer; ``sources`` checks that the atlas is known. Parts that an atlas does not
    separate are cut by geometry: pons, isthmus, midline.
    """
    labels = np.asarray(labels).astype(np.int32)
    freesurfer = int(labels.max()) >= 1000
    table = FREESURFER if freesurfer else BRAINCOLOR
    beyond = max(table) + 1  # labels from here on are in no table
    lookup = np.zeros(beyond + 1, dtype=np.int16)
    lookup[list(table)] = list(table.values())
    out = lookup[labels.clip(0, beyond)]
    sideless = (77, 251, 252, 253, 254, 255) if freesurfer else (71, 72, 73)
    _cut_midline(out, np.isin(labels, sideless))
    if not freesurfer:
        _cut_cingulate(out, labels)
    cut_pons(out)
    return out


def _cut_midline(codes: LabelArray, where: np.ndarray) -> None:
    """Give the right half of sideless voxels the right-hand code (left + 1), in place; i grows to the right."""
    if where.any():
        lefts = [c for c, name in REGIONS.items() if name.endswith("_left") and c not in CEREBELLAR_CORTEX]
        rights = [code + 1 for code in lefts]
        left, right = (np.nonzero(np.isin(codes, side) & ~where)[0] for side in (lefts, rights))
        midline = (left.mean() + right.mean()) / 2
        i = np.arange(codes.shape[0])[:, None, None]
        codes[where & (i > midline)] += 1


def _cut_cingulate(codes: LabelArray, labels: np.ndarray) -> None:
    """Cut what Desikan-Killiany separates and BrainCOLOR does not, in place.

    The front half of the middle cingulate is anterior; the posterior below and behind the splenium is the isthmus.
    """
    for middle, posterior, side in ((139, 167, "left"), (138, 166, "right")):
        _recode_part(codes, labels == middle, 1, 0.5, 1.0, CODES[f"anterior_cingulate_cortex_{side}"])
        _recode_part(codes, labels == posterior, 2, 0.0, 0.45, CODES[f"isthmus_cingulate_cortex_{side}"])


def cut_pons(codes: LabelArray) -> None:
    """Call the middle of the brainstem's height the pons, in place (midbrain above, medulla below)."""
    _recode_part(codes, codes == BRAINSTEM, 2, 0.35, 0.75, PONS)


def _recode_part(codes: LabelArray, where: np.ndarray, axis: int, start: float, stop: float, code: int) -> None:
    """Give ``code`` to the voxels of ``where`` between two fractions of its extent along ``axis``, in place."""
    index = np.nonzero(where)
    if len(index[0]):
        low, high = np.percentile(index[axis], [1, 99])
        fraction = (index[axis] - low) / max(high - low, 1)
        inside = (fraction >= start) & (fraction <= stop)
        codes[tuple(axis_index[inside] for axis_index in index)] = code
