"""Stand-ins for the objects in the pickle of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

_MAX_NAME_SHOWN: Final = 200
_MAX_KEY_BITS: Final = 64
_MAX_KEY_SIZE: Final = 1 << 10
# These functions only make an object of the class that is their first argument.
_CONSTRUCTORS: Final = frozenset(
    {
        "builtins.getattr", "__builtin__.getattr", "copy_reg.__newobj__", "copy_reg._reconstructor",
        "copyreg.__newobj__", "copyreg._reconstructor", "numpy._core.multiarray._reconstruct",
        "numpy.core.multiarray._reconstruct",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class StorageType:
    """A storage class such as torch.FloatStorage.

    Attributes:
        dtype: the safetensors name of the elements' dtype, or torch's name of an unsupported one;
            None for untyped bytes.
        itemsize: bytes of an element; 0 for a class that is not known.

    """

    dtype: str | None
    itemsize: int


@dataclass(frozen=True, slots=True)
class Storage:
    """A contiguous run of elements of one type."""

    kind: StorageType
    key: str
    count: int

    @property
    def size(self) -> int:
        """Size in bytes."""
        return self.count * self.kind.itemsize


@dataclass(frozen=True, slots=True)
class Tensor:
    """A strided view of a storage; offset and strides count elements of `dtype`.

    Attributes:
        storage: the storage.
        dtype: the safetensors name of its dtype, or torch's name of an unsupported one.
        offset: index of the first element.
        shape: the sizes.
        strides: one for each size.
        conjugated: whether the storage has the complex conjugates of the values.

    """

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    conjugated: bool = False


@dataclass(frozen=True, slots=True)
class UnsupportedTensor:
    """A tensor that a packed file cannot store.

    Attributes:
        kind: description of the tensor, such as "sparse tensor".
        remedy: expression or advice that gives a supported tensor.

    """

    kind: str
    remedy: str


@dataclass(frozen=True, slots=True)
class DeviceTensor:
    """A tensor of a device without storages, saved as a tensor of the CPU or as a numpy array.

    Attributes:
        data: the tensor or the array.
        dtype: the dtype to which torch converts it when it loads the tensor.

    """

    data: Tensor | UnsupportedTensor | Placeholder
    dtype: str


@dataclass(frozen=True, slots=True)
class NamedConstant:
    """A global that is named and never called, such as torch.float32 or torch.strided."""

    name: str


@dataclass(frozen=True, slots=True)
class TensorClass(NamedConstant):
    """A class of tensors, such as torch.Tensor; old releases of torch made objects of it."""


@dataclass(frozen=True, slots=True)
class IteratingFunction:
    """A stand-in for a function that iterates over its first argument."""

    function: Callable[..., Any]

    def __call__(self, *arguments: Any) -> Any:
        """Call the stand-in."""
        return self.function(*arguments)


@dataclass(frozen=True, slots=True)
class UnknownGlobal:
    """A class or function that is not in the table of globals; it is not imported or called."""

    name: str

    def __repr__(self) -> str:
        """Return the name, which may be long, as messages show it."""
        return self.name[:_MAX_NAME_SHOWN]


@dataclass(eq=False, repr=False, slots=True)
class Placeholder:
    """An object that is not made: what the pickle says about it, and nothing else.

    Attributes:
        maker: its class, or the function that would return it.
        arguments: the arguments of the class or the function.
        parts: the states and items that the pickle adds to the object.
        has_keys: whether the pickle sets items by key, as it does for a subclass of dict.

    """

    maker: Placeholder | UnknownGlobal | NamedConstant
    arguments: tuple[Any, ...] = ()
    parts: list[Any] = field(default_factory=list)
    has_keys: bool = False

    @property
    def kind(self) -> str:
        """Name of its class, or of the function that would return it."""
        maker = self.maker
        if isinstance(maker, Placeholder):
            return "an unknown class"
        first = self.arguments[0] if self.arguments else None
        if maker.name in _CONSTRUCTORS and isinstance(first, UnknownGlobal):
            return repr(first)
        return maker.name[:_MAX_NAME_SHOWN]

    def __repr__(self) -> str:
        """Return the class; the arguments could contain one another."""
        return f"<{self.kind}>"


@dataclass(eq=False, slots=True)
class OpaqueKey:
    """The key of a dict that is of another type than the keys of state dicts are.

    It is compared by identity, because to hash nested tuples or long numbers could take forever.
    """

    kind: str

    def __str__(self) -> str:
        """Return a description, which is no name of a tensor."""
        return f"<{self.kind}>"


def make_key(key: object) -> Any:
    """Return the key of a dict itself if it is a string or a number, else an `OpaqueKey`."""
    if key is None or type(key) in (str, float, bool):
        return key
    if type(key) is bytes and len(key) <= _MAX_KEY_SIZE:
        return key
    if type(key) is int and key.bit_length() <= _MAX_KEY_BITS:
        return key
    return OpaqueKey(kind_of(key))


def kind_of(value: object) -> str:
    """Return the name of a value's class as messages show it."""
    if not isinstance(value, _STAND_INS):
        return type(value).__name__
    if isinstance(value, Placeholder):
        return value.kind
    if isinstance(value, UnknownGlobal | NamedConstant):
        return f"reference to {value.name[:_MAX_NAME_SHOWN]}"
    return "storage" if isinstance(value, Storage) else "tensor"


# One tuple, because an instance check takes long for each of many keys.
_STAND_INS: Final = (
    Placeholder, UnknownGlobal, NamedConstant, Tensor, UnsupportedTensor, DeviceTensor, Storage
)  # fmt: skip


def with_article(kind: str) -> str:
    """Return the name of a class with its article."""
    return f"{'an' if kind[:1] in set('aeiou') else 'a'} {kind}"
