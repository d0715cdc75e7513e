"""Imports run downhill: no folder imports what stands below it, and each world keeps to itself."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "src" / "m2diff"
GROUND = {"errors", "shapes", "volume", "batch", "verbs"}
MAY_IMPORT = {
    "io": set(),
    "simulate": {"io"},
    "prepare": {"io"},
    "data": {"io", "prepare"},
    "nn": set(),
    "diffusion": set(),
    "families": {"nn", "diffusion", "io"},
    "train": {"data", "nn", "diffusion", "families", "io"},
    "enhance": {"data", "nn", "diffusion", "families", "io", "prepare"},
    "evaluate": {"io", "prepare", "data", "diffusion", "enhance"},
    "report": {"evaluate", "enhance", "io"},
    "benchmark": {"train", "enhance", "evaluate", "report", "families", "data", "io"},  # a leaf, as the verbs are
    "layouts": {"io", "prepare", "lower_dose"},  # beside the verbs: other people's data sets, and the way out of them
}
TOP = {
    "bids_app",
    "console",
    "demo",
    "lower_dose",
    "models",
    "cli",
    "cli_benchmark",
    "cli_enhance",
    "cli_evaluate",
    "cli_models",
    "cli_options",
    "__init__",
    "__main__",
}  # may import everything


def imported(path: Path) -> set[str]:
    """The stages of m2diff that a module imports anywhere in its body."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("m2diff"):
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("m2diff.")}
    return found


@pytest.mark.parametrize("stage", sorted(MAY_IMPORT))
def test_a_stage_imports_only_what_stands_uphill(stage):
    allowed = MAY_IMPORT[stage] | GROUND | {stage}
    modules = list((PACKAGE / stage).rglob("*.py"))
    assert modules
    for module in modules:
        assert imported(module) <= allowed, f"{module.relative_to(PACKAGE)} imports {imported(module) - allowed}"


def test_every_stage_has_its_rule():
    stages = {p.name for p in PACKAGE.iterdir() if p.is_dir() and any(p.rglob("*.py"))}
    assert stages == set(MAY_IMPORT)
    assert {p.stem for p in PACKAGE.glob("*.py")} == GROUND | TOP


def test_the_maths_of_diffusion_knows_neither_pet_nor_mri():
    for module in (PACKAGE / "diffusion").glob("*.py"):
        words = set(module.read_text().lower().replace("_", " ").replace(".", " ").split())
        assert not words & {"pet", "mri", "dose", "scan"}, module.name


def test_importing_the_package_or_asking_for_help_loads_nothing_heavy():
    script = (
        "import sys, m2diff, m2diff.cli\n"
        "heavy = {'torch', 'nibabel', 'SimpleITK', 'nilearn', 'matplotlib', 'skimage', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
