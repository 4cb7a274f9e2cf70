"""The remark that names what a format found in a file and does not pack."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

_MAX_NAMES: Final = 5


def remark_unpacked(found: Mapping[str, Collection[str]]) -> tuple[str, ...]:
    """Return one remark, or none if nothing was found.

    Args:
        found: names of what is not packed, by its kind in the plural, such as "attributes".

    """
    parts = [f"the {kind} {list_names(names)}" for kind, names in found.items() if names]
    return (f"not packed: {'; '.join(parts)}",) if parts else ()


def list_names(names: Collection[str]) -> str:
    """Return the first names, quoted, and the number of the others."""
    listed = ", ".join(map(repr, islice(names, _MAX_NAMES)))
    others = len(names) - _MAX_NAMES
    return f"{listed} and {others} more" if others > 0 else listed
