"""Globals that the pickle of a state dict may refer to, and stand-ins that do not need torch."""

from __future__ import annotations

from reprlib import repr as short
from typing import TYPE_CHECKING, Any, Final

from ...._dtypes import STORAGE
from ...._json import MAX_DIMENSIONS
from ....errors import SourceError
from ._interpreter import check_key, damaged_pickle
from ._objects import NamedConstant, Storage, StorageType, Tensor, UnsupportedTensor

if TYPE_CHECKING:
    from collections.abc import Callable


def load_storage(pid: Any) -> Storage:
    """Return the storage for a persistent id, ("storage", type, key, device, count, …)."""
    if type(pid) is not tuple or len(pid) not in (5, 6) or pid[0] != "storage":
        raise damaged_pickle(f"{short(pid)} is not a storage")
    _, kind, key, _, count = pid[:5]
    if not isinstance(kind, StorageType) or type(key) is not str or not _is_count(count):
        raise damaged_pickle(f"{short(pid)} is not a storage")
    if len(pid) == 6 and pid[5] is not None:
        raise SourceError(
            "views of storages, as torch before 0.4 wrote them, are not supported; load the "
            "checkpoint with torch and save it again"
        )
    return Storage(kind, key, count)


def _rebuild_tensor(storage: Any, *arguments: Any) -> Tensor | UnsupportedTensor:
    """Stand in for _rebuild_tensor and for _rebuild_tensor_v2, which has three more arguments."""
    offset, shape, strides, *rest = arguments
    if not isinstance(storage, Storage) or storage.kind.dtype is None:
        raise damaged_pickle("a tensor has no storage")
    metadata = rest[2] if len(rest) > 2 else None
    return _make_tensor(storage, storage.kind.dtype, (offset, shape, strides), metadata)


def _rebuild_tensor_v3(storage: Any, *arguments: Any) -> Tensor | UnsupportedTensor:
    offset, shape, strides, _grad, _hooks, dtype, *rest = arguments
    if not isinstance(storage, Storage) or not isinstance(dtype, NamedConstant):
        raise damaged_pickle("a tensor has no storage")
    metadata = rest[0] if rest else None
    return _make_tensor(storage, dtype.name, (offset, shape, strides), metadata)


def _make_tensor(
    storage: Storage, dtype: str, view: tuple[Any, Any, Any], metadata: Any
) -> Tensor | UnsupportedTensor:
    offset, shape, strides = view
    if type(shape) is not tuple or type(strides) is not tuple or len(shape) > MAX_DIMENSIONS:
        raise damaged_pickle("a tensor has an invalid shape")
    counts = (offset, *shape, *strides)
    if not all(map(_is_count, counts)) or len(shape) != len(strides):
        raise damaged_pickle("a tensor has an invalid shape")
    # The storage contains the values without the sign.
    if type(metadata) is dict and metadata.get("neg"):
        return UnsupportedTensor("negated view", "tensor.resolve_neg()")
    return Tensor(storage, dtype, offset, tuple(shape), tuple(strides))


def _unsupported(kind: str, remedy: str) -> Callable[..., UnsupportedTensor]:
    return lambda *_: UnsupportedTensor(kind, remedy)


def _rebuild_from_type(function: Any, kind: Any, arguments: Any, _state: Any) -> Any:
    """Return a tensor without its Python attributes, which are not weights."""
    if (
        not isinstance(kind, NamedConstant)
        or not callable(function)
        or type(arguments) is not tuple
    ):
        raise damaged_pickle("a tensor is built by an object that is not a function")
    return function(*arguments)


def _rebuild_parameter(data: Any, *_: Any) -> Any:
    return data


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    if type(pairs) not in (list, tuple):
        raise damaged_pickle("an ordered dict has no list of pairs")
    return {check_key(key): value for key, value in pairs}


def _empty_dict(*_: Any) -> dict[Any, Any]:
    return {}


def _first_argument(*arguments: Any) -> Any:
    """Stand in for sets, counters and bytes, none of which are weights."""
    return arguments[0] if arguments else None


def _torch_size(sizes: Any) -> tuple[Any, ...]:
    if type(sizes) is not tuple:
        raise damaged_pickle("a torch.Size has no tuple of sizes")
    return sizes


