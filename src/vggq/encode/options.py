"""How a source is to be packed. Pure: the hook and the command line both come through here."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Final

from ..errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MAX_BITS: Final = 8
LAYOUTS: Final = ("torch",)


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one model.

    Attributes:
        bits: 1 to 8: a quantized tensor gets a codebook of at most 2^bits centroids.
        layout: "torch" gives tensors of a Keras source the names and the order of axes that
            torch wants; None leaves them as they are.
        key: the table of a torch checkpoint that is the state dict, where that is not clear.
        keep: patterns (as of `fnmatch`, case sensitive) of final names to store exactly.

    Raises:
        OptionError: values out of range; all of them at once.

    """

    bits: int = 8
    layout: str | None = None
    key: str | None = None
    keep: Sequence[str] = ()

    def __post_init__(self) -> None:
        if problems := find_problems(asdict(self)):
            raise OptionError(problems)

    def to_table(self) -> dict[str, Any]:
        """As a manifest keeps them."""
        return {"bits": self.bits, "layout": self.layout, "key": self.key, "keep": list(self.keep)}

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Options:
        """From a manifest's or a configuration's table; absent keys take their defaults.

        Raises:
            OptionError: there is an unknown key or a value out of range; all of them at once.

        """
        unknown = [(key, "unknown option") for key in table if key not in OPTION_NAMES]
        if problems := unknown + find_problems(table):
            raise OptionError(problems)
        values: dict[str, Any] = {**table, "keep": tuple(table.get("keep", ()))}
        return cls(**values)


OPTION_NAMES: Final = tuple(field.name for field in fields(Options))


def find_problems(table: Mapping[str, object]) -> list[tuple[str, str]]:
    """Pairs of an option and what is wrong with it; keys that are no options are passed over."""
    tests = {
        "bits": _bits_problem,
        "layout": _layout_problem,
        "key": _key_problem,
        "keep": _keep_problem,
    }
    found = ((key, test(table[key])) for key, test in tests.items() if key in table)
    return [(key, problem) for key, problem in found if problem]


def _bits_problem(value: object) -> str | None:
    if type(value) is int and 1 <= value <= MAX_BITS:
        return None
    return f"expected an integer from 1 to {MAX_BITS}, found {value!r}"


def _layout_problem(value: object) -> str | None:
    if value is None or value in LAYOUTS:
        return None
    return f"expected {' or '.join(map(repr, LAYOUTS))}, found {value!r}"


def _key_problem(value: object) -> str | None:
    if value is None or (isinstance(value, str) and value):
        return None
    return f"expected the name of a table, found {value!r}"


def _keep_problem(value: object) -> str | None:
    if isinstance(value, list | tuple) and all(isinstance(item, str) and item for item in value):
        return None
    return f"expected a list of patterns such as '*.bias', found {value!r}"
