"""`import m2diff` gives the functions: listed, explained, typed, and each taking paths or volumes."""

import inspect
import subprocess
import sys
import typing
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import m2diff

FUNCTIONS = sorted(name for name in m2diff.__all__ if name.islower() and not name.startswith("_"))


@pytest.fixture
def head(tmp_path) -> Path:
    """A ball with activity, as a file."""
    inside = sum(axis**2 for axis in np.ogrid[-1:1:40j, -1:1:44j, -1:1:36j]) < 0.6
    noise = np.random.default_rng(0).normal(0, 300, inside.shape)
    nib.Nifti1Image((9000 * inside + noise * inside).astype(np.float32), np.diag([4.0, 4, 4, 1])).to_filename(
        tmp_path / "pet.nii.gz"
    )
    return tmp_path / "pet.nii.gz"


def test_dir_lists_the_public_names_and_every_one_is_there():
    assert dir(m2diff) == sorted(m2diff.__all__)
    assert {"simulate", "prepare", "train", "enhance", "evaluate", "report", "benchmark", "lower_dose", "info"} <= set(
        FUNCTIONS
    )
    with pytest.raises(AttributeError, match="no attribute 'surprise'"):
        m2diff.surprise  # noqa: B018


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_a_function_with_a_text_and_typed_arguments(name):
    function = getattr(m2diff, name)
    assert inspect.isfunction(function) and function.__doc__ and function.__name__ == name
    parameters = inspect.signature(function).parameters.values()
    assert all(parameter.annotation is not inspect.Parameter.empty for parameter in parameters)


def test_a_function_stays_a_function_after_its_folder_was_imported():
    script = "import m2diff.enhancement.run, inspect, m2diff; assert inspect.isfunction(m2diff.enhance)"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_paths_and_volumes_give_the_same(head, tmp_path):
    from m2diff.io.load import load_image

    volume = load_image(head)
    one, other = m2diff.prepare(head, drf=20), m2diff.prepare(volume, drf=20)
    assert np.array_equal(one.low, other.low) and one.drf == 20
    scores = [m2diff.evaluate(image, head, mask=head).scores for image in (str(head), volume)]
    assert scores[0] == scores[1]
    made = [m2diff.enhance(image, weights="gaussian", drf=20) for image in (head, volume)]
    assert np.array_equal(made[0].volume.data, made[1].volume.data)
    assert m2diff.report(made[0], tmp_path / "a.html").read_text().startswith("<!DOCTYPE html>")
    assert m2diff.report(head, tmp_path / "b.html", mri=volume).is_file()
    assert made[0].save(tmp_path / "out").image.is_file()
    (about,) = m2diff.info(head)
    assert about.shape == volume.shape
    assert list(m2diff.lower_dose(head, 20)) == [20.0]


def test_a_type_checker_sees_the_functions(tmp_path):
    (tmp_path / "use.py").write_text("import m2diff\nreveal_type(m2diff.enhance('pet.nii.gz').save('out').image)\n")
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "use.py"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "pathlib.Path" in done.stdout, done.stdout
    assert typing.TYPE_CHECKING is False and (Path(m2diff.__file__).parent / "py.typed").is_file()
