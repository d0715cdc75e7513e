"""What a command says: sentences and paths for people, or one JSON object a line for programs (`--json`).

    {"event": "made", "path": "out/pet_desc-enhanced_pet.nii.gz"}
    {"event": "note", "message": "The dose of this scan is not known, ..."}
    {"event": "error", "message": "..."}
    {"event": "result", ...}

Paths and results go to stdout, notes and errors to stderr; as JSON all go to stdout, so that one pipe holds them.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from m2diff.errors import Notice


@dataclass
class Console:
    """Where a command's output goes."""

    as_json: bool = False

    def made(self, path: Path | str) -> None:
        """A file or folder that is now there."""
        self._say("made", str(path), path=str(path))

    def note(self, message: str) -> None:
        """Something that the user should know."""
        self._say("note", f"Note: {message}", err=True, message=message)

    def error(self, message: str) -> None:
        """Why it stopped."""
        sentence = " ".join(message.split())
        self._say("error", f"m2diff: {sentence}", err=True, message=sentence)

    def result(self, text: str, **values: Any) -> None:
        """An answer: ``text`` for people, ``values`` for programs."""
        self._say("result", text, **values)

    def _say(self, event: str, text: str, *, err: bool = False, **values: Any) -> None:
        if self.as_json:
            sys.stdout.write(json.dumps({"event": event, **values}) + "\n")
            sys.stdout.flush()
        else:
            # A file's name may not be valid text, and must not stop the rest.
            (sys.stderr if err else sys.stdout).write(text.encode("utf-8", "backslashreplace").decode() + "\n")


console = Console()
"""The one that the commands use; their ``--json`` switches it."""


@contextmanager
def told() -> Iterator[None]:
    """Show a ``Notice`` of the library as a note of the console; other warnings stay as they are."""

    def show(message: Warning | str, category: type[Warning], *place: Any, **options: Any) -> None:
        if issubclass(category, Notice):
            console.note(str(message))
        else:
            before(message, category, *place, **options)

    with warnings.catch_warnings():
        before = warnings.showwarning
        warnings.showwarning = show  # type: ignore[assignment]
        yield
