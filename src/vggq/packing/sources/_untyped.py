"""Tensors whose dtype the file does not state, declared by the option `dtypes`.

numpy has no bfloat16 and no float8. It writes them as bytes without a type, `|V2` and `|V1`, and
other types, such as int4, in the same way.
"""

from __future__ import annotations

import glob
from typing import TYPE_CHECKING, Any, Final

from ..._dtypes import ML_DTYPES, STORAGE
from ._selection import matches_any

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

_NAMES: Final = {numpy_name: name for name, numpy_name in ML_DTYPES.items()}


def is_untyped(dtype: np.dtype[Any]) -> bool:
    """Return whether a dtype is only a number of bytes that a declarable dtype has as well."""
    sizes = {STORAGE[name].itemsize for name in _NAMES.values()}
    is_plain = dtype.names is None and dtype.subdtype is None
    return dtype.kind == "V" and is_plain and dtype.itemsize in sizes


def declared_dtype(
    name: str, dtype: np.dtype[Any], declarations: Sequence[tuple[str, str]]
) -> str | None:
    """Return the safetensors name of the dtype that is declared for an untyped tensor.

    Args:
        name: the tensor's name in the file.
        dtype: its dtype in the file.
        declarations: pairs of an `fnmatch` pattern and the name in ml_dtypes of a dtype. The first
            pattern that matches applies, among those whose dtype has the right size.

    """
    for pattern, declared in declarations:
        if matches_any(name, [pattern]) and STORAGE[_NAMES[declared]].itemsize == dtype.itemsize:
            return _NAMES[declared]
    return None


def untyped_problem(name: str, dtype: np.dtype[Any]) -> str:
    """Return why an untyped tensor without a declaration cannot be packed, and what to do."""
    sizes = {numpy_name: STORAGE[name].itemsize for numpy_name, name in _NAMES.items()}
    fitting = [numpy_name for numpy_name, size in sizes.items() if size == dtype.itemsize]
    return (
        f"the file states only |V{dtype.itemsize} as its dtype, as numpy does for "
        f"{' and '.join(fitting)}, and for other types; if it is {' or '.join(fitting)}, declare "
        f"that: dtypes = {{ {glob.escape(name)!r} = {fitting[0]!r} }}"
    )
