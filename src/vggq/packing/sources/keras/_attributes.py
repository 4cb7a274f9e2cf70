"""String attributes of an HDF5 file; other types are rejected before HDF5 reads them.

Damaged types other than strings have crashed HDF5, and with it the process.
"""

from __future__ import annotations

from typing import Any

from ....errors import SourceError
from ...optional import require


def read_strings(item: Any, name: str) -> Any:
    """Return an attribute of an open group or dataset: a string, or a sequence of strings.

    Raises:
        KeyError: there is no such attribute.
        SourceError: the attribute is of another type.

    """
    h5py = require("h5py", "build")
    attribute = h5py.h5a.open(item.id, name.encode())
    # h5py writes an empty list as an array of floats.
    if not attribute.get_space().get_simple_extent_npoints():
        return []
    if not isinstance(attribute.get_type(), h5py.h5t.TypeStringID):
        raise SourceError(f"the attribute {name!r} of {item.name} does not hold strings")
    return item.attrs[name]


def find_strings(item: Any, name: str) -> Any:
    """Return the same as `read_strings`, or None if there is no such attribute."""
    return read_strings(item, name) if name in item.attrs else None
