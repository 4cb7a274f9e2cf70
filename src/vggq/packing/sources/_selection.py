"""Select and rename the tensors of a source."""

from __future__ import annotations

import re
from dataclasses import replace
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from ...errors import OptionError, SourceError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ._source import ReadOptions, SourceTensor


def select_tensors(
    tensors: Sequence[SourceTensor], read_options: ReadOptions
) -> list[SourceTensor]:
    """Leave out the tensors that `drop` matches, then rename the others.

    Raises:
        OptionError: a pattern matches no tensor.
        SourceError: a tensor that is left cannot be packed.

    """
    check_patterns("drop", read_options.drop, [tensor.name for tensor in tensors])
    untyped = [tensor.name for tensor in tensors if tensor.untyped]
    patterns = [pattern for pattern, _ in read_options.dtypes]
    check_patterns("dtypes", patterns, untyped, "tensor whose dtype the file does not state")
    kept = [tensor for tensor in tensors if not matches_any(tensor.name, read_options.drop)]
    _check_supported(kept)
    for pattern, replacement in read_options.rename:
        if not any(re.search(pattern, tensor.name) for tensor in kept):
            raise OptionError([("rename", f"the pattern {pattern!r} matches no tensor")])
        kept = [replace(tensor, name=re.sub(pattern, replacement, tensor.name)) for tensor in kept]
    return kept


def _check_supported(tensors: Sequence[SourceTensor]) -> None:
    problems = [(tensor.name, tensor.problem) for tensor in tensors if tensor.problem is not None]
    if problems:
        name, problem = problems[0]
        others = f" ({len(problems) - 1} more cannot be packed)" if len(problems) > 1 else ""
        raise SourceError(f"{problem}; `drop` can leave it out{others}", tensor=name)


def matches_any(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name matches any of the `fnmatch` patterns; case matters."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def check_patterns(
    option: str, patterns: Iterable[str], names: Sequence[str], noun: str = "tensor"
) -> None:
    """Check that every pattern matches a name.

    Args:
        option: the option that has the patterns, for the message.
        patterns: `fnmatch` patterns.
        names: the names.
        noun: what has these names, for the message.

    Raises:
        OptionError: one or more patterns match no name.

    """
    unmatched = [p for p in patterns if not any(fnmatchcase(name, p) for name in names)]
    if unmatched:
        problems = [(option, _describe_unmatched(pattern, names, noun)) for pattern in unmatched]
        raise OptionError(problems)


def _describe_unmatched(pattern: str, names: Sequence[str], noun: str) -> str:
    similar = get_close_matches(pattern, names, 1)
    hint = f"; did you mean {similar[0]!r}?" if similar else ""
    return f"the pattern {pattern!r} matches no {noun}{hint}"
