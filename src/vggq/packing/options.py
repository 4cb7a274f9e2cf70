"""How a source is to be packed. Pure: the hook and the command line both come through here."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .._fields import is_text
from ..errors import OptionError
from .goals import (
    AIMS,
    MAX_BITS,
    Goal,
    Override,
    aim_problem,
    as_bytes,
    bits_problem,
    conflicts,
    dependent_problem,
    overrides,
    size_problem,
    sqnr_problem,
    tensors_problem,
)
from .importance import Weights, read_weights, weights_problem
from .optional import require
from .sources import ReadOptions, matches

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable

    from numpy.typing import NDArray

LAYOUTS: Final = ("torch",)

# As of RFC 3987, without the characters that it shuts out.
_URL: Final = re.compile(r"https?://[^\s<>\"{}|\\^`]+")


@dataclass(frozen=True, slots=True)
class Options:
    """Options of one model.

    Attributes:
        bits: 1 to 8: a quantized tensor gets a codebook of at most 2^bits centroids. It is 8
            where neither of the next two is given; only one of the three can be.
        sqnr: every quantized tensor is restored with at least so many decibels, in few bytes.
        size: the packed file has at most so many bytes, and the least error for that.
        aim: which error: "relative" is the sum over the tensors of error to energy, "overall"
            the sum of errors.
        dependent: whether levels on a grid may depend on those before: a few percent smaller, and
            slower to restore.
        weights: for a size, how much the error of each tensor counts, by final name: 1 where it
            is not told. Or the path of a JSON file of that, to be read by `loaded`.
        tensors: other goals for some tensors; the first whose pattern matches holds.
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

    bits: int | None = None
    sqnr: float | None = None
    size: int | None = None
    aim: str = AIMS[0]
    dependent: bool = True
    weights: str | os.PathLike[str] | Weights | None = None
    tensors: Sequence[Override] = ()
    layout: str | None = None
    key: str | None = None
    drop: Sequence[str] = ()
    rename: Sequence[tuple[str, str]] = ()
    keep: Sequence[str] = ()
    license: str | None = None
    description: str | None = None
    url: str | None = None

    def __post_init__(self) -> None:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        if problems := find_problems(values):
            raise OptionError(problems)
        if self.sqnr is None and self.size is None and self.bits is None:
            object.__setattr__(self, "bits", MAX_BITS)

    def to_table(self) -> dict[str, Any]:
        """As a manifest keeps them."""
        return {
            "bits": self.bits,
            "sqnr": self.sqnr,
            "size": self.size,
            "aim": self.aim,
            "dependent": self.dependent,
            "weights": self.weights,
            "tensors": [override.to_table() for override in self.tensors],
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
    def reading(self) -> ReadOptions:
        """What of them is for the source's reader."""
        return ReadOptions(self.layout, self.key, self.drop, self.rename)

    def goal(self, name: str) -> Goal:
        """What is asked of the tensor of a final name."""
        return self.own_goal(name) or Goal(self.bits, self.sqnr)

    def own_goal(self, name: str) -> Goal | None:
        """What is asked of it and not of the whole model, if anything."""
        found = (other.goal for other in self.tensors if matches(name, [other.match]))
        return next(found, None)

    def loaded(self, folder: str | os.PathLike[str] = "") -> Options:
        """With the weights themselves, where they are in a file; its path is relative to `folder`.

        Raises:
            OptionError: they cannot be read, or are no weights.

        """
        return replace(self, weights=read_weights(self.weights, folder))

    def unit(self, name: str, values: NDArray[Any]) -> float:
        """What steps of a tensor are in units of, where a size is asked for.

        Equal steps give the least sum of errors; steps in proportion to the root of the energy,
        the least sum of errors that are relative to it. An error that counts by a factor may be
        less by as much: the Lagrangian's one slope, which is what a bit is worth everywhere.
        """
        energy = 1.0
        if self.aim != "overall":
            energy = float(np.square(values, dtype=np.float64).sum()) or 1.0
        return math.sqrt(energy / self.factors.get(name, 1.0))

    @property
    def factors(self) -> Weights:
        """The weights, once they are `loaded`; none where there are none."""
        return self.weights if isinstance(self.weights, Mapping) else {}

    @property
    def patterns(self) -> dict[str, list[str]]:
        """The patterns that have to match some final name, by option."""
        return {"keep": list(self.keep), "tensors": [other.match for other in self.tensors]}

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
        values["size"] = as_bytes(table.get("size"))
        values["tensors"] = overrides(table.get("tensors", ()))
        return cls(**values | {"rename": as_pairs(table.get("rename", ()))})


PROVENANCE: Final = ("license", "description", "url")
"""The options that say something of the model, and ask for nothing."""

OPTION_NAMES: Final = tuple(field.name for field in fields(Options))


def find_problems(table: Mapping[str, object]) -> list[tuple[str, str]]:
    """Pairs of an option and what is wrong with it; keys that are no options are passed over."""
    tests = {
        "bits": bits_problem,
        "sqnr": sqnr_problem,
        "size": size_problem,
        "aim": aim_problem,
        "dependent": dependent_problem,
        "weights": weights_problem,
        "tensors": tensors_problem,
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
    return [(key, problem) for key, problem in found if problem] or conflicts(table)


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


def as_patterns(patterns: Iterable[str]) -> Sequence[str]:
    """Any patterns as a tuple.

    A lone string would be taken for a list of one-letter patterns: it is for `Options` to refuse.
    """
    return patterns if isinstance(patterns, str) else tuple(patterns)


def _rename_problem(value: object) -> str | None:
    expected = "expected a table of regular expressions and what replaces them"
    if not isinstance(value, Mapping | list | tuple):
        return f"{expected}, found {value!r}"
    pairs = list(value.items()) if isinstance(value, Mapping) else list(value)
    for pair in pairs:
        if not isinstance(pair, list | tuple) or [type(item) for item in pair] != [str, str]:
            return f"{expected}, found {pair!r}"
        try:
            re.compile(pair[0])
            # Replacing nothing in nothing checks the replacement's own groups as well.
            re.sub(pair[0] + "|", pair[1], "")
        except (re.error, IndexError, OverflowError, RecursionError) as error:
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
