"""The regions: 69 classes that the network tells apart, and the 79 regions that tables report.

Classes are sideless, after the Neuromorphometrics protocol; a region is a group of classes on one side. Fine classes
serve the balance (``trust.balance``), groups the reader: a gyrus group is found more surely than its parts.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from m2diff.shapes import LabelArray

OUTSIDE, FLUID, VENTRICLES = 0, 1, 2

GROUPS: dict[str, dict[str, tuple[int, int]]] = {
    # region: {class: (right, left) Neuromorphometrics numbers}; the same number twice: the atlas knows no side
    "superior_frontal_gyrus": {
        "superior frontal": (190, 191),
        "medial frontal": (152, 153),
        "frontal pole": (120, 121),
    },
    "middle_frontal_gyrus": {"middle frontal": (142, 143)},
    "inferior_frontal_gyrus": {
        "opercular": (162, 163),
        "orbital": (164, 165),
        "triangular": (204, 205),
        "frontal operculum": (118, 119),
    },
    "orbitofrontal_cortex": {
        "anterior orbital": (104, 105),
        "rectus": (124, 125),
        "lateral orbital": (136, 137),
        "medial frontal cortex": (140, 141),
        "medial orbital": (146, 147),
        "posterior orbital": (178, 179),
    },
    "precentral_gyrus": {"precentral": (182, 183)},
    "supplementary_motor_cortex": {"supplementary motor": (192, 193)},
    "paracentral_lobule": {"medial postcentral": (148, 149), "medial precentral": (150, 151)},
    "postcentral_gyrus": {"postcentral": (176, 177), "central operculum": (112, 113)},
    "superior_parietal_lobule": {"superior parietal": (198, 199)},
    "supramarginal_gyrus": {"supramarginal": (194, 195), "parietal operculum": (174, 175)},
    "angular_gyrus": {"angular": (106, 107)},
    "precuneus": {"precuneus": (168, 169)},
    "superior_temporal_gyrus": {
        "superior temporal": (200, 201),
        "transverse temporal": (206, 207),
        "planum temporale": (184, 185),
        "planum polare": (180, 181),
    },
    "middle_temporal_gyrus": {"middle temporal": (154, 155)},
    "inferior_temporal_gyrus": {"inferior temporal": (132, 133)},
    "temporal_pole": {"temporal pole": (202, 203)},
    "entorhinal_cortex": {"entorhinal": (116, 117)},
    "parahippocampal_gyrus": {"parahippocampal": (170, 171)},
    "fusiform_gyrus": {"fusiform": (122, 123), "occipital fusiform": (160, 161)},
    "lateral_occipital_cortex": {
        "inferior occipital": (128, 129),
        "middle occipital": (144, 145),
        "superior occipital": (196, 197),
        "occipital pole": (156, 157),
    },
    "cuneus": {"cuneus": (114, 115), "supracalcarine": (188, 189)},
    "calcarine_cortex": {"calcarine": (108, 109)},
    "lingual_gyrus": {"lingual": (134, 135)},
    "anterior_cingulate_cortex": {"anterior cingulate": (100, 101), "subcallosal": (186, 187)},
    "middle_cingulate_cortex": {"middle cingulate": (138, 139)},
    "posterior_cingulate_cortex": {"posterior cingulate": (166, 167)},
    "insula": {"anterior insula": (102, 103), "posterior insula": (172, 173)},
    "hippocampus": {"hippocampus": (47, 48)},
    "amygdala": {"amygdala": (31, 32)},
    "caudate": {"caudate": (36, 37)},
    "putamen": {"putamen": (57, 58)},
    "globus_pallidus": {"pallidum": (55, 56)},
    "thalamus": {"thalamus": (59, 60)},
    "ventral_diencephalon": {"ventral diencephalon": (61, 62)},
    "basal_forebrain": {"accumbens": (23, 30), "basal forebrain": (76, 75)},
    "cerebellar_cortex": {"cerebellar cortex": (38, 39)},
    "cerebellar_white_matter": {"cerebellar white matter": (40, 41)},
    "cerebral_white_matter": {"cerebral white matter": (44, 45)},
    "cerebellar_vermis": {"vermis I-V": (71, 71), "vermis VI-VII": (72, 72), "vermis VIII-X": (73, 73)},
    "brainstem": {"brain stem": (35, 35)},
}
PONS = "pons"
"""The middle of the brain stem's height, cut from it by geometry: a reference for SUVR."""
SAME = {
    33: 31,
    34: 32,
    130: 104,
    131: 105,
    158: 146,
    159: 147,
    126: 162,
    127: 163,
    110: 166,
    111: 167,
    66: 102,
    65: 103,
}
SAME |= {68: 112, 67: 113, 53: 44, 54: 45, 42: 44, 43: 45}
"""Numbers that some people of the atlas lack: counted as their neighbours."""
VENTRICLE_NUMBERS, FLUID_NUMBERS = (4, 11, 15, 49, 50, 51, 52), (46, 63, 64, 69)


