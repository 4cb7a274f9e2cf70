"""The tensors of the state dict in an unpickled checkpoint."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ....errors import SourceError
from .._source import Contents
from ._choice import choose
from ._containers import CONTAINERS, Checkpoint, is_data, join_names, keyed_items
from ._left_out import LeftOut
from ._objects import OpaqueKey, Placeholder, UnsupportedTensor, with_article
from ._tensors import describe_tensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ._tensors import StorageReader

# A pickle can nest one list many times, so that a short file has endless names.
_MAX_DEPTH: Final = 50
_MAX_ITEMS: Final = 500_000
_MAX_NESTED_TENSORS: Final = 100_000
_MAX_NESTED_NAMES_SIZE: Final = 1 << 24


def find_contents(root: Any, key: str | Sequence[str] | None, storages: StorageReader) -> Contents:
    """Return the tensors of the state dict in a checkpoint.

    Tensors in containers of the state dict get joined names, such as "blocks.0.weight".

    Args:
        root: the unpickled object.
        key: as for `choose`.
        storages: the storages of the tensors.

    Raises:
        SourceError: there is no state dict at the key, or there are several and no key; a tensor
            reaches beyond its storage; or the containers are nested too deep or too often.

    """
    checkpoint = Checkpoint.from_root(root)
    chosen = choose(checkpoint, key)
    collector = _Collector(checkpoint, LeftOut(checkpoint))
    for one in chosen:
        collector.collect(one.container, one.prefix)
    collector.left_out.add_all_but([one.path for one in chosen], root)
    tensors = [describe_tensor(name, value, storages) for name, value in collector.tensors]
    return Contents(tensors, chosen[0].key, collector.left_out.remarks())


@dataclass(slots=True)
class _Collector:
    """The tensors in the chosen containers, and the objects that are left out.

    Attributes:
        checkpoint: the checkpoint.
        left_out: the objects that are not packed.
        tensors: pairs of a name and a tensor, or an object that holds tensors.

    """

    checkpoint: Checkpoint
    left_out: LeftOut
    tensors: list[tuple[str, Any]] = field(default_factory=list)
    _items: int = 0
    _nested: int = 0
    _nested_names_size: int = 0

    def collect(self, container: Any, prefix: str, depth: int = 0) -> None:
        """Collect the tensors in a container, and those in its containers."""
        self._items += len(container)
        if depth > _MAX_DEPTH or (depth and self._items > _MAX_ITEMS):
            raise _too_nested()
        for key, value in keyed_items(container):
            name = join_names(prefix, str(key))
            if not self._holds_data(value):
                self.left_out.add(name, value)
            elif isinstance(key, OpaqueKey):
                kind = f"tensor with {with_article(key.kind)} as its key"
                self._add(name, UnsupportedTensor(kind, "it with a string as its key"), depth)
            elif isinstance(value, CONTAINERS):
                self.collect(value, name, depth + 1)
            else:
                self._add(name, value, depth)

    def _holds_data(self, value: Any) -> bool:
        """Return whether a value is or holds tensors; numpy arrays in objects do not count."""
        if isinstance(value, CONTAINERS):
            return id(value) in self.checkpoint.data_holders
        return is_data(value) or (
            isinstance(value, Placeholder) and self.checkpoint.holds_tensors(value)
        )

    def _add(self, name: str, value: Any, depth: int) -> None:
        if depth:
            self._nested += 1
            self._nested_names_size += len(name)
            if (
                self._nested > _MAX_NESTED_TENSORS
                or self._nested_names_size > _MAX_NESTED_NAMES_SIZE
            ):
                raise _too_nested()
        self.tensors.append((name, value))


def _too_nested() -> SourceError:
    return SourceError(
        "the containers of the state dict are nested too often; save a dict of tensors instead"
    )
