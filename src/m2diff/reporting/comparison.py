"""The self-contained page of a comparison of methods. Every number arrives as text, with the value to sort by."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m2diff.reporting.page import KeyNumber, environment, flat


@dataclass(frozen=True)
class TableCell:
    """One cell: its text, lines below it (interval, p ...), the value that sorts, its mark."""

    text: str
    below: tuple[str, ...] = ()
    value: float | str = ""
    mark: str = ""  # ``best``, ``good`` (in favour of this line), ``bad`` (against it), or nothing


@dataclass(frozen=True)
class TableLine:
    """One row; ``kind``: ``ours`` is highlighted, ``reference`` is grey."""

    name: str
    cells: tuple[TableCell, ...]
    kind: str = ""


@dataclass(frozen=True)
class PageTable:
    """One table: title, columns, rows; folded unless ``open``."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[TableLine, ...]
    open: bool = True


@dataclass(frozen=True)
class PagePicture:
    """A PNG (base64) with title and caption."""

    title: str
    png: str
    caption: str
    open: bool = True


@dataclass(frozen=True)
class Section:
    """A section of the page: title, introduction, tables, pictures, note."""

    title: str
    intro: str
    tables: tuple[PageTable, ...] = ()
    pictures: tuple[PagePicture, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class ComparisonPage:
    """Everything on the page."""

    title: str
    what: str
    warnings: tuple[str, ...] = ()
    key_numbers: tuple[KeyNumber, ...] = ()
    sections: tuple[Section, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)


def write_comparison(path: Path, page: ComparisonPage) -> Path:
    """Write the page to ``path``, whole or not at all."""
    from m2diff.io.atomic import replacing

    text = comparison_html(page)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def comparison_html(page: ComparisonPage) -> str:
    """The page's HTML."""
    return environment().get_template("benchmark.html.jinja").render(page=page, settings=flat(page.settings))
