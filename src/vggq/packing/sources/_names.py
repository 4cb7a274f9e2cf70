"""Which tensors are taken from a source, and under which names."""

from __future__ import annotations

import re
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ...errors import OptionError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._source import ReadOptions, SourceTensor


def select(tensors: Sequence[SourceTensor], reading: ReadOptions) -> list[SourceTensor]:
    """Leave out what `drop` names, then rename the rest.

    Raises:
        OptionError: a pattern matches nothing: it is a typing error.

    """
    check_patterns("drop", reading.drop, [tensor.name for tensor in tensors])
    kept = [tensor for tensor in tensors if not matches(tensor.name, reading.drop)]
    for pattern, replacement in reading.rename:
        names = [re.sub(pattern, replacement, tensor.name) for tensor in kept]
        if not any(re.search(pattern, tensor.name) for tensor in kept):
            raise OptionError([("rename", f"the pattern {pattern!r} matches no tensor")])
        kept = [replace(tensor, name=name) for tensor, name in zip(kept, names, strict=True)]
    return kept


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether any of the patterns, as of `fnmatch` and case sensitive, names a tensor."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def check_patterns(option: str, patterns: Iterable[str], names: Sequence[str]) -> None:
    """Refuse a pattern that names nothing.

    Raises:
        OptionError: one or more patterns match no name.

    """
    idle = [p for p in patterns if not any(fnmatchcase(name, p) for name in names)]
    if idle:
        raise OptionError([(option, _idle(pattern, names)) for pattern in idle])


def _idle(pattern: str, names: Sequence[str]) -> str:
    near = get_close_matches(pattern, names, 1)
    hint = f"; did you mean {near[0]!r}?" if near else ""
    return f"the pattern {pattern!r} matches no tensor{hint}"