@dataclass(frozen=True)
class FineClass:
    """A class of the network, whose number is its place in ``classes()``, and its Neuromorphometrics numbers."""

    name: str
    group: str | None
    right: int
    left: int

    @property
    def sided(self) -> bool:
        """Whether the class has a left and a right part."""
        return self.right != self.left


@lru_cache(maxsize=1)
def classes() -> tuple[FineClass, ...]:
    """All classes: outside, fluid, ventricles, then those of ``GROUPS`` in order."""
    first = [FineClass(name, None, 0, 0) for name in ("outside", "fluid", "ventricles")]
    named = [FineClass(name, group, *numbers) for group, members in GROUPS.items() for name, numbers in members.items()]
    return (*first, *named)


@lru_cache(maxsize=1)
def regions() -> dict[int, str]:
    """Number -> name of the reported regions: odd left, even right for the paired; the last are sideless."""
    sided = [group for group, members in GROUPS.items() if all(r != left for r, left in members.values())]
    names = [f"{group}_{side}" for group in sided for side in ("left", "right")]
    return dict(enumerate([*names, *(group for group in GROUPS if group not in sided), PONS], start=1))


def from_neuromorphometrics(labels: np.ndarray) -> tuple[LabelArray, np.ndarray]:
    """Classes and sides (-1 left, 1 right, 0 none) of Neuromorphometrics labels (i, j, k); unknown ones are outside."""
    table, sides = np.zeros(256, dtype=np.int16), np.zeros(256, dtype=np.int8)
    for number, each in enumerate(classes()):
        if each.group is not None:
            table[[each.right, each.left]] = number
            if each.sided:
                sides[each.right], sides[each.left] = 1, -1
    table[list(VENTRICLE_NUMBERS)], table[list(FLUID_NUMBERS)] = VENTRICLES, FLUID
    for number, as_number in SAME.items():
        table[number], sides[number] = table[as_number], sides[as_number]
    index = np.clip(np.rint(labels), 0, 255).astype(np.int64)
    return table[index], sides[index]


DEEP = {
    *("hippocampus", "amygdala", "caudate", "putamen", "globus_pallidus", "thalamus", "ventral_diencephalon"),
    *("basal_forebrain", "brainstem", PONS),
}


def kind(group: str | None) -> str:
    """The kind of tissue of a group: cortex, deep (nuclei and brain stem), white, cerebellum or fluid."""
    if group is None:
        return "fluid"
    if group.startswith("cerebellar"):
        return "cerebellum"
    return "white" if "white" in group else "deep" if group in DEEP else "cortex"


REFERENCES: dict[str, tuple[str, ...]] = {
    "cerebellar-grey": ("cerebellar_cortex",),
    "whole-cerebellum": ("cerebellar_cortex", "cerebellar_white_matter", "cerebellar_vermis"),
    "pons": (PONS,),
}
"""What SUVR may be relative to, by the groups that make it up."""
META_ROI = (
    ("angular_gyrus",),
    ("posterior_cingulate_cortex", "precuneus"),
    ("middle_temporal_gyrus", "inferior_temporal_gyrus"),
)
"""The Alzheimer meta-region: the mean of three parts, after Landau et al. 2011 (there, spheres within these)."""
