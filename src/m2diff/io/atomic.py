"""Write outputs whole or not at all: under a temporary name in their folder, renamed when complete."""

from __future__ import annotations

import errno
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from m2diff.errors import BadInput

ABANDONED = 24 * 3600
"""Age (s) at which a temporary file is a killed run's: writing takes seconds, filling a folder hours at most."""

_WHY = {
    errno.ENOSPC: "the disk is full; free some space or choose another folder",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another folder",
    errno.EFBIG: "the file would be larger than the file system or a limit allows; choose another folder",
    errno.EACCES: "the folder may not be written to; choose another or change its permissions",
    errno.EPERM: "the folder may not be written to; choose another or change its permissions",
    errno.EROFS: "the file system is read-only; choose another folder",
    errno.EISDIR: "a folder of that name is in the way; remove it or choose another name",
    errno.ENOTDIR: "a part of the path is a file, not a folder; choose another folder",
    errno.EEXIST: "a file of that name is in the way; remove it or choose another name",
    errno.ENAMETOOLONG: "the name is too long; choose a shorter one",
}


def check_folder(out: Path | str) -> None:
    """Refuse a folder that cannot be written, before long work is done for it; creates nothing."""
    out = Path(out)
    with _explained(out):
        there = next(path for path in (out, *out.absolute().parents) if path.exists())
        if not there.is_dir():
            raise OSError(errno.ENOTDIR if there != out else errno.EEXIST, "not a folder")
        if not os.access(there, os.W_OK | os.X_OK):
            raise OSError(errno.EACCES, "not writable")


@contextmanager
def replacing(path: Path | str) -> Iterator[Path]:
    """A temporary path beside ``path``, renamed to ``path`` when the block ends well, removed otherwise.

    It ends as ``path`` does, since writers choose a format by the ending. BadInput if the folder cannot be written.
    """
    path = Path(path)
    with _explained(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent, f"-{path.name}")
        handle, name = tempfile.mkstemp(prefix=".m2diff-", suffix=f"-{path.name}", dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            _settle(temporary)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)


@contextmanager
def folder(out: Path | str, *, replaces: Sequence[str] = ()) -> Iterator[Path]:
    """A temporary folder beside ``out``; when the block ends well, its files move into ``out``, replacing namesakes.

    Other files in ``out`` stay, except parts of an earlier result that match a pattern of ``replaces`` (below ``out``).
    """
    out = Path(out)
    with _explained(out):
        out.mkdir(parents=True, exist_ok=True)
        _sweep(out, "")
        temporary = Path(tempfile.mkdtemp(prefix=".m2diff-", dir=out))
        try:
            yield temporary
            files = sorted(path for path in temporary.rglob("*") if path.is_file())
            for file in files:
                _settle(file)
            places = {file: out / file.relative_to(temporary) for file in files}
            for final in places.values():  # find obstacles before the first file moves
                final.parent.mkdir(parents=True, exist_ok=True)
                if final.is_dir():
                    raise BadInput(f"Could not write {final}: {_WHY[errno.EISDIR]}.")
            for file, final in places.items():
                file.replace(final)
            for stale in {path for pattern in replaces for path in out.glob(pattern)} - set(places.values()):
                stale.unlink(missing_ok=True)
        except BadInput as refusal:  # name the user's folder, not the temporary one
            raise BadInput(str(refusal).replace(str(temporary), str(out))) from refusal
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _sweep(folder: Path, suffix: str) -> None:
    """Remove temporary names with this suffix that a killed run left and nobody touched for a day."""
    made = re.compile(rf"\.m2diff-[a-z0-9_]{{8}}{re.escape(suffix)}")  # as ``tempfile`` makes them
    for left in folder.glob(".m2diff-*"):
        with suppress(OSError):  # another run may have finished or swept it in between
            old = time.time() - left.stat().st_mtime > ABANDONED
            if old and made.fullmatch(left.name) and left.is_dir() is not bool(suffix):
                shutil.rmtree(left) if left.is_dir() else left.unlink()


def _settle(file: Path) -> None:
    """Flush ``file`` to disk and give it the permissions of an ordinary new file."""
    with file.open("rb") as handle:
        os.fsync(handle.fileno())
    mask = os.umask(0)
    os.umask(mask)
    file.chmod(0o666 & ~mask)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn the operating system's refusal to write into one BadInput; everything else passes through."""
    try:
        yield
    except OSError as trouble:
        why = _WHY.get(trouble.errno or 0)
        if why is None:
            raise
        raise BadInput(f"Could not write {path}: {why}.") from trouble
