"""Errors over tensors that cannot be packed, all of which mention `drop`."""

from __future__ import annotations

import re
from typing import Final

_PROBLEM: Final = re.compile(
    r"tensor '(?P<name>.*?)': (?P<problem>.*); `drop` can leave it out"
    r"(?P<others> \((?P<count>[0-9]+) more cannot be packed\))?",
    re.DOTALL,
)


def problem_of(message: str, *, count: int | None = None) -> str:
    """Return the problem that an error states, after checking the advice that follows it.

    Args:
        message: the error, without the path.
        count: number of tensors that cannot be packed; None for any.

    """
    match = _PROBLEM.fullmatch(message)
    assert match is not None, message
    assert count in (None, int(match["count"] or 0) + 1), message
    return match["problem"]
