"""What a state dict's pickle may name, and what stands in for it: no torch is needed."""

from __future__ import annotations

from reprlib import repr as short
from typing import Any, Final

from ...._container import MAX_DIMENSIONS
from ...._dtypes import STORAGE
from ._objects import NamedConstant, Storage, StorageType, Tensor, UnsupportedTensor
from ._pickle import Call, PickleError, plain_key


def storage_of(pid: Any) -> Storage:
    """A persistent id, ("storage", type, key, device, count, …), to what it stands for."""
    if type(pid) is not tuple or len(pid) not in (5, 6) or pid[0] != "storage":
        raise PickleError(f"a damaged pickle: {short(pid)} is no storage")
    _, kind, key, _, count = pid[:5]
    if not isinstance(kind, StorageType) or type(key) is not str or not _is_count(count):
        raise PickleError(f"a damaged pickle: {short(pid)} is no storage")
    if len(pid) == 6 and pid[5] is not None:
        raise PickleError("a view of a storage, as torch wrote it before 0.4")
    return Storage(kind, key, count)


def _rebuild_tensor(storage: Any, *arguments: Any) -> Tensor | UnsupportedTensor:
    """What torch has as _rebuild_tensor and, with three arguments more, as _rebuild_tensor_v2."""
    offset, shape, strides, *rest = arguments
    if not isinstance(storage, Storage) or storage.kind.dtype is None:
        raise PickleError("a damaged pickle: a tensor without a storage")
    marks = rest[2] if len(rest) > 2 else None
    return _tensor(storage, storage.kind.dtype, (offset, shape, strides), marks)


def _rebuild_tensor_v3(storage: Any, *arguments: Any) -> Tensor | UnsupportedTensor:
    offset, shape, strides, _grad, _hooks, dtype, *marks = arguments
    if not isinstance(storage, Storage) or not isinstance(dtype, NamedConstant):
        raise PickleError("a damaged pickle: a tensor without a storage")
    return _tensor(storage, dtype.name, (offset, shape, strides), marks[0] if marks else None)


def _tensor(
    storage: Storage, dtype: str, place: tuple[Any, Any, Any], marks: Any
) -> Tensor | UnsupportedTensor:
    offset, shape, strides = place
    if type(shape) is not tuple or type(strides) is not tuple or len(shape) > MAX_DIMENSIONS:
        raise PickleError("a damaged pickle: a tensor's sizes are none")
    sizes = (offset, *shape, *strides)
    if not all(map(_is_count, sizes)) or len(shape) != len(strides):
        raise PickleError("a damaged pickle: a tensor's sizes are none")
    # The sign is not in the storage.
    if type(marks) is dict and marks.get("neg"):
        return UnsupportedTensor("a view that negates", "tensor.resolve_neg()")
    return Tensor(storage, dtype, offset, tuple(shape), tuple(strides))


def _odd(kind: str, remedy: str) -> Call:
    return lambda *_: UnsupportedTensor(kind, remedy)


def _rebuild_from_type(function: Any, kind: Any, arguments: Any, _state: Any) -> Any:
    """A tensor with attributes of its own, which are no weights."""
    if (
        not isinstance(kind, NamedConstant)
        or not callable(function)
        or type(arguments) is not tuple
    ):
        raise PickleError("a damaged pickle: a tensor that is made of none")
    return function(*arguments)


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    if type(pairs) not in (list, tuple):
        raise PickleError("a damaged pickle: an ordered dict of no pairs")
    return {plain_key(key): value for key, value in pairs}


def _empty_dict(*_: Any) -> dict[Any, Any]:
    return {}


def _first(*arguments: Any) -> Any:
    """What a set, a counter or a string of bytes is made of serves as well as these."""
    return arguments[0] if arguments else None


def _size(sizes: Any) -> tuple[Any, ...]:
    if type(sizes) is not tuple:
        raise PickleError("a damaged pickle: a size that is none")
    return sizes


def _device(*_: Any) -> None:
    return None


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**62


# Without a counterpart in a packed file; the sizes are to find what lies behind such a storage.
_ODD_SIZES: Final = {
    "complex64": 8, "complex128": 16, "qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1,
    "quint2x4": 1,
}  # fmt: skip
_STORAGES: Final = {
    "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Double": "F64", "Long": "I64", "Int": "I32",
    "Short": "I16", "Char": "I8", "Byte": "U8", "Bool": "BOOL", "ComplexFloat": "complex64",
    "ComplexDouble": "complex128", "QInt8": "qint8", "QUInt8": "quint8", "QInt32": "qint32",
    "QUInt4x2": "quint4x2", "QUInt2x4": "quint2x4",
}  # fmt: skip
_DTYPES: Final = {
    "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int64": "I64",
    "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL", "uint16": "U16",
    "uint32": "U32", "uint64": "U64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip
_ODD_DTYPES: Final = (
    *_ODD_SIZES, "complex32", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
    "float4_e2m1fn_x2", "bits1x8", "bits2x4", "bits4x2", "bits8", "bits16",
)  # fmt: skip
_INERT: Final = (
    "torch Tensor", "torch.nn.parameter Parameter", "torch.nn.parameter Buffer",
    "torch per_tensor_affine", "torch per_tensor_symmetric", "torch per_channel_affine",
    "torch per_channel_affine_float_qparams", "torch per_channel_symmetric",
    *(f"{module} {name}" for module in ("builtins", "__builtin__")
      for name in ("int", "float", "bool", "str", "list", "dict")),
)  # fmt: skip


def _storage_type(dtype: str) -> StorageType:
    size = _ODD_SIZES.get(dtype)
    return StorageType(dtype, STORAGE[dtype].itemsize if size is None else size)


NAMES: Final[dict[str, Any]] = {
    "collections OrderedDict": _ordered_dict,
    "collections defaultdict": _empty_dict,
    "collections Counter": _first,
    "_codecs encode": _first,
    **{f"builtins {name}": _first for name in ("set", "frozenset", "bytearray", "complex")},
    **{f"__builtin__ {name}": _first for name in ("set", "frozenset", "bytearray", "complex")},
    "torch._utils _rebuild_tensor": _rebuild_tensor,
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils _rebuild_parameter": _rebuild_parameter,
    "torch._utils _rebuild_parameter_with_state": _rebuild_parameter,
    "torch._tensor _rebuild_from_type_v2": _rebuild_from_type,
    "torch._utils _rebuild_qtensor": _odd("quantized", "tensor.dequantize()"),
    "torch._utils _rebuild_sparse_tensor": _odd("sparse", "tensor.to_dense()"),
    "torch._utils _rebuild_nested_tensor": _odd("nested", "tensor.to_padded_tensor(0)"),
    "torch._utils _rebuild_meta_tensor_no_storage": _odd(
        "of the device 'meta', without values", "the model with its weights loaded"
    ),
    "torch.serialization _get_layout": _first,
    "torch Size": _size,
    "torch device": _device,
    "torch.storage UntypedStorage": StorageType(None, 1),
    "torch UntypedStorage": StorageType(None, 1),
    **{f"torch {name}Storage": _storage_type(dtype) for name, dtype in _STORAGES.items()},
    **{f"torch {name}": NamedConstant(dtype) for name, dtype in _DTYPES.items()},
    **{f"torch {name}": NamedConstant(name) for name in _ODD_DTYPES},
    **{name: NamedConstant(name) for name in _INERT},
}
