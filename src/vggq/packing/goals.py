"""What may be asked of a tensor: a width, a fidelity, or its share of a size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from .sizes import parse_size

MAX_BITS: Final = 8
MAX_SQNR: Final = 120
"""In dB; the float32 of a restored weight is not much nearer to it than that."""
AIMS: Final = ("relative", "overall")
GOALS: Final = ("bits", "sqnr", "size")


@dataclass(frozen=True, slots=True)
class Goal:
    """One of a width and a fidelity in dB; or neither, for a share of the file's size."""

    bits: int | None = None
    sqnr: float | None = None


@dataclass(frozen=True, slots=True)
class Override:
    """Another goal for the tensors whose names a pattern matches."""

    match: str
    goal: Goal

    def to_table(self) -> dict[str, Any]:
        """As a configuration has it."""
        goals = {"bits": self.goal.bits, "sqnr": self.goal.sqnr}
        return {"match": self.match} | {k: v for k, v in goals.items() if v is not None}


def overrides(tables: Sequence[Any]) -> tuple[Override, ...]:
    """From sound tables, or from overrides."""
    return tuple(
        table
        if isinstance(table, Override)
        else Override(table["match"], Goal(table.get("bits"), table.get("sqnr")))
        for table in tables
    )


def as_bytes(size: str | int | None) -> int | None:
    """A sound size in bytes."""
    return None if size is None else parse_size(size)


def bits_problem(value: object) -> str | None:
    """What is wrong with a width, if anything."""
    if value is None or (type(value) is int and 1 <= value <= MAX_BITS):
        return None
    return f"expected an integer from 1 to {MAX_BITS}, found {value!r}"


def sqnr_problem(value: object) -> str | None:
    """What is wrong with a fidelity, if anything."""
    if value is None or (type(value) in (int, float) and 0 < value <= MAX_SQNR):  # type: ignore[operator]
        return None
    return f"expected decibels above 0 and up to {MAX_SQNR}, found {value!r}"


def size_problem(value: object) -> str | None:
    """What is wrong with a size, if anything."""
    if value is None:
        return None
    try:
        parse_size(value)  # type: ignore[arg-type]
    except ValueError as error:
        return str(error)
    return None


def aim_problem(value: object) -> str | None:
    """What is wrong with an aim, if anything."""
    if value in AIMS:
        return None
    return f"expected {' or '.join(map(repr, AIMS))}, found {value!r}"


def dependent_problem(value: object) -> str | None:
    """What is wrong with whether levels are to depend on each other, if anything."""
    return None if isinstance(value, bool) else f"expected true or false, found {value!r}"


def tensors_problem(value: object) -> str | None:
    """What is wrong with a list of overrides, if anything."""
    expected = 'expected a list of tables such as { match = "conv1.*", bits = 8 }'
    if not isinstance(value, list | tuple):
        return f"{expected}, found {value!r}"
    found = (_override_problem(item) for item in value)
    return next((f"{expected}, found {problem}" for problem in found if problem), None)


def _override_problem(item: object) -> str | None:
    if isinstance(item, Override):
        return None
    if not isinstance(item, Mapping) or not isinstance(item.get("match"), str):
        return repr(item)
    goals = set(item) - {"match"}
    if len(goals) != 1 or not goals <= {"bits", "sqnr"}:
        return f"{item!r}, which has not one of bits and sqnr"
    problem = bits_problem(item.get("bits")) or sqnr_problem(item.get("sqnr"))
    return f"{item!r}: {problem}" if problem else None


def conflicts(table: Mapping[str, object]) -> list[tuple[str, str]]:
    """The options that cannot be asked for together."""
    given = [name for name in GOALS if table.get(name) is not None]
    if len(given) > 1:
        return [(given[1], f"one of {', '.join(GOALS)} is expected, found {' and '.join(given)}")]
    if table.get("aim", AIMS[0]) != AIMS[0] and "size" not in given:
        return [("aim", "it is for a size only")]
    if table.get("weights") is not None and "size" not in given:
        return [("weights", "they are for a size only")]
    return []
