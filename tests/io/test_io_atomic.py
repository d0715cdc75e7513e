"""Files appear whole or not at all, also when the run is killed."""

import errno
import os
import signal
import subprocess
import sys

import pytest

from m2diff.errors import BadInput
from m2diff.io.atomic import ABANDONED, check_folder, folder, replacing

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


def test_what_a_killed_run_left_is_swept_when_it_is_old_and_only_then(tmp_path):
    for name, age in ((".m2diff-abcdefg1", ABANDONED + 60), (".m2diff-abcdefg2", 60), (".m2diff-mine", 1e6)):
        (tmp_path / name).mkdir()
        (tmp_path / name / "half.nii.gz").write_text("half")
        os.utime(tmp_path / name, (tmp_path.stat().st_mtime - age,) * 2)
    with folder(tmp_path) as temporary:
        (temporary / "a.txt").write_text("whole")
    stay = {".m2diff-abcdefg2", ".m2diff-mine"}
    assert {path.name for path in tmp_path.iterdir()} == {*stay, "a.txt"}
    (tmp_path / ".m2diff-abcdefgh-a.txt").write_text("half")
    os.utime(tmp_path / ".m2diff-abcdefgh-a.txt", (0, 0))
    with replacing(tmp_path / "b.txt") as temporary:  # another file's leftovers are not this one's to sweep
        temporary.write_text("whole")
    assert (tmp_path / ".m2diff-abcdefgh-a.txt").exists()
    with replacing(tmp_path / "a.txt") as temporary:
        temporary.write_text("whole again")
    assert {path.name for path in tmp_path.iterdir()} == {*stay, "a.txt", "b.txt"}


def test_a_refusal_names_the_folder_that_the_user_gave(tmp_path):
    with pytest.raises(BadInput) as caught, folder(tmp_path / "out") as temporary, replacing(temporary / "a.txt"):
        raise OSError(errno.ENOSPC, "full")
    assert str(tmp_path / "out" / "a.txt") in str(caught.value) and ".m2diff-" not in str(caught.value)


def test_a_folder_that_cannot_be_written_into_is_known_beforehand(tmp_path):
    (tmp_path / "file").write_text("mine")
    for out, why in ((tmp_path / "file", "in the way"), (tmp_path / "file" / "deep" / "er", "is a file")):
        with pytest.raises(BadInput, match=why):
            check_folder(out)
    check_folder(tmp_path / "new" / "deep")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
    if os.geteuid() != 0:  # nothing is closed to root
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(BadInput, match="permissions"):
            check_folder(tmp_path / "closed" / "out")
