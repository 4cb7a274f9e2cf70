"""Stand-ins for the globals in the pickle of a state dict, which do not need torch."""

from __future__ import annotations

from typing import Any, Final

from ...._dtypes import STORAGE
from . import _rebuild as rebuild
from ._objects import IteratingFunction, NamedConstant, StorageType, TensorClass, make_key
from ._stack import damaged_pickle


def _ordered_dict(pairs: Any = ()) -> dict[Any, Any]:
    if type(pairs) not in (list, tuple):
        raise damaged_pickle("an ordered dict has no list of pairs")
    return {make_key(key): value for key, value in pairs}


def _empty_dict(*_: Any) -> dict[Any, Any]:
    return {}


def _deque(items: Any = (), *_: Any) -> list[Any]:
    if type(items) not in (list, tuple):
        raise damaged_pickle("a deque has no list of items")
    return list(items)


def _first_argument(*arguments: Any) -> Any:
    """Stand in for sets, counters and bytes."""
    return arguments[0] if arguments else None


def _bytes(content: Any = b"", *_: Any) -> Any:
    return content


def _torch_size(sizes: Any) -> tuple[Any, ...]:
    if type(sizes) is not tuple:
        raise damaged_pickle("a torch.Size has no tuple of sizes")
    return sizes


# Bytes per element of the dtypes that a packed file cannot store: the legacy format needs them to
# find the storages that follow.
_UNSUPPORTED_SIZES: Final = {
    "qint8": 1, "quint8": 1, "qint32": 4, "quint4x2": 1, "quint2x4": 1,
}  # fmt: skip
_STORAGE_CLASSES: Final = {
    "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Double": "F64", "Long": "I64", "Int": "I32",
    "Short": "I16", "Char": "I8", "Byte": "U8", "Bool": "BOOL", "ComplexFloat": "C64",
    "ComplexDouble": "C128", "QInt8": "qint8", "QUInt8": "quint8", "QInt32": "qint32",
    "QUInt4x2": "quint4x2", "QUInt2x4": "quint2x4",
}  # fmt: skip
_TENSOR_CLASSES: Final = (
    "Float", "Half", "BFloat16", "Double", "Long", "Int", "Short", "Char", "Byte", "Bool"
)  # fmt: skip
_TORCH_DTYPES: Final = {
    "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float64": "F64", "int64": "I64",
    "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL", "uint16": "U16",
    "uint32": "U32", "uint64": "U64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2",
    "complex64": "C64", "complex128": "C128",
}  # fmt: skip
_UNSUPPORTED_DTYPES: Final = (
    *_UNSUPPORTED_SIZES, "complex32", "float8_e4m3fnuz", "float8_e5m2fnuz", "float8_e8m0fnu",
    "float4_e2m1fn_x2", "bits1x8", "bits2x4", "bits4x2", "bits8", "bits16",
    *(f"{kind}{bits}" for kind in ("int", "uint") for bits in range(1, 8)),
)  # fmt: skip
# Python 2 calls the module "__builtin__", and so do pickle protocols up to 2.
_BUILTIN_MODULES: Final = ("builtins", "__builtin__")
_CONSTANT_NAMES: Final = (
    "torch.storage TypedStorage", "torch per_tensor_affine",
    "torch per_tensor_symmetric", "torch per_channel_affine",
    "torch per_channel_affine_float_qparams", "torch per_channel_symmetric",
    *(f"{module} {name}" for module in _BUILTIN_MODULES
      for name in ("int", "float", "bool", "str", "list", "dict")),
)  # fmt: skip
_TENSOR_CLASS_NAMES: Final = (
    "torch Tensor", "torch.nn.parameter Parameter", "torch.nn.parameter Buffer",
    *(f"{module} {name}Tensor" for module in ("torch", "torch.cuda") for name in _TENSOR_CLASSES),
)  # fmt: skip
# TorchScript passes lists and dicts to these, to state the types of their items.
_TORCHSCRIPT_FUNCTIONS: Final = (
    "restore_type_tag", "build_tensorlist", "build_intlist", "build_doublelist", "build_boollist",
)  # fmt: skip


