"""The page of a comparison of methods: tables, curves and the same slices, complete in itself.

It shows what it is given: every number arrives as text (``TableCell``), with the value to sort by. Style, sorting and
the way of writing are those of ``page``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from m2diff.reporting.page import KeyNumber, environment, flat


@dataclass(frozen=True)
class TableCell:
    """One number as it is read: its text, lines below it (interval, p ...), the value that sorts, how it stands out."""

    text: str
    below: tuple[str, ...] = ()
    value: float | str = ""
    mark: str = ""
    """``best``, ``good`` (in favour of this line), ``bad`` (against it), or nothing."""


@dataclass(frozen=True)
class TableLine:
    """One line of a table; ``kind``: ``ours`` is highlighted, ``reference`` is grey."""

    name: str
    cells: tuple[TableCell, ...]
    kind: str = ""


@dataclass(frozen=True)
class PageTable:
    """One table: its heading, its columns, its lines; folded in unless ``open``."""

    title: str
    columns: tuple[str, ...]
    lines: tuple[TableLine, ...]
    open: bool = True


@dataclass(frozen=True)
class PagePicture:
    """A PNG (base64) with its title and what it shows."""

    title: str
    png: str
    caption: str
    open: bool = True


@dataclass(frozen=True)
class Section:
    """A part of the page: what it asks, what is seen, what to bear in mind."""

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
    """Write the page to ``path``: a file that is there is replaced only by a whole new one."""
    from m2diff.io.atomic import replacing

    text = comparison_html(page)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def comparison_html(page: ComparisonPage) -> str:
    """The page's HTML."""
    return environment().get_template("benchmark.html.jinja").render(page=page, settings=flat(page.settings))
