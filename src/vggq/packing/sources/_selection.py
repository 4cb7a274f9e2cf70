"""Select and rename the tensors of a source."""

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


def select_tensors(
    tensors: Sequence[SourceTensor], read_options: ReadOptions
) -> list[SourceTensor]:
    """Leave out the tensors that `drop` matches, then rename the others.

    Raises:
        OptionError: a pattern matches no tensor.

    """
    check_patterns("drop", read_options.drop, [tensor.name for tensor in tensors])
    kept = [tensor for tensor in tensors if not matches_any(tensor.name, read_options.drop)]
    for pattern, replacement in read_options.rename:
        if not any(re.search(pattern, tensor.name) for tensor in kept):
            raise OptionError([("rename", f"the pattern {pattern!r} matches no tensor")])
        kept = [replace(tensor, name=re.sub(pattern, replacement, tensor.name)) for tensor in kept]
    return kept


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name matches any of the `fnmatch` patterns; case matters."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def check_patterns(option: str, patterns: Iterable[str], names: Sequence[str]) -> None:
    """Check that every pattern matches a name.

    Raises:
        OptionError: one or more patterns match no name.

    """
    unmatched = [p for p in patterns if not any(fnmatchcase(name, p) for name in names)]
    if unmatched:
        raise OptionError([(option, _describe_unmatched(pattern, names)) for pattern in unmatched])


def _describe_unmatched(pattern: str, names: Sequence[str]) -> str:
    similar = get_close_matches(pattern, names, 1)
    hint = f"; did you mean {similar[0]!r}?" if similar else ""
    return f"the pattern {pattern!r} matches no tensor{hint}"
