"""What the README and the tour say is there is there, and their commands are understood."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from m2diff.cli import app

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [README, *(page.read_text() for page in sorted((ROOT / "docs").glob("*.md")))]
COMMANDS = [line.split("#")[0].strip() for line in README.splitlines() if re.match(r"    m2diff \w", line)]


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_of_the_readme_has_only_options_that_exist(command):
    _, verb, *words = shlex.split(command)
    text = CliRunner().invoke(app, [verb, "--help"], env={"COLUMNS": "200"}).output
    assert text.lower().startswith("usage")
    for option in (word for word in words if word.startswith("--")):
        assert re.search(rf"{option}\b", text), f"{verb} has no {option}"


def test_every_file_that_the_pages_name_exists():
    for page in PAGES:
        for name in re.findall(r"`((?:docs|reproduce|tests|examples|src)/[\w./-]*\w)/?`", page):
            assert (ROOT / name).exists(), name


def test_every_module_of_the_tour_exists():
    tour = (ROOT / "docs" / "tour.md").read_text()
    for name in re.findall(r"`([a-z]+/[a-z]+\.py)`", tour):
        assert (ROOT / "src" / "m2diff" / name).exists(), name


def test_both_make_targets_of_the_readme_exist():
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^    make (\w+)", README, flags=re.M):
        assert re.search(rf"^{target}:", makefile, flags=re.M)