def _torch_device(*_: Any) -> None:
    return None


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**62


# Bytes per element of the dtypes that a packed file cannot store: the legacy format needs them to
# find the storages that follow.
_UNSUPPORTED_SIZES: Final = {
    "complex64": 8, "complex128": 16, "qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1,
    "quint2x4": 1,
}  # fmt: skip
_STORAGE_CLASSES: Final = {
    "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Double": "F64", "Long": "I64", "Int": "I32",
    "Short": "I16", "Char": "I8", "Byte": "U8", "Bool": "BOOL", "ComplexFloat": "complex64",
    "ComplexDouble": "complex128", "QInt8": "qint8", "QUInt8": "quint8", "QInt32": "qint32",
    "QUInt4x2": "quint4x2", "QUInt2x4": "quint2x4",
}  # fmt: skip
_TORCH_DTYPES: Final = {
    "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int64": "I64",
    "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL", "uint16": "U16",
    "uint32": "U32", "uint64": "U64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
}  # fmt: skip
_UNSUPPORTED_DTYPES: Final = (
    *_UNSUPPORTED_SIZES, "complex32", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
    "float4_e2m1fn_x2", "bits1x8", "bits2x4", "bits4x2", "bits8", "bits16",
)  # fmt: skip
# Python 2 calls the module "__builtin__", and so do pickle protocols up to 2.
_BUILTIN_MODULES: Final = ("builtins", "__builtin__")
_CONSTANT_NAMES: Final = (
    "torch Tensor", "torch.nn.parameter Parameter", "torch.nn.parameter Buffer",
    "torch per_tensor_affine", "torch per_tensor_symmetric", "torch per_channel_affine",
    "torch per_channel_affine_float_qparams", "torch per_channel_symmetric",
    *(f"{module} {name}" for module in _BUILTIN_MODULES
      for name in ("int", "float", "bool", "str", "list", "dict")),
)  # fmt: skip


def _storage_type(dtype: str) -> StorageType:
    size = _UNSUPPORTED_SIZES.get(dtype)
    return StorageType(dtype, STORAGE[dtype].itemsize if size is None else size)


ALLOWED_GLOBALS: Final[dict[str, Any]] = {
    "collections OrderedDict": _ordered_dict,
    "collections defaultdict": _empty_dict,
    "collections Counter": _first_argument,
    "_codecs encode": _first_argument,
    **{
        f"{module} {name}": _first_argument
        for module in _BUILTIN_MODULES
        for name in ("set", "frozenset", "bytearray", "complex")
    },
    "torch._utils _rebuild_tensor": _rebuild_tensor,
    "torch._utils _rebuild_tensor_v2": _rebuild_tensor,
    "torch._utils _rebuild_tensor_v3": _rebuild_tensor_v3,
    "torch._utils _rebuild_parameter": _rebuild_parameter,
    "torch._utils _rebuild_parameter_with_state": _rebuild_parameter,
    "torch._tensor _rebuild_from_type_v2": _rebuild_from_type,
    "torch._utils _rebuild_qtensor": _unsupported("quantized tensor", "tensor.dequantize()"),
    "torch._utils _rebuild_sparse_tensor": _unsupported("sparse tensor", "tensor.to_dense()"),
    "torch._utils _rebuild_nested_tensor": _unsupported(
        "nested tensor", "tensor.to_padded_tensor(0)"
    ),
    "torch._utils _rebuild_meta_tensor_no_storage": _unsupported(
        "tensor on the device 'meta', which has no values,", "the model with its weights loaded"
    ),
    "torch.serialization _get_layout": _first_argument,
    "torch Size": _torch_size,
    "torch device": _torch_device,
    "torch.storage UntypedStorage": StorageType(None, 1),
    "torch UntypedStorage": StorageType(None, 1),
    **{f"torch {name}Storage": _storage_type(dtype) for name, dtype in _STORAGE_CLASSES.items()},
    **{f"torch {name}": NamedConstant(dtype) for name, dtype in _TORCH_DTYPES.items()},
    **{f"torch {name}": NamedConstant(name) for name in _UNSUPPORTED_DTYPES},
    **{name: NamedConstant(name) for name in _CONSTANT_NAMES},
}
