"""m2diff: a low-dose brain PET scan and the same person's MRI in, the standard-dose scan and its report out.

The public verbs, in the order in which a scan meets them::

    m2diff.simulate(recipe, out, subjects)     a cohort, when no scan may be shared
    m2diff.prepare(pet, mri)                   scans onto the working grid, with the way back
    m2diff.train(preset, data, out)            weights from a cohort
    m2diff.enhance(pet, mri, weights=...)      the standard-dose scan and how sure it is
    m2diff.evaluate(image, reference, ...)     scores inside a fixed brain mask
    m2diff.report(path, inputs)                one page that a person can look at
    m2diff.benchmark(data, out, ...)           all methods on equal terms: tables and a page
    m2diff.models()                            the shipped weights with their cards and numbers, and the filters

Each is loaded when it is first used, so that ``import m2diff`` stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["benchmark", "enhance", "evaluate", "models", "prepare", "report", "simulate", "train"]


def __getattr__(name: str) -> Any:
    """Load a verb (a package that can be called, see ``verbs``) at its first use."""
    if name not in __all__:
        raise AttributeError(f"module 'm2diff' has no attribute {name!r}")
    return import_module(f"m2diff.{name}")
