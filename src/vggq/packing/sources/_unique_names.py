"""Names of tensors of which no two are the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def make_unique(names: Sequence[str]) -> list[str]:
    """Return the names; all but the first of equal names get a number."""
    taken = set(names)
    counts: dict[str, int] = {}
    unique = []
    for name in names:
        counts[name] = counts.get(name, 0) + 1
        chosen = name
        while counts[name] > 1 and chosen in taken:
            chosen = f"{name}#{counts[name]}"
            counts[name] += chosen in taken
        taken.add(chosen)
        unique.append(chosen)
    return unique
