"""The element types of a packed file, under the names that safetensors gives them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# numpy has neither bfloat16 nor float8, so their bits travel as integers.
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
    "F8_E4M3": np.dtype("u1"),
    "F8_E5M2": np.dtype("u1"),
    "BF16": np.dtype("<u2"),
    "F16": np.dtype("<f2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}

FLOATING: Final = frozenset({"F8_E4M3", "F8_E5M2", "BF16", "F16", "F32", "F64"})
FOREIGN: Final = {
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}
"""Those that numpy itself has not, and what ml_dtypes calls them."""

# As many at a time stay in the cache.
_PIECE: Final = 1 << 16

_NAMES: Final = {dtype: name for name, dtype in STORAGE.items() if name not in FOREIGN}


def name_of(dtype: np.dtype[Any]) -> str | None:
    """The safetensors name of a numpy dtype of either byte order, or None if it has none."""
    return _NAMES.get(dtype.newbyteorder("<"))


def restored_dtype(name: str) -> np.dtype[Any]:
    """The native numpy dtype that a tensor stored as `name` is restored as."""
    return np.dtype(np.float32) if name in FLOATING else STORAGE[name].newbyteorder("=")


def widen(values: NDArray[Any], name: str, *, copy: bool = True) -> NDArray[Any]:
    """A native array of the restored dtype from `values` in the storage dtype of `name`.

    It is a fresh one, unless it need not be and `copy` is False.

    float64 is rounded to float32, and overflows to infinity without a warning as the source's
    own framework would do; every narrower type is widened exactly.
    """
    if name == "BF16":
        return (values.astype(np.uint32) << 16).view(np.float32)
    if name == "F8_E5M2":
        # The upper half of a float16, which is rounded nowhere on the way.
        return (values.astype(np.uint16) << 8).view(np.float16).astype(np.float32)
    if name == "F8_E4M3":
        return np.take(_e4m3_values(), values)
    with np.errstate(over="ignore"):
        return values.astype(restored_dtype(name), copy=copy)


def convert_into(values: NDArray[Any], name: str, out: NDArray[Any]) -> None:
    """Convert `values`, in the storage dtype of `name`, into `out`; both flat and of one size.

    Piecewise, so that nothing of the size of `out` is taken. To the source's own dtype every bit
    is kept; what is too large for another becomes infinity without a warning.
    """
    if out.dtype.name == FOREIGN.get(name):
        out.view(values.dtype.newbyteorder("="))[:] = values
        return
    # Whatever numpy has is converted at once: by way of float32 it would be rounded twice.
    through = name in FLOATING and values.dtype.kind != "f"
    with np.errstate(all="ignore"):
        for start in range(0, out.size, _PIECE):
            piece = values[start : start + _PIECE]
            out[start : start + _PIECE] = widen(piece, name) if through else piece


def _e4m3_values() -> NDArray[np.float32]:
    """What each byte of float8 E4M3 stands for: no infinities, and NaN where all bits are set.

    Micikevicius et al., "FP8 formats for deep learning", 2022, https://arxiv.org/abs/2209.05433
    """
    bits = np.arange(128)
    exponent, mantissa = bits >> 3, bits & 7
    subnormal = exponent == 0
    values = np.ldexp(mantissa + np.where(subnormal, 0.0, 8.0), exponent + subnormal - 10)
    values[-1] = np.nan
    return np.concatenate([values, -values]).astype(np.float32)
