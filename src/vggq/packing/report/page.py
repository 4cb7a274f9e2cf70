"""An HTML page of headline facts, charts and one table, in a single file that loads no others."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...errors import TargetError
from ..atomic_file import atomic_write
from ..atomic_folder import check_folder
from ..optional import require

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .charts import Chart

_FOLDER: Final = Path(__file__).parent
_SUFFIXES: Final = (".html", ".htm")


@dataclass(frozen=True, slots=True)
class PageCell:
    """A cell of a table: its text, and the number that it is sorted by, if any."""

    text: str
    value: float | None = None

    @property
    def sort_key(self) -> str:
        """The number as JavaScript parses it; empty for text and for NaN."""
        if self.value is None or math.isnan(self.value):
            return ""
        return repr(self.value).replace("inf", "Infinity")


@dataclass(frozen=True, slots=True)
class PageRow:
    """A row of a table.

    Attributes:
        name: the first cell.
        cells: the other cells.
        histograms: pairs of a caption and an SVG, which the name opens.

    """

    name: str
    cells: Sequence[PageCell]
    histograms: Sequence[tuple[str, str]] = ()


@dataclass(frozen=True, slots=True)
class PageTable:
    """A table that readers can sort and filter.

    Attributes:
        caption: the rows in one word, in the plural.
        headings: the heading of the names, and of each other cell.
        rows: the rows in their initial order.
        note: a sentence above the table.
        descending: the heading of the column by which the rows are sorted, the largest value first;
            empty if they have another order.

    """

    caption: str
    headings: Sequence[str]
    rows: Sequence[PageRow]
    note: str = ""
    descending: str = ""


@dataclass(frozen=True, slots=True)
class SizeBar:
    """A bar that shows a size next to its limit, both in bytes, with a label."""

    size: int
    limit: int
    label: str


@dataclass(frozen=True, slots=True)
class Page:
    """The content of a page.

    Attributes:
        title: the heading.
        lead: a sentence below the heading.
        facts: pairs of a label and a value.
        table: the table, below the charts.
        charts: the charts, from top to bottom.
        size_bar: the size of the packed file next to the limit of a package index.
        files: the table of the files of a model, without sorting, filter and histograms.

    """

    title: str
    lead: str
    facts: Sequence[tuple[str, str]]
    table: PageTable
    charts: Sequence[Chart] = field(default=())
    size_bar: SizeBar | None = None
    files: PageTable | None = None


def check_page(target: Path) -> None:
    """Reject a page that cannot be written, before the work begins.

    Raises:
        TargetError: the target does not end in .html or .htm, is a directory, or its folder cannot
            be written or created.
        MissingDependencyError: a library of the `report` extra is not installed.

    """
    if target.suffix.lower() not in _SUFFIXES:
        raise TargetError(f"expected a name that ends in {_SUFFIXES[0]}", path=target)
    if target.is_dir():
        raise TargetError("a directory, not a file", path=target)
    check_folder(target.parent)
    for module in ("jinja2", "matplotlib"):
        require(module, "report")


def write_page(page: Page, target: Path) -> None:
    """Write or replace an HTML file.

    Raises:
        TargetError: the file cannot be written.
        MissingDependencyError: jinja2 is not installed.

    """
    jinja2 = require("jinja2", "report")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    style, script = ((_FOLDER / name).read_text("utf-8") for name in ("page.css", "page.js"))
    text = environment.get_template("page.html").render(page=page, style=style, script=script)
    with atomic_write(target) as file:
        file.write(text.encode())
