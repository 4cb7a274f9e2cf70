"""Stand-ins for the objects in the pickle of a state dict."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StorageType:
    """A storage class such as torch.FloatStorage; `dtype` is None for untyped bytes."""

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
    """A strided view of a storage; offset and strides count elements of `dtype`."""

    storage: Storage
    dtype: str
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


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
class NamedConstant:
    """A global that is named and never called, such as torch.float32 or torch.Tensor."""

    name: str
