"""What a state dict's pickle may name, and what stands in for it: no torch is needed."""

from __future__ import annotations

from dataclasses import dataclass
from reprlib import repr as short
from typing import Any, Final

from ..._container import MAX_DIMENSIONS
from ._pickle import PickleError, plain_key


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of elements of one dtype; `dtype` is None where it is bytes."""

    dtype: str | None
    key: str
    count: int


@dataclass(frozen=True, slots=True)
class Tensor:
    """A strided view of a storage; offset and strides count elements of `dtype`."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StorageType:
    """torch.FloatStorage and its like."""

    dtype: str | None


@dataclass(frozen=True, slots=True)
class DType:
    """torch.float32 and its like."""

    name: str


def storage_of(pid: Any) -> Storage:
    """A persistent id, ("storage", type, key, device, count, …), to what it stands for."""
    if type(pid) is not tuple or len(pid) not in (5, 6) or pid[0] != "storage":
        raise PickleError(f"a damaged pickle: {short(pid)} is no storage")
    _, kind, key, _, count = pid[:5]
    if not isinstance(kind, StorageType) or type(key) is not str or not _is_count(count):
        raise PickleError(f"a damaged pickle: {short(pid)} is no storage")
    if len(pid) == 6 and pid[5] is not None:
        raise PickleError("a view of a storage, as torch wrote it before 0.4")
    return Storage(kind.dtype, key, count)


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, strides: Any, *_: Any) -> Tensor:
    if not isinstance(storage, Storage) or storage.dtype is None:
        raise PickleError("a damaged pickle: a tensor without a storage")
    return _tensor(storage, storage.dtype, offset, shape, strides)


def _rebuild_tensor_v3(
    storage: Any,
    offset: Any,
    shape: Any,
    strides: Any,
    _grad: Any,
    _hooks: Any,
    dtype: Any,
    *_: Any,
) -> Tensor:
    if not isinstance(storage, Storage) or not isinstance(dtype, DType):
        raise PickleError("a damaged pickle: a tensor without a storage")
    return _tensor(storage, dtype.name, offset, shape, strides)


def _tensor(storage: Storage, dtype: str, offset: Any, shape: Any, strides: Any) -> Tensor:
    if type(shape) is not tuple or type(strides) is not tuple or len(shape) > MAX_DIMENSIONS:
        raise PickleError("a damaged pickle: a tensor's sizes are none")
    sizes = (offset, *shape, *strides)
    if not all(map(_is_count, sizes)) or len(shape) != len(strides):
        raise PickleError("a damaged pickle: a tensor's sizes are none")
    return Tensor(storage, dtype, offset, tuple(shape), tuple(strides))


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    return {plain_key(key): value for key, value in pairs}


def _size(sizes: Any) -> tuple[Any, ...]:
    if type(sizes) is not tuple:
        raise PickleError("a damaged pickle: a size that is none")
    return sizes


def _device(*_: Any) -> None:
    return None


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**62


_STORAGES: Final = {
    "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Double": "F64", "Long": "I64", "Int": "I32",
    "Short": "I16", "Char": "I8", "Byte": "U8", "Bool": "BOOL", "ComplexFloat": "complex64",
    "ComplexDouble": "complex128", "QInt8": "qint8", "QUInt8": "quint8", "QInt32": "qint32",
}  # fmt: skip
_DTYPES: Final = {
    "uint16": "U16", "uint32": "U32", "uint64": "U64", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
}  # fmt: skip

NAMES: Final[dict[str, Any]] = {
    "collections OrderedDict": _ordered_dict,
    "torch._utils _rebuild_tensor": _rebuild_tensor,
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils _rebuild_parameter": _rebuild_parameter,
    "torch._utils _rebuild_parameter_with_state": _rebuild_parameter,
    "torch Size": _size,
    "torch device": _device,
    "torch.storage UntypedStorage": StorageType(None),
    "torch UntypedStorage": StorageType(None),
    **{f"torch {name}Storage": StorageType(dtype) for name, dtype in _STORAGES.items()},
    **{f"torch {name}": DType(dtype) for name, dtype in _DTYPES.items()},
}
