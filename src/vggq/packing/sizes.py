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
_MOST: Final = 2**53
_SIZE: Final = re.compile(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def parse_size(text: str | int) -> int:
    """Bytes of ``"60 MB"`` (10^6 each), ``"1 GiB"`` (2^30), or plain bytes.

    Raises:
        ValueError: it is no size above 0.

    """
    found = _SIZE.fullmatch(str(text))
    unit = _UNITS.get(found[2].upper()) if found else None
    if isinstance(text, bool) or found is None or unit is None:
        raise ValueError(f"expected a size such as '60 MB', '100 MiB' or bytes, found {text!r}")
    size = float(found[1]) * unit
    if not 1 <= size <= _MOST:
        raise ValueError(f"expected a size from 1 byte to 2^53, found {text!r}")
    return int(size)


def megabytes(size: int) -> str:
    """Bytes in MB of 10^6, as package indexes show them; small ones in kB or B."""
    if size < 1000:
        return f"{size} B"
    # What would round to 1000.0 kB is 1.0 MB.
    return f"{size / 1e6:.1f} MB" if size >= 999_950 else f"{size / 1e3:.1f} kB"


def as_limit(size: int) -> str:
    """The same of a limit, which indexes count in whole MiB."""
    return megabytes(size) if size % 2**20 else f"{size >> 20} MiB"
