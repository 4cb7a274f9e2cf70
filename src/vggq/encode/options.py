"""How a source is to be packed. Pure: the hook and the command line both come through here."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Final

from .._checks import is_text
from .._require import require
from ..errors import OptionError
from ..sources import Reading

MAX_BITS: Final = 8
LAYOUTS: Final = ("torch",)

# As of RFC 3987, without the characters that it shuts out.
_URL: Final = re.compile(r"https?://[^\s<>\"{}|\\^`]+")


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one model.

    Attributes:
        bits: 1 to 8: a quantized tensor gets a codebook of at most 2^bits centroids.
        layout: "torch" gives tensors of a Keras source the names and the order of axes that
            torch wants; None leaves them as they are.
        key: the table of a torch checkpoint that is the state dict, where that is not clear.
        drop: patterns (as of `fnmatch`, case sensitive) of tensors to leave out.
        rename: pairs of a regular expression and what replaces it in every name, in order.
        keep: patterns of final names to store exactly.
        license: the model's, an SPDX expression; it and the next two change no tensor.
        description: what the model is, in any words.
        url: where it comes from.

    Raises:
        OptionError: values out of range; all of them at once.
        MissingDependencyError: a license is given, and packaging is not installed to check it.

    """

    bits: int = 8
    layout: str | None = None
    key: str | None = None
    drop: Sequence[str] = ()
    rename: Sequence[tuple[str, str]] = ()
    keep: Sequence[str] = ()
    license: str | None = None
    description: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        if problems := find_problems(asdict(self)):
            raise OptionError(problems)

    def to_table(self) -> dict[str, Any]:
        """As a manifest keeps them."""
        return {
            "bits": self.bits,
            "layout": self.layout,
            "key": self.key,
            "drop": list(self.drop),
            "rename": [list(pair) for pair in self.rename],
            "keep": list(self.keep),
            "license": self.license,
            "description": self.description,
            "url": self.url,
        }

    @property
    def reading(self) -> Reading:
        """What of them is for the source's reader."""
        return Reading(self.layout, self.key, self.drop, self.rename)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Options:
        """From a manifest's or a configuration's table; absent keys take their defaults.

        Raises:
            OptionError: there is an unknown key or a value out of range; all of them at once.

        """
        unknown = [(key, "unknown option") for key in table if key not in OPTION_NAMES]
        if problems := unknown + find_problems(table):
            raise OptionError(problems)
        values: dict[str, Any] = dict(table)
        for name in ("drop", "keep"):
            values[name] = tuple(table.get(name, ()))
        return cls(**values | {"rename": as_pairs(table.get("rename", ()))})


PROVENANCE: Final = ("license", "description", "url")
"""The options that say something of the model, and ask for nothing."""

OPTION_NAMES: Final = tuple(field.name for field in fields(Options))


def find_problems(table: Mapping[str, object]) -> list[tuple[str, str]]:
    """Pairs of an option and what is wrong with it; keys that are no options are passed over."""
    tests = {
        "bits": _bits_problem,
        "layout": _layout_problem,
        "key": _key_problem,
        "drop": _patterns_problem,
        "rename": _rename_problem,
        "keep": _patterns_problem,
        "license": _license_problem,
        "description": _description_problem,
        "url": _url_problem,
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


def as_pairs(rename: Any) -> tuple[Any, ...]:
    """A table of replacements, or a list of pairs, as pairs; their order counts."""
    items = rename.items() if isinstance(rename, Mapping) else rename
    return tuple(tuple(pair) for pair in items)


def _rename_problem(value: object) -> str | None:
    expected = "expected a table of regular expressions and what replaces them"
    if not isinstance(value, Mapping | list | tuple):
        return f"{expected}, found {value!r}"
    pairs = list(value.items()) if isinstance(value, Mapping) else list(value)
    for pair in pairs:
        if not isinstance(pair, list | tuple) or [type(item) for item in pair] != [str, str]:
            return f"{expected}, found {pair!r}"
        try:
            # Replacing nothing in nothing checks the replacement's own groups as well.
            re.sub(pair[0] + "|", pair[1], "")
        except (re.error, IndexError) as error:
            return f"{pair[0]!r} = {pair[1]!r} is not a replacement: {error}"
    return None


def _patterns_problem(value: object) -> str | None:
    if isinstance(value, list | tuple) and all(isinstance(item, str) and item for item in value):
        return None
    return f"expected a list of patterns such as '*.bias', found {value!r}"


def _license_problem(value: object) -> str | None:
    if value is None:
        return None
    expected = "expected an SPDX expression such as 'CC-BY-4.0' or 'LicenseRef-My-Terms'"
    if not isinstance(value, str) or not value:
        return f"{expected}, found {value!r}"
    licenses = require("packaging.licenses", "build")
    try:
        canonical = licenses.canonicalize_license_expression(value)
    except licenses.InvalidLicenseExpression:
        return f"{expected}, found {value!r}"
    return None if canonical == value else f"{value!r} is written {canonical!r}"


def _description_problem(value: object) -> str | None:
    if value is None or (is_text(value) and value):
        return None
    return f"expected a text, found {value!r}"


def _url_problem(value: object) -> str | None:
    if value is None or (isinstance(value, str) and _URL.fullmatch(value)):
        return None
    return f"expected a URL such as 'https://example.org/model', found {value!r}"
