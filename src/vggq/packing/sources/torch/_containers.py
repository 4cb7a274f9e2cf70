"""The containers of a checkpoint: their items by name, and those that hold tensors."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ._numpy import is_array
from ._objects import DeviceTensor, Placeholder, Storage, Tensor, UnsupportedTensor
from ._rebuild import is_old_tensor

if TYPE_CHECKING:
    from collections.abc import Iterable

CONTAINERS: Final = (dict, list, tuple)
# Keys are joined to names with this character, as torch joins the names of modules.
SEPARATOR: Final = "."
_TENSORS: Final = (Tensor, UnsupportedTensor, DeviceTensor, Storage)
_OUTER_TYPES: Final = frozenset({*CONTAINERS, Placeholder})
_DATA_TYPES: Final = frozenset({*_TENSORS, Placeholder})


def is_tensor(value: Any) -> bool:
    """Return whether a value is a tensor of torch, or a storage, which has values too."""
    return isinstance(value, _TENSORS) or is_old_tensor(value)


def is_data(value: Any) -> bool:
    """Return whether a value is a tensor or a numpy array of numbers."""
    return is_tensor(value) or is_array(value)


def named_items(container: Any) -> Iterable[tuple[str, Any]]:
    """Yield the items of a container with their names: keys, or indices from 0."""
    return ((str(key), value) for key, value in keyed_items(container))


def keyed_items(container: Any) -> Iterable[tuple[Any, Any]]:
    """Yield the items of a container with their keys, or with their indices from 0."""
    return container.items() if isinstance(container, dict) else enumerate(container)


def join_names(*names: str) -> str:
    """Return the name of an item within containers, such as "blocks.0.weight"."""
    return SEPARATOR.join(name for name in names if name)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """An unpickled checkpoint, and where its tensors are.

    Attributes:
        root: the object that was pickled.
        direct_holders: the ids of the containers and placeholders that tensors are in. In a
            checkpoint without tensors, numpy arrays are taken for tensors.
        holders: the ids of those from which tensors can be reached.
        data_holders: the ids of those from which tensors or numpy arrays can be reached.

    """

    root: Any
    direct_holders: set[int]
    holders: set[int]
    data_holders: set[int]

    @classmethod
    def from_root(cls, root: Any) -> Checkpoint:
        """Look for the tensors in an unpickled object."""
        links = _Nesting()
        links.follow(root)
        direct = links.of_tensors or links.of_arrays
        data_holders = links.holders(links.of_tensors | links.of_arrays)
        return cls(root, direct, links.holders(direct), data_holders)

    def has_tensors(self, container: dict[Any, Any]) -> bool:
        """Return whether a dict has tensors itself, not only in other containers."""
        return id(container) in self.direct_holders

    def holds_tensors(self, value: Any) -> bool:
        """Return whether tensors can be reached from a value."""
        return id(value) in self.holders


@dataclass(slots=True)
class _Nesting:
    """The containers and placeholders of a checkpoint, by their ids.

    Attributes:
        outer_id: for each that is not empty, the first one that it is in.
        more_outer_ids: the others that it is in.
        of_tensors: those that tensors are in.
        of_arrays: those that numpy arrays are in.

    """

    outer_id: dict[int, int] = field(default_factory=dict)
    more_outer_ids: dict[int, list[int]] = field(default_factory=dict)
    of_tensors: set[int] = field(default_factory=set)
    of_arrays: set[int] = field(default_factory=set)

    def follow(self, root: Any) -> None:
        """Visit every object once: a pickle can nest one list many times, or in itself."""
        pending: list[Any] = []
        self._add(root, 0, pending)
        while pending:
            outer = pending.pop()
            outer_id = id(outer)
            for inner in _inner_objects(outer):
                # Most values of a checkpoint are neither; their types are compared fastest.
                kind = type(inner)
                if kind in _OUTER_TYPES:
                    self._add(inner, outer_id, pending)
                if kind in _DATA_TYPES:
                    self._add_data(inner, outer_id)

    def _add(self, value: Any, outer_id: int, pending: list[Any]) -> None:
        value_id = id(value)
        if value_id in self.outer_id:
            self.more_outer_ids.setdefault(value_id, []).append(outer_id)
        elif isinstance(value, Placeholder) or (isinstance(value, CONTAINERS) and value):
            self.outer_id[value_id] = outer_id
            pending.append(value)

    def _add_data(self, value: Any, outer_id: int) -> None:
        if is_tensor(value):
            self.of_tensors.add(outer_id)
        elif is_array(value):
            self.of_arrays.add(outer_id)

    def holders(self, found: set[int]) -> set[int]:
        """Return the ids of containers, and of everything that they are in."""
        pending = list(found)
        holders: set[int] = set()
        while pending:
            holder = pending.pop()
            if holder not in holders:
                holders.add(holder)
                pending += self.more_outer_ids.get(holder, ())
                if holder in self.outer_id:
                    pending.append(self.outer_id[holder])
        return holders


def _inner_objects(outer: Any) -> Iterable[Any]:
    if isinstance(outer, Placeholder):
        return (outer.maker, outer.arguments, outer.parts)
    return outer.values() if isinstance(outer, dict) else outer