def _storage_type(dtype: str) -> StorageType:
    size = _UNSUPPORTED_SIZES.get(dtype)
    return StorageType(dtype, STORAGE[dtype].itemsize if size is None else size)


KNOWN_GLOBALS: Final[dict[str, Any]] = {
    "collections OrderedDict": IteratingFunction(_ordered_dict),
    "collections defaultdict": _empty_dict,
    "collections deque": IteratingFunction(_deque),
    "collections Counter": _first_argument,
    "_codecs encode": _first_argument,
    **{
        f"{module} {name}": _first_argument
        for module in _BUILTIN_MODULES
        for name in ("set", "frozenset", "bytearray", "complex")
    },
    **{f"{module} bytes": _bytes for module in _BUILTIN_MODULES},
    "torch._utils _rebuild_tensor": rebuild.rebuild_tensor,
    "torch._utils _rebuild_tensor_v2": rebuild.rebuild_tensor,
    "torch._utils _rebuild_tensor_v3": rebuild.rebuild_tensor_v3,
    "torch._utils _rebuild_device_tensor_from_cpu_tensor": rebuild.rebuild_device_tensor,
    "torch._utils _rebuild_device_tensor_from_numpy": rebuild.rebuild_device_tensor,
    # The same function in earlier releases.
    "torch._utils _rebuild_xla_tensor": rebuild.rebuild_device_tensor,
    "torch._utils _rebuild_parameter": rebuild.rebuild_parameter,
    "torch._utils _rebuild_parameter_with_state": rebuild.rebuild_parameter,
    # torch.tensor is the module in releases before 1.9.
    "torch.tensor _rebuild_from_type": rebuild.rebuild_from_type,
    "torch._tensor _rebuild_from_type": rebuild.rebuild_from_type,
    "torch._tensor _rebuild_from_type_v2": rebuild.rebuild_from_type,
    "torch._utils _rebuild_qtensor": rebuild.rebuild_quantized,
    "torch._utils _rebuild_sparse_tensor": rebuild.rebuild_sparse,
    "torch._utils _rebuild_sparse_csr_tensor": rebuild.rebuild_sparse,
    "torch._utils _rebuild_nested_tensor": rebuild.rebuild_nested,
    "torch.nested._internal.nested_tensor _rebuild_njt": rebuild.rebuild_nested,
    "torch._utils _rebuild_meta_tensor_no_storage": rebuild.rebuild_without_storage,
    "torch._utils _rebuild_wrapper_subclass": rebuild.rebuild_wrapper,
    "torch.nn.parameter UninitializedParameter": rebuild.rebuild_uninitialized,
    "torch.nn.parameter UninitializedBuffer": rebuild.rebuild_uninitialized,
    "torch.serialization _get_layout": _first_argument,
    **{f"torch.jit._pickle {name}": _first_argument for name in _TORCHSCRIPT_FUNCTIONS},
    "torch Size": _torch_size,
    "torch.storage UntypedStorage": StorageType(None, 1),
    "torch UntypedStorage": StorageType(None, 1),
    **{
        f"{module} {name}Storage": _storage_type(dtype)
        for module in ("torch", "torch.cuda")
        for name, dtype in _STORAGE_CLASSES.items()
    },
    **{f"torch {name}": NamedConstant(dtype) for name, dtype in _TORCH_DTYPES.items()},
    **{f"torch {name}": NamedConstant(name) for name in _UNSUPPORTED_DTYPES},
    **{name: NamedConstant(name.replace(" ", ".")) for name in _CONSTANT_NAMES},
    **{name: TensorClass(name.replace(" ", ".")) for name in _TENSOR_CLASS_NAMES},
}
