"""OUT/rows.jsonl: everything measured, a JSON object a line, one line a method, scan and dose.

A line is added whole and at once; a line that a killed run cut off is dropped when the file is opened again. What a
line depends on (weights, options, scan, what is measured, a device that is no CPU) is hashed into its ``id``, so that
nothing stale is taken.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

Row = dict[str, Any]


def row_id(parts: Mapping[str, Any]) -> str:
    """The name of a row that depends on ``parts`` alone."""
    return hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


class RowsFile:
    """The file and the rows in it, by id."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: dict[str, Row] = {}
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            self._read()

    def __contains__(self, name: object) -> bool:
        return name in self.rows

    def add(self, row: Row) -> None:
        """Append one row, down to the disk."""
        with self.path.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(row) + "\n")
            lines.flush()
            os.fsync(lines.fileno())
        self.rows[row["id"]] = row

    def _read(self) -> None:
        """Take all whole lines; cut off what follows the last of them."""
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]
        if len(whole) < len(content):
            os.truncate(self.path, len(whole))
        for line in whole.decode("utf-8", errors="replace").splitlines():
            try:
                row = json.loads(line)
            except ValueError:
                continue
            self.rows[row["id"]] = row
