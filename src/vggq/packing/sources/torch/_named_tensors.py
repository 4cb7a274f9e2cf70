"""All tensors of an unpickled object, with the path to each as its name."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from ...._fields import is_text
from ....errors import SourceError
from .._unique_names import make_unique
from ._containers import Checkpoint, is_data, join_names, named_items
from ._objects import Placeholder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# A module pickles its tensors and its modules in these dicts. Their keys are the names of
# attributes of the module.
_MODULE_DICTS: Final = frozenset({"_parameters", "_buffers", "_modules"})
_UNNAMED: Final = "tensor"
_MAX_DEPTH: Final = 1000
_MAX_NAMES: Final = 100_000
_MAX_NAMES_SIZE: Final = 1 << 24
# A pickle can nest one list many times. Beyond this number of items, each list is visited once.
_MAX_REPEATED_ITEMS: Final = 20_000


class NameLimit:
    """A limit of the names that a checkpoint may need."""

    def __init__(self) -> None:
        self._count = 0
        self._size = 0

    def add(self, name: str) -> None:
        """Count a name.

        Raises:
            SourceError: there are too many names, or they are too long.

        """
        self._count += 1
        self._size += len(name)
        if self._count > _MAX_NAMES or self._size > _MAX_NAMES_SIZE:
            raise too_nested()


def too_nested() -> SourceError:
    """Return the error for containers that are nested too deep or too often."""
    return SourceError("the containers of the checkpoint are nested too often")


def list_tensors(root: Any, prefix: str = "") -> list[tuple[str, Any]]:
    """Return pairs of a name and a tensor or a numpy array, in the order of the pickle.

    A tensor has a name for each place at which it is. The attributes of objects of unknown classes
    are included: a module's tensors have the names that they have in its state dict.

    Args:
        root: the unpickled object.
        prefix: first part of the names; may be empty.

    Raises:
        SourceError: containers are nested too deep, or need too many names.

    """
    return _Walk(root).run(root, prefix)


class _Walk:
    """A walk through an unpickled object, depth first and without recursion."""

    def __init__(self, root: Any) -> None:
        self._holders = Checkpoint.from_root(root).data_holders
        self._limit = NameLimit()
        self._found: list[tuple[str, Any]] = []
        self._visited: set[int] = set()
        self._open: set[int] = set()
        self._repeated_items = 0

    def run(self, root: Any, prefix: str) -> list[tuple[str, Any]]:
        if is_data(root):
            return [(prefix, root)]
        if id(root) in self._holders:
            self._walk(root, prefix)
        return self._found

    def _walk(self, root: Any, prefix: str) -> None:
        stack = [self._enter(root, prefix)]
        while stack:
            name, value, items, is_repeated = stack[-1]
            item = next(items, None)
            if item is None:
                self._open.discard(id(value))
                stack.pop()
                continue
            self._repeated_items += is_repeated
            if is_data(item[1]):
                self._add(join_names(name, item[0]), item[1])
            elif self._should_enter(item[1]):
                stack.append(self._enter(item[1], join_names(name, item[0])))
            if len(stack) > _MAX_DEPTH:
                raise too_nested()

    def _enter(self, value: Any, name: str) -> tuple[str, Any, Iterator[tuple[str, Any]], bool]:
        self._limit.add(name)
        is_repeated = id(value) in self._visited
        self._visited.add(id(value))
        self._open.add(id(value))
        return name, value, iter(_named_children(value)), is_repeated

    def _should_enter(self, value: Any) -> bool:
        if id(value) not in self._holders or id(value) in self._open:
            return False
        return id(value) not in self._visited or self._repeated_items < _MAX_REPEATED_ITEMS

    def _add(self, name: str, value: Any) -> None:
        self._limit.add(name)
        self._found.append((name, value))


def _named_children(value: Any) -> Iterable[tuple[str, Any]]:
    return _named_parts(value) if isinstance(value, Placeholder) else named_items(value)


def _named_parts(value: Placeholder) -> Iterator[tuple[str, Any]]:
    """Yield the attributes of an object by name, and its arguments and items by number."""
    if isinstance(value.maker, Placeholder):
        yield "", value.maker
    number = 0
    for part in (value.arguments, *value.parts):
        states = _states(part)
        for state in states:
            yield from _named_attributes(state)
        if states:
            continue
        for item in part if isinstance(part, list | tuple) else [part]:
            yield str(number), item
            number += 1


def _states(part: Any) -> list[dict[Any, Any]]:
    """Return the attributes in a part of an object: a dict, or a pair for a class with slots."""
    if isinstance(part, dict):
        return [part]
    is_pair = type(part) is tuple and len(part) == 2 and isinstance(part[1], dict)
    if is_pair and (part[0] is None or isinstance(part[0], dict)):
        return [state for state in part if state is not None]
    return []


def _named_attributes(state: dict[Any, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in named_items(state):
        yield ("" if key in _MODULE_DICTS and isinstance(value, dict) else key), value


def make_valid_names(names: Iterable[str]) -> list[str]:
    """Return valid names of which no two are the same; a number follows a repeated name."""
    return make_unique([_make_valid(name) for name in names])


def _make_valid(name: str) -> str:
    if is_text(name):
        return name or _UNNAMED
    return name.encode("utf-8", "backslashreplace").decode()
