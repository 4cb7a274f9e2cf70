"""The names in an HDF5 file: one for every path that leads to a dataset, over links of any kind.

A dataset has several names if links of its file lead to it, or to a group above it. Keras writes
such links for a variable that several layers share.
https://docs.h5py.org/en/stable/high/group.html#dict-interface-and-links
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from ....errors import SourceError
from ...optional import require

if TYPE_CHECKING:
    from collections.abc import Iterator

MAX_GROUP_DEPTH: Final = 256
# Without a limit, two links to one group at each of n levels would give 2^n names.
MAX_FURTHER_NAMES: Final = 1 << 13

ELSEWHERE: Final = "stored in another file, which is not supported"

ObjectKey = tuple[int, int]
"""The number of an open file, and the address of an object in it."""


@dataclass(frozen=True, slots=True)
class Tree:
    """The content of a group, by path from the group.

    Attributes:
        datasets: the datasets; one with several names occurs once for each.
        problems: for each name that leads to no dataset or group of the file, the reason.
        cycles: the paths that lead back to a group which contains them.
        attributes: the names of all attributes of the groups and datasets.

    """

    datasets: dict[str, Any] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)
    cycles: list[str] = field(default_factory=list)
    attributes: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class _Place:
    """A group to visit, as an object of h5py's low-level interface, which is the faster one.

    Attributes:
        group: the group.
        prefix: the start of the paths of its members.
        keys: the keys of the group, and of all groups on the path to it.

    """

    group: Any
    prefix: str
    keys: frozenset[ObjectKey]


def object_key(item: Any) -> ObjectKey:
    """Return a key that is the same for all names of one group or dataset."""
    return _key_of(require("h5py", "build"), item.id)


def _key_of(h5py: Any, identifier: Any) -> ObjectKey:
    info = h5py.h5o.get_info(identifier)
    return info.fileno, info.addr


def read_tree(
    group: Any, *, max_depth: int = MAX_GROUP_DEPTH, max_further_names: int = MAX_FURTHER_NAMES
) -> Tree:
    """Return the content of an open group. Links to other files are not followed.

    Raises:
        SourceError: groups are nested more than `max_depth` deep, or groups and datasets have more
            than `max_further_names` names beyond one for each.

    """
    return _TreeReader(group, max_depth, max_further_names).read()


class _TreeReader:
    def __init__(self, group: Any, max_depth: int, max_further_names: int) -> None:
        self._h5py = require("h5py", "build")
        self._root = _key_of(self._h5py, group.id)
        self._max_depth = max_depth
        self._max_further_names = max_further_names
        self._further_names = 0
        self._seen = {self._root}
        self._places = [_Place(group.id, "", frozenset({self._root}))]
        self._tree = Tree()

    def read(self) -> Tree:
        while self._places:
            place = self._places.pop()
            if len(place.keys) > self._max_depth:
                raise SourceError(f"has groups that are nested more than {self._max_depth} deep")
            self._add_attributes(place.group)
            for path, item in self._members(place):
                self._visit(place, path, item)
        return self._tree

    def _visit(self, place: _Place, path: str, item: Any) -> None:
        key = _key_of(self._h5py, item)
        self._count_name(key)
        if key in place.keys:
            self._tree.cycles.append(path)
        elif key[0] != self._root[0]:
            self._tree.problems[path] = ELSEWHERE
        elif isinstance(item, self._h5py.h5d.DatasetID):
            self._tree.datasets[path] = self._h5py.Dataset(item)
            self._add_attributes(item)
        else:
            self._places.append(_Place(item, f"{path}/", place.keys | {key}))

    def _count_name(self, key: ObjectKey) -> None:
        self._further_names += key in self._seen
        self._seen.add(key)
        if self._further_names > self._max_further_names:
            raise SourceError(f"its links give more than {self._max_further_names} further names")

    def _members(self, place: _Place) -> Iterator[tuple[str, Any]]:
        """Yield the groups and datasets in a group; other names are added to the problems."""
        h5py, links = self._h5py, place.group.links
        for name in place.group:
            path = f"{place.prefix}{_text(name)}"
            kind = links.get_info(name).type
            if kind == h5py.h5l.TYPE_EXTERNAL:
                file = _text(links.get_val(name)[0])
                self._tree.problems[path] = f"a link to the file {file!r}; copy its content instead"
                continue
            try:
                item = h5py.h5o.open(place.group, name)
            except (KeyError, OSError, RuntimeError):
                if kind != h5py.h5l.TYPE_SOFT:
                    raise
                target = _text(links.get_val(name))
                self._tree.problems[path] = f"a soft link to {target!r}, which does not exist"
                continue
            # Named datatypes have no values.
            if isinstance(item, h5py.h5g.GroupID | h5py.h5d.DatasetID):
                yield path, item

    def _add_attributes(self, item: Any) -> None:
        if self._h5py.h5a.get_num_attrs(item):
            add = self._tree.attributes.add
            self._h5py.h5a.iterate(item, lambda name, *_: add(_text(name)))


def _text(value: bytes) -> str:
    return value.decode("utf-8", "surrogateescape")
