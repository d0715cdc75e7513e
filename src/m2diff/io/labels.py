"""Label volumes: their numbers, and the names of their regions."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from m2diff.errors import BadInput
from m2diff.shapes import LabelArray
from m2diff.volume import Volume


def as_labels(volume: Volume) -> LabelArray:
    """A label volume as integers; BadInput for values between them (a label volume resampled as an image)."""
    codes = np.rint(volume.data)
    if np.abs(codes - volume.data).max() > 1e-3:
        raise BadInput("A label volume holds whole numbers, but this one has fractions; resample it by nearest voxel.")
    return codes.astype(np.int32)


def load_names(path: Path | str) -> dict[int, str]:
    """Region names by label, from a JSON object {label: name} or a table (.tsv, .csv).

    Tables follow BIDS (columns ``index`` and ``name``) or hold the number first and the name second.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        names = json.loads(text) if path.suffix == ".json" else _table_of_names(text, path.suffix)
        return {int(label): str(name) for label, name in names.items()}
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(f"{path.name} must list region numbers and names (.json, .tsv or .csv): {error}.") from error


def _table_of_names(text: str, suffix: str) -> dict[str, str]:
    separator = "," if suffix == ".csv" else "\t"
    rows = [[cell.strip() for cell in line.split(separator)] for line in text.splitlines() if line.strip()]
    header = [cell.lower() for cell in rows[0]] if rows else []
    number, name = (header.index("index"), header.index("name")) if {"index", "name"} <= set(header) else (0, 1)
    return {row[number]: row[name] for row in rows if len(row) > max(number, name) and row[number].isdecimal()}
