"""The figures of `restore.py`: their types, their statistics, and the JSON file that keeps them."""

from __future__ import annotations

import json
import statistics
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from restore_readers import TOUCHED

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


@dataclass(frozen=True)
class Row:
    """The figures of one reader in one table.

    Attributes:
        reader: the call, as the table names it.
        seconds: the time of every run.
        memory: the peak of the memory that the load took, in bytes; None if it is not known.
        result: the bytes of the restored tensors; None if they were not counted.
        file: the bytes of the file that was read.
        mapped: whether the file was still mapped after the reader had returned; None if unknown.
        equal: whether the bits equal those of `vggq.load`; None if they were not compared.

    """

    reader: str
    seconds: list[float]
    memory: int | None = None
    result: int | None = None
    file: int | None = None
    mapped: bool | None = None
    equal: bool | None = None

    @property
    def median(self) -> float:
        """The median time in seconds."""
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """The first and the third quartile of the time in seconds."""
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high

    @property
    def spread(self) -> float:
        """The interquartile range in seconds."""
        low, high = self.quartiles
        return high - low

    @property
    def is_lazy(self) -> bool:
        """Whether the reader returned before it had read the values."""
        return bool(self.mapped) and not self.reader.endswith(TOUCHED)

    @property
    def overhead(self) -> int | None:
        """The peak of memory above the restored tensors, in bytes."""
        if self.memory is None or self.result is None:
            return None
        return self.memory - self.result


@dataclass(frozen=True)
class Table:
    """Readers that were measured alternately, on the same cores.

    Attributes:
        part: the part of the benchmark.
        title: the model and the setting; unique among the tables of a machine.
        base: the reader to which the others are compared.
        rows: the figures of each reader.

    """

    part: str
    title: str
    base: str
    rows: list[Row]

    def row(self, reader: str) -> Row | None:
        """Return the row of a reader, or None if it was not measured."""
        return next((row for row in self.rows if row.reader == reader), None)

    def ratio(self, reader: str) -> float | None:
        """Return the median of a reader over that of the base, or None if one is missing."""
        row, base = self.row(reader), self.row(self.base)
        return row.median / base.median if row and base else None


@dataclass
class Results:
    """The figures of one machine.

    Attributes:
        machine: its description, by the names of its properties.
        tables: the tables that were measured on it.

    """

    machine: dict[str, str]
    tables: list[Table] = field(default_factory=list)

    def table(self, title: str) -> Table | None:
        """Return the table of that title, or None if it was not measured."""
        return next((table for table in self.tables if table.title == title), None)

    def replace_tables(self, tables: Iterable[Table]) -> None:
        """Add tables, in place of earlier ones of the same title."""
        by_title = {table.title: table for table in (*self.tables, *tables)}
        self.tables = list(by_title.values())

    def write(self, path: Path) -> None:
        """Write the figures as JSON."""
        content = {"machine": self.machine, "tables": [_table_to_json(t) for t in self.tables]}
        path.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Results:
        """Read the figures of a JSON file."""
        content = json.loads(path.read_text(encoding="utf-8"))
        return cls(content["machine"], [_table_from_json(table) for table in content["tables"]])


def is_slower(row: Row, other: Row) -> bool:
    """Whether a reader is slower than another by more than the interquartile range of both."""
    return row.median - other.median > max(row.spread, other.spread)


def _table_to_json(table: Table) -> dict[str, Any]:
    rows = [{k: v for k, v in asdict(row).items() if v is not None} for row in table.rows]
    for row in rows:
        row["seconds"] = [round(seconds, 6) for seconds in row["seconds"]]
    return {"part": table.part, "title": table.title, "base": table.base, "rows": rows}


def _table_from_json(content: dict[str, Any]) -> Table:
    return Table(**{**content, "rows": [Row(**row) for row in content["rows"]]})
