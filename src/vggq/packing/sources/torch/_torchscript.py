"""The parameters and buffers of a TorchScript module, found without running its code."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ....errors import SourceError
from .._remarks import remark_unpacked
from .._source import Contents
from ._containers import is_tensor, join_names, named_items
from ._named_tensors import NameLimit, list_tensors, make_valid_names, too_nested
from ._objects import Placeholder, UnknownGlobal
from ._tensors import describe_tensor

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ._model_tensors import Graph
    from ._records import ArchiveRecords

_MAX_CODE_SIZE: Final = 1 << 24
_MAX_DEPTH: Final = 200
_ROOT_MODULE: Final = "__torch__"
_MODULE_CLASS: Final = re.compile(r"class (\w+)\(Module\):")
_DECLARATION: Final = re.compile(r"  __(?:parameters|buffers)__ = \[(.*)\]")
_STRING: Final = re.compile(r'"((?:[^"\\]|\\.)*)"')
_NO_PARAMETERS: Final = (
    "a TorchScript archive without parameters and buffers: its tensors are constants of its code "
    "or other attributes; use restore = 'model'"
)


def find_parameters(records: ArchiveRecords, graph: Graph, constants: Any) -> Contents:
    """Return the tensors with the names that the loaded module's `state_dict()` has.

    Args:
        records: the records of the archive, which have the code.
        graph: the module.
        constants: the constants of the code.

    Raises:
        SourceError: the archive is damaged, or has no parameters and buffers.

    """
    collector = _Collector(_Code(records))
    if isinstance(graph.root, Placeholder):
        collector.collect(graph.root)
    if not collector.found:
        raise SourceError(_NO_PARAMETERS)
    tensors = [describe_tensor(name, value, graph.storages) for name, value in collector.found]
    known = {id(value) for _, value in collector.found}
    others = [*list_tensors(graph.root), *list_tensors(constants, "constants")]
    left_out = make_valid_names(name for name, value in others if id(value) not in known)
    return Contents(tensors, remarks=remark_unpacked({"tensors": left_out}))


@dataclass(slots=True)
class _Collector:
    """The parameters and buffers of a module and of the modules in it."""

    code: _Code
    found: list[tuple[str, Any]] = field(default_factory=list)
    _limit: NameLimit = field(default_factory=NameLimit)
    _members: dict[int, list[tuple[str, Any]]] = field(default_factory=dict)

    def collect(self, module: Placeholder, prefix: str = "", depth: int = 0) -> None:
        """Collect the tensors of a module, under a prefix."""
        if depth > _MAX_DEPTH:
            raise too_nested()
        if id(module) not in self._members:
            self._members[id(module)] = list(self._find_members(module))
        for key, value in self._members[id(module)]:
            name = join_names(prefix, key)
            self._limit.add(name)
            if is_tensor(value):
                self.found.append((name, value))
            else:
                self.collect(value, name, depth + 1)

    def _find_members(self, module: Placeholder) -> Iterator[tuple[str, Any]]:
        """Yield the tensors of a module, and other objects that may be modules."""
        declared = self.code.declared_tensors(module)
        state = module.parts[-1] if module.parts else None
        if declared is None or not isinstance(state, dict):
            return
        for key, value in named_items(state):
            is_parameter = key in declared and is_tensor(value)
            if is_parameter or (isinstance(value, Placeholder) and not is_tensor(value)):
                yield key, value


class _Code:
    """The declarations of classes in the code of an archive."""

    def __init__(self, records: ArchiveRecords) -> None:
        self._records = records
        self._classes: dict[str, dict[str, frozenset[str]]] = {}

    def declared_tensors(self, module: Placeholder) -> frozenset[str] | None:
        """Return the names of a module's parameters and buffers; None if it is no module."""
        if not isinstance(module.maker, UnknownGlobal):
            return None
        source, _, name = module.maker.name.rpartition(".")
        if source.partition(".")[0] != _ROOT_MODULE:
            return None
        if source not in self._classes:
            record = f"code/{source.replace('.', '/')}.py"
            content = self._records.read_whole(record, _MAX_CODE_SIZE)
            self._classes[source] = _find_modules(content.decode(errors="replace"))
        return self._classes[source].get(name)


def _find_modules(code: str) -> dict[str, frozenset[str]]:
    """Return the names of the parameters and buffers of each module that the code declares."""
    found: dict[str, frozenset[str]] = {}
    name = None
    for line in code.splitlines():
        if line.startswith("class "):
            started = _MODULE_CLASS.fullmatch(line)
            name = started.group(1) if started else None
            if name is not None:
                found[name] = frozenset()
        elif name is not None and (declared := _DECLARATION.fullmatch(line)):
            found[name] |= frozenset(_STRING.findall(declared.group(1)))
    return found
