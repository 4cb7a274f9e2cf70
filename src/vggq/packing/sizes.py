"""Sizes in bytes as people write them."""

from __future__ import annotations

import re
from typing import Final

_UNITS: Final = {
    "": 1,
    "B": 1,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KIB": 2**10,
    "MIB": 2**20,
    "GIB": 2**30,
}
_MAX_BYTES: Final = 2**53
_SIZE: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def parse_size(text: str | int) -> int:
    """Return the bytes of ``"60 MB"`` (10^6 each), ``"1 GiB"`` (2^30 each), or of a plain number.

    Raises:
        ValueError: the text is not a size above 0.

    """
    found = _SIZE.fullmatch(str(text))
    unit = _UNITS.get(found[2].upper()) if found else None
    if isinstance(text, bool) or found is None or unit is None:
        raise ValueError(f"expected a size such as '60 MB', '100 MiB' or bytes, found {text!r}")
    size = float(found[1]) * unit
    if not 1 <= size <= _MAX_BYTES:
        raise ValueError(f"expected a size from 1 byte to 2^53, found {text!r}")
    return int(size)


def megabytes(size: int) -> str:
    """Return bytes in MB of 10^6, as package indexes show them; small sizes in kB or B."""
    if size < 1000:
        return f"{size} B"
    # 999,950 bytes and more would be rounded to 1000.0 kB.
    return f"{size / 1e6:.1f} MB" if size >= 999_950 else f"{size / 1e3:.1f} kB"


def size_limit_text(size: int) -> str:
    """Return a size limit as text; in MiB if it is a whole number of them, as indexes count."""
    return megabytes(size) if size % 2**20 else f"{size >> 20} MiB"
