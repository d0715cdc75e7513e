"""Files appear whole or not at all, also when the run is killed."""

import errno
import signal
import subprocess
import sys

import pytest

from m2diff.errors import BadInput
from m2diff.io.atomic import folder, replacing

KILLED = """
import os, signal, sys
from pathlib import Path
from m2diff.io.atomic import folder, replacing
out = Path(sys.argv[1])
with replacing(out / "a.txt") as a, folder(out) as inside:
    a.write_text("half")
    (inside / "b.txt").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_appears_when_its_block_ends(tmp_path):
    with replacing(tmp_path / "new" / "a.txt") as temporary:
        temporary.write_text("whole")
        assert not (tmp_path / "new" / "a.txt").exists()
    assert (tmp_path / "new" / "a.txt").read_text() == "whole"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.txt"]


def test_a_failing_block_keeps_the_old_file(tmp_path):
    (tmp_path / "a.txt").write_text("old")
    with pytest.raises(RuntimeError), replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert (tmp_path / "a.txt").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_several_files_appear_together_beside_what_was_there(tmp_path):
    (tmp_path / "other.txt").write_text("stays")
    with folder(tmp_path) as inside:
        (inside / "a.txt").write_text("a")
        (inside / "deep").mkdir()
        (inside / "deep" / "b.txt").write_text("b")
        assert not (tmp_path / "a.txt").exists()
    assert sorted(p.relative_to(tmp_path).as_posix() for p in tmp_path.rglob("*") if p.is_file()) == [
        "a.txt",
        "deep/b.txt",
        "other.txt",
    ]
    assert len(list(tmp_path.iterdir())) == 3


def test_a_failing_folder_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), folder(tmp_path / "out") as inside:
        (inside / "a.txt").write_text("a")
        raise RuntimeError
    assert not list((tmp_path / "out").iterdir())


def test_a_killed_run_leaves_nothing_under_the_final_names(tmp_path):
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "a.txt").exists()
    assert not (tmp_path / "b.txt").exists()
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]


@pytest.mark.parametrize(("number", "why"), [(errno.ENOSPC, "disk is full"), (errno.EROFS, "read-only")])
def test_a_refusing_disk_is_one_sentence(tmp_path, number, why):
    with pytest.raises(BadInput, match=why) as caught, replacing(tmp_path / "a.txt"):
        raise OSError(number, "refused")
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_the_folders_place_is_one_sentence(tmp_path):
    (tmp_path / "out").write_text("a file")
    with pytest.raises(BadInput, match="in the way"), folder(tmp_path / "out"):
        pass
    with pytest.raises(BadInput, match="folder"), replacing(tmp_path / "out" / "a.txt"):
        pass


def test_what_is_in_the_way_of_one_file_stops_all(tmp_path):
    (tmp_path / "b.txt").mkdir()
    (tmp_path / "c").write_text("mine")
    for name, sentence in (("b.txt", r"b\.txt: a folder of that name is in the way"), ("c/d.txt", "in the way")):
        with pytest.raises(BadInput, match=sentence), folder(tmp_path) as temporary:
            (temporary / name).parent.mkdir(exist_ok=True)
            for each in ("a.txt", name):
                (temporary / each).write_text("new")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["b.txt", "c"]


def test_other_trouble_is_not_disguised(tmp_path):
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "a.txt"):
        (tmp_path / "none.txt").read_text()


def test_parts_of_an_earlier_result_go_and_other_files_stay(tmp_path):
    for name in ("a/1.dcm", "a/2.dcm", "a/mine.txt", "b.nii"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("old")
    with folder(tmp_path, replaces=("a/?.dcm", "b.*")) as temporary:
        (temporary / "a").mkdir()
        (temporary / "a" / "1.dcm").write_text("new")
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"1.dcm", "mine.txt"}
    assert (tmp_path / "a" / "1.dcm").read_text() == "new"
