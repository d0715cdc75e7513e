"""Imports run downhill: no folder imports what stands below it, and each world keeps to itself."""

import ast
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import dicom_files

PACKAGE = Path(__file__).parents[1] / "src" / "m2diff"
GROUND = {"errors", "shapes", "volume", "batch"}
MAY_IMPORT = {
    "io": set(),
    "simulation": {"io", "preparation"},
    "preparation": {"io"},
    "data": {"io", "preparation"},
    "nn": set(),
    "diffusion": set(),
    "families": {"nn", "diffusion", "io"},
    "parcellation": {"nn", "families", "preparation", "io"},
    "trust": {"parcellation", "preparation"},
    "training": {"data", "nn", "diffusion", "families", "io"},
    "enhancement": {"data", "nn", "diffusion", "families", "io", "preparation", "parcellation", "trust"},
    "evaluation": {"io", "preparation", "data", "diffusion", "enhancement"},
    "reporting": {"evaluation", "enhancement", "io", "preparation", "trust"},
    "benchmarking": {"training", "enhancement", "evaluation", "reporting", "families", "data", "io", "nn"},
    "layouts": {"io", "preparation", "simulation"},  # other people's data sets, and the way out of them
    "bids_app": {"io", "preparation", "enhancement", "reporting"},
}
TOP = {"__init__", "__main__", "demo"}  # these, and cli, may import everything


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
    assert stages == set(MAY_IMPORT) | {"cli"}
    assert {p.stem for p in PACKAGE.glob("*.py")} == GROUND | TOP


def test_no_two_modules_import_each_other():
    """A circle, even one that a function closes late, means that the two are one module or that a third is missing."""
    names = {module_name(path): path for path in PACKAGE.rglob("*.py")}
    graph = {name: imported_modules(path, set(names)) for name, path in names.items()}
    reached = {name: set(found) for name, found in graph.items()}
    grown = True
    while grown:
        grown = False
        for found in reached.values():
            more = set().union(*(reached[name] for name in found)) - found if found else set()
            grown, _ = grown or bool(more), found.update(more)
    assert not [name for name, found in reached.items() if name in found]


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported_modules(path: Path, known: set[str]) -> set[str]:
    """The modules of m2diff that a file imports anywhere but for type checking."""
    found = set()
    tree = ast.parse(path.read_text())
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            node.body = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("m2diff"):
            parts = [f"{node.module}.{alias.name}" for alias in node.names]
            found |= {part if part in known else node.module for part in parts}
    return found & known


def test_the_maths_of_diffusion_knows_neither_pet_nor_mri():
    for module in (PACKAGE / "diffusion").glob("*.py"):
        words = set(module.read_text().lower().replace("_", " ").replace(".", " ").split())
        assert not words & {"pet", "mri", "dose", "scan"}, module.name


def test_importing_the_package_or_asking_for_help_loads_nothing_heavy():
    script = (
        "import sys, m2diff, m2diff.cli.app\n"
        "heavy = {'torch', 'nibabel', 'SimpleITK', 'nilearn', 'matplotlib', 'skimage', 'scipy'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize("verb", ["models", "models m2diff-base", "info {}/scan.nii.gz", "info {}/dicom"])
def test_what_only_reads_headers_loads_no_network(verb, tmp_path):
    """``m2diff models`` and ``info`` answer within a second; PyTorch alone takes longer."""
    image = nib.Nifti1Image(np.random.default_rng(0).random((20, 20, 20), np.float32), np.diag([2.0, 2, 2, 1]))
    image.to_filename(tmp_path / "scan.nii.gz")
    dicom_files.write_series(tmp_path / "dicom", dicom_files.head(), dicom_files.pet_header())
    script = (
        "import sys\n"
        "from m2diff.cli.app import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "heavy = {'torch', 'SimpleITK', 'nilearn', 'matplotlib', 'skimage', 'scipy.ndimage', 'scipy.interpolate'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", script, *(word.format(tmp_path) for word in verb.split())], check=True)
