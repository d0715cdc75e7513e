"""m2diff: a low-dose brain PET scan and the same person's MRI in, the standard-dose scan and its report out.

The functions, in the order in which a scan meets them; each takes paths or ``Volume`` images::

    m2diff.simulate("cohort", 10, drf=[4, 20, 100])              a cohort, when no scan may be shared
    m2diff.lower_dose("pet.nii.gz", [20])                        low-dose counterparts of a standard-dose scan
    m2diff.info("pet.nii.gz")                                    what the tool understands of an input
    m2diff.prepare("pet.nii.gz", "t1.nii.gz")                    both on the working grid, with the way back
    m2diff.train("m2diff-base", "cohort", "run")                 weights from a cohort
    m2diff.enhance("pet.nii.gz", "t1.nii.gz", drf=20)            the standard-dose scan
    m2diff.evaluate("image.nii.gz", "reference.nii.gz", mask=m)  scores inside a fixed brain mask
    m2diff.report(enhanced, "report.html")                       one page that a person can look at
    m2diff.benchmark("cohort", "out", methods=[...])             all methods on equal terms: tables and a page
    m2diff.models()                                              the shipped weights, their numbers, and the filters

``drf`` is the dose reduction factor: 20 is a scan with one twentieth of the standard scan's counts. Refused input
raises ``BadInput``. Each function is loaded at its first use, so that ``import m2diff`` is quick.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from m2diff.benchmarking.run import benchmark
    from m2diff.enhancement.enhanced import Enhanced
    from m2diff.enhancement.models import models
    from m2diff.enhancement.run import enhance
    from m2diff.errors import BadInput
    from m2diff.evaluation.study import evaluate
    from m2diff.io.info import info
    from m2diff.preparation.pair import prepare
    from m2diff.reporting.page import report
    from m2diff.simulation.cohort import simulate
    from m2diff.simulation.lower_dose import lower_dose
    from m2diff.training.loop import train
    from m2diff.volume import Volume

__all__ = [
    "BadInput",
    "Enhanced",
    "Volume",
    "__version__",
    "benchmark",
    "enhance",
    "evaluate",
    "info",
    "lower_dose",
    "models",
    "prepare",
    "report",
    "simulate",
    "train",
]

_HOMES = {
    "BadInput": "errors",
    "Enhanced": "enhancement.enhanced",
    "Volume": "volume",
    "benchmark": "benchmarking.run",
    "enhance": "enhancement.run",
    "evaluate": "evaluation.study",
    "info": "io.info",
    "lower_dose": "simulation.lower_dose",
    "models": "enhancement.models",
    "prepare": "preparation.pair",
    "report": "reporting.page",
    "simulate": "simulation.cohort",
    "train": "training.loop",
}

try:
    __version__ = version("m2diff")
except PackageNotFoundError:  # run from a source folder that was never installed
    __version__ = "unknown"


def __getattr__(name: str) -> Any:
    """Load a public name from the module where it lives, at its first use."""
    if name not in _HOMES:
        raise AttributeError(f"module 'm2diff' has no attribute {name!r}")
    found = getattr(import_module(f"m2diff.{_HOMES[name]}"), name)
    globals()[name] = found
    return found


def __dir__() -> list[str]:
    return sorted(__all__)
