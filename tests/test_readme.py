"""What the README and the tour say is there is there, and their commands are understood."""

import inspect
import re
import shlex
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import typer

import m2diff
from m2diff.cli.app import app
from m2diff.cli.bids import parser

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [README, *(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))]
COMMANDS = [line.split("#")[0].strip() for line in README.splitlines() if re.match(r"    m2diff \w", line)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_is_understood(command):
    """Verb, places, options and values are parsed as they stand there; nothing is run."""
    _, verb, *words = shlex.split(command)
    known = typer.main.get_command(app).commands[verb]
    context = known.make_context(verb, words)
    if verb == "bids":  # another parser reads what follows
        parser().parse_args(context.args)


def test_the_python_of_the_readme_runs(tmp_path, monkeypatch):
    """By the real function, but with a filter and without the MRI."""
    (block,) = re.findall(r"```python\n(.*?)```", README, flags=re.S)
    inside = sum(axis**2 for axis in np.ogrid[-1:1:24j, -1:1:26j, -1:1:22j]) < 0.6
    nib.Nifti1Image(9000 * inside.astype(np.float32), np.diag([6.0, 6, 6, 1])).to_filename(tmp_path / "pet.nii.gz")
    real = m2diff.enhance

    def quick(*given, **options):
        asked = inspect.signature(real).bind(*given, **options)
        return real(asked.args[0], weights="gaussian", **asked.kwargs)

    monkeypatch.setattr(m2diff, "enhance", quick)
    monkeypatch.chdir(tmp_path)
    told: dict = {}
    exec(block, told)  # the README's own lines, and nothing else
    assert told["enhanced"].volume.data.shape == inside.shape


def test_every_file_that_the_pages_name_exists():
    for page in PAGES:
        for name in re.findall(r"`((?:docs|reproduce|tests|examples|src)/[\w./-]*\w)/?`", page):
            assert (ROOT / name).exists(), name


def test_every_module_of_the_tour_exists():
    """A name without a folder lies in the folder of the name before it in its row, or in the package itself."""
    package, found = ROOT / "src" / "m2diff", 0
    for row in (ROOT / "docs" / "tour.md").read_text().splitlines():
        folder = Path()
        for name in re.findall(r"`([a-z_/0-9]+\.py)`", row if row.startswith("|") else ""):
            folder = Path(name).parent if "/" in name else folder
            assert any((package / place / Path(name).name).exists() for place in (folder, Path())), name
            found += 1
    assert 30 < found <= 40


def test_both_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^    make (\w+)", README, flags=re.M):
        assert re.search(rf"^{target}:", makefile, flags=re.M)
