"""What stands in for the objects of a state dict's pickle."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class StorageType:
    """torch.FloatStorage and its like; `dtype` is None where it is of bytes."""

    dtype: str | None
    itemsize: int


@dataclass(frozen=True, slots=True)
class Storage:
    """A run of elements of one type."""

    kind: StorageType
    key: str
    count: int

    @property
    def size(self) -> int:
        """Its bytes."""
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
    """A tensor that no packed file can hold.

    Attributes:
        kind: what it is.
        remedy: what makes a tensor of it that can be held.

    """

    kind: str
    remedy: str


@dataclass(frozen=True, slots=True)
class NamedConstant:
    """torch.float32, torch.Tensor and what else is named and not called."""

    name: str
