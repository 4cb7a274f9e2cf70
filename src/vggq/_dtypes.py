"""The element types of a packed file, under the names that safetensors gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# numpy has no bfloat16, so its bits travel as uint16.
STORAGE: Final[dict[str, np.dtype[Any]]] = {
    "BOOL": np.dtype("?"),
    "U8": np.dtype("u1"),
    "I8": np.dtype("i1"),
    "U16": np.dtype("<u2"),
    "I16": np.dtype("<i2"),
    "U32": np.dtype("<u4"),
    "I32": np.dtype("<i4"),
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "BF16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}

FLOATING: Final = frozenset({"BF16", "F16", "F32", "F64"})

_NAMES: Final = {dtype: name for name, dtype in STORAGE.items() if name != "BF16"}


def name_of(dtype: np.dtype[Any]) -> str | None:
    """The safetensors name of a numpy dtype of either byte order, or None if it has none."""
    return _NAMES.get(dtype.newbyteorder("<"))


def restored(name: str) -> np.dtype[Any]:
    """The native numpy dtype that a tensor stored as `name` is restored as."""
    return np.dtype(np.float32) if name in FLOATING else STORAGE[name].newbyteorder("=")


def restore(values: NDArray[Any], name: str) -> NDArray[Any]:
    """A fresh native array of the restored dtype from `values` in the storage dtype of `name`.

    float64 is rounded to float32, and overflows to infinity without a warning as the source's
    own framework would do; every narrower type is widened exactly.
    """
    if name == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    with np.errstate(over="ignore"):
        return values.astype(restored(name))
