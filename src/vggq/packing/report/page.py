"""A page of headline figures, charts and one table, in one file that asks for nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...errors import TargetError
from ..atomic_file import atomic_write
from ..optional import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .charts import Chart

_HERE: Final = Path(__file__).parent
_SUFFIXES: Final = (".html", ".htm")


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell of a table: its text, and the number that it is sorted by."""

    text: str
    value: float | None = None

    @property
    def key(self) -> str:
        """As JavaScript reads it; nothing for text."""
        if self.value is None or math.isnan(self.value):
            return ""
        return repr(self.value).replace("inf", "Infinity")


@dataclass(frozen=True, slots=True)
class Row:
    """A row: its name, its other cells, and drawings that its button shows."""

    name: str
    cells: Sequence[Cell]
    drawings: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table that can be sorted and filtered.

    Attributes:
        caption: what its rows are, in the plural.
        headings: of the names, and of each cell of a row.
        rows: in the order that it has at first.
        note: what else is to be said of it.

    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[Row]
    note: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """All that a page shows.

    Attributes:
        title: its heading.
        lead: a sentence under it.
        figures: pairs of a label and a figure.
        table: under the charts.
        charts: one under the other.
        limit: bytes that there are, the most that there may be, and both in words.

    """

    title: str
    lead: str
    figures: Sequence[tuple[str, str]]
    table: Table
    charts: Sequence[Chart] = field(default=())
    limit: tuple[int, int, str] | None = None


def check_page(target: Path) -> None:
    """Refuse what cannot be written, before the work begins.

    Raises:
        TargetError: it does not end in .html, or is a folder.
        MissingDependencyError: a library of the `report` extra is not installed.

    """
    if target.suffix.lower() not in _SUFFIXES:
        raise TargetError(f"{target} does not end in {_SUFFIXES[0]}")
    if target.is_dir():
        raise TargetError(f"{target} is a directory")
    for module in ("jinja2", "matplotlib"):
        require(module, "report")


def write_page(page: Page, target: Path) -> None:
    """Write a page, or replace one.

    Raises:
        TargetError: it cannot be written.
        MissingDependencyError: jinja2 is not installed.

    """
    jinja2 = require("jinja2", "report")
    loader = jinja2.FileSystemLoader(_HERE)
    undefined = jinja2.StrictUndefined
    environment = jinja2.Environment(
        loader=loader, autoescape=True, undefined=undefined, trim_blocks=True, lstrip_blocks=True
    )
    style, script = ((_HERE / name).read_text("utf-8") for name in ("page.css", "page.js"))
    text = environment.get_template("page.html").render(page=page, style=style, script=script)
    with atomic_write(target) as file:
        file.write(text.encode())
