"""Validate the paths of the models in the hook's configuration; no file is read."""

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any, Final, TypeGuard

if TYPE_CHECKING:
    from collections.abc import Iterator

_SUFFIX: Final = ".vggq"
_MAX_NAME_SIZE: Final = 255


def normalize_path(path: str) -> str:
    """Return a path with slashes, without `.` and without avoidable `..`."""
    return posixpath.normpath(path.replace("\\", "/"))


def is_outside(path: str) -> bool:
    """Return whether a normalized path is outside the project; absolute paths always are."""
    return posixpath.isabs(path) or path.partition("/")[0] == ".." or path[1:2] == ":"


def has_paths(table: object) -> TypeGuard[dict[str, Any]]:
    """Return whether a model's table has both paths."""
    return isinstance(table, dict) and all(
        isinstance(table.get(name), str) and table[name] for name in ("source", "target")
    )


def find_path_errors(key: str, table: dict[str, Any]) -> Iterator[str]:
    """Yield the errors in the paths of one model."""
    for name in ("source", "target"):
        value = table.get(name)
        if not isinstance(value, str) or not value:
            found = "nothing" if value is None else repr(value)
            yield f"{key}.{name}: expected the path of a file, found {found}"
        elif not _has_valid_names(value):
            yield (
                f"{key}.{name}: expected names of at most {_MAX_NAME_SIZE} bytes without NUL, "
                f"found {value!r}"
            )
        elif name == "target":
            yield from _find_target_errors(f"{key}.target", value)
    if has_paths(table) and normalize_path(table["source"]) == normalize_path(table["target"]):
        yield f"{key}.target: {table['target']!r} is the source itself"


def _has_valid_names(path: str) -> bool:
    """Return whether a file system can have files of these names."""
    names = normalize_path(path).split("/")
    return "\0" not in path and all(len(name.encode()) <= _MAX_NAME_SIZE for name in names)


def _find_target_errors(key: str, value: str) -> Iterator[str]:
    path = normalize_path(value)
    if is_outside(path):
        yield f"{key}: expected a path inside the project, found {value!r}"
    if {"*", "?"} & {*path}:
        # Windows has no files with these characters, so nobody could install the wheel there.
        yield f"{key}: expected the path of one file, found the pattern {value!r}"
    if posixpath.splitext(path)[1] != _SUFFIX:
        yield f"{key}: expected a path that ends in {_SUFFIX}, found {value!r}"


def find_shared_targets(tables: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    """Yield an error for each model, by key, whose target is that of an earlier model."""
    first: dict[str, str] = {}
    for key, table in tables:
        other = first.setdefault(normalize_path(table["target"]), key)
        if other != key:
            yield f"{key}.target: {table['target']!r} is also the target of {other}"


def find_sdist_conflicts(tables: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    """Yield an error for each model whose `sdist` differs from an earlier model's of its source.

    An sdist cannot both contain a source and leave it out.
    """
    first: dict[str, tuple[str, object]] = {}
    for key, table in tables:
        sdist = table.get("sdist", "packed")
        other, expected = first.setdefault(normalize_path(table["source"]), (key, sdist))
        if expected != sdist:
            yield (
                f"{key}.sdist: expected {expected!r}, as in {other} for the same source, "
                f"found {sdist!r}"
            )
