"""The hook's table to frozen dataclasses; every error at once. Pure: no file is looked at."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final, TypeGuard

from vggq.packing.options import OPTION_NAMES, Options, find_problems
from vggq.packing.sizes import parse_size

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BASE: Final = "tool.hatch.build.hooks.vggq"

# hatchling's own, for every hook.
_RESERVED: Final = frozenset(
    {
        "dependencies",
        "enable-by-default",
        "require-runtime-dependencies",
        "require-runtime-features",
    }
)
_KEYS: Final = ("models", "size-limit", "sbom")
_MODEL_KEYS: Final = ("source", "target", "sdist", *OPTION_NAMES)
_SUFFIX: Final = ".vggq"
_SDIST: Final = ("packed", "source")
_SIZE_LIMIT: Final = "100 MiB"
_MAX_NAME: Final = 255


class ConfigurationError(Exception):
    """The table is wrong.

    Attributes:
        errors: one line each, starting with the full dotted key.

    """

    def __init__(self, errors: list[str]) -> None:
        super().__init__("\n".join(errors))
        self.errors = errors


@dataclass(frozen=True, slots=True)
class Model:
    """One table of ``models``.

    Attributes:
        key: its dotted key, for messages.
        source: the checkpoint, relative to the project's root or absolute, with slashes.
        target: the packed file, relative to the project's root, with slashes.
        options: how it is packed.
        sdist: what an sdist carries of it, "packed" or "source".

    """

    key: str
    source: str
    target: str
    options: Options
    sdist: str = "packed"


@dataclass(frozen=True, slots=True)
class Config:
    """The hook's table.

    Attributes:
        models: at least one.
        size_limit: in bytes, of an archive; None for no limit.
        sbom: whether a wheel gets a bill of materials.

    """

    models: tuple[Model, ...]
    size_limit: int | None
    sbom: bool = True


def parse(config: dict[str, Any]) -> Config:
    """The hook's table, proved.

    Raises:
        ConfigurationError: anything in the table is wrong.

    """
    errors = list(_unknown_keys(BASE, set(config) - _RESERVED, _KEYS))
    size_limit = config.get("size-limit", _SIZE_LIMIT)
    errors += _size_limit_errors(size_limit)
    sbom = config.get("sbom", True)
    if not isinstance(sbom, bool):
        errors.append(f"{BASE}.sbom: expected true or false, found {sbom!r}")
    tables = config.get("models")
    if not isinstance(tables, list) or not tables:
        found = "nothing" if tables is None else repr(tables)
        errors.append(f"{BASE}.models: expected an array of tables, found {found}")
        raise ConfigurationError(errors)
    keyed = [(f"{BASE}.models[{index}]", table) for index, table in enumerate(tables)]
    errors += [error for key, table in keyed for error in _model_errors(key, table)]
    located = [(key, table) for key, table in keyed if _has_paths(table)]
    errors += _shared_targets(located)
    errors += _split_sources(located)
    if errors:
        raise ConfigurationError(errors)
    models = tuple(_model(key, table) for key, table in keyed)
    return Config(models, None if size_limit is False else parse_size(size_limit), sbom)


def _model(key: str, table: dict[str, Any]) -> Model:
    options = Options.from_table({k: table[k] for k in OPTION_NAMES if k in table})
    source, target = _normal(table["source"]), _normal(table["target"])
    return Model(key, source, target, options, table.get("sdist", "packed"))


def _model_errors(key: str, table: object) -> Iterator[str]:
    if not isinstance(table, dict):
        yield f"{key}: expected a table, found {table!r}"
        return
    yield from _unknown_keys(key, table, _MODEL_KEYS)
    yield from _path_errors(key, table)
    yield from _sdist_errors(key, table)
    for option, problem in find_problems(table):
        yield f"{key}.{option}: {problem}"


def _size_limit_errors(value: object) -> Iterator[str]:
    if value is False:
        return
    try:
        if not isinstance(value, str | int):
            raise ValueError(f"expected a size or false, found {value!r}")  # noqa: TRY004, TRY301
        parse_size(value)
    except ValueError as error:
        yield f"{BASE}.size-limit: {error}"


def _sdist_errors(key: str, table: dict[str, Any]) -> Iterator[str]:
    value, source = table.get("sdist", "packed"), table.get("source")
    if value not in _SDIST:
        yield f"{key}.sdist: expected {' or '.join(map(repr, _SDIST))}, found {value!r}"
    elif value == "source" and isinstance(source, str) and _is_outside(_normal(source)):
        yield f"{key}.sdist: 'source' needs a source inside the project, found {source!r}"


def _path_errors(key: str, table: dict[str, Any]) -> Iterator[str]:
    for name in ("source", "target"):
        value = table.get(name)
        if not isinstance(value, str) or not value:
            found = "nothing" if value is None else repr(value)
            yield f"{key}.{name}: expected the path of a file, found {found}"
        elif not _can_be(value):
            yield f"{key}.{name}: expected names of at most {_MAX_NAME} bytes, found {value!r}"
        elif name == "target":
            yield from _target_errors(f"{key}.target", value)
    if _has_paths(table) and _normal(table["source"]) == _normal(table["target"]):
        yield f"{key}.target: {table['target']!r} is the source itself"


def _target_errors(key: str, value: str) -> Iterator[str]:
    path = _normal(value)
    if _is_outside(path):
        yield f"{key}: expected a path inside the project, found {value!r}"
    if posixpath.splitext(path)[1] != _SUFFIX:
        yield f"{key}: expected a path that ends in {_SUFFIX}, found {value!r}"


def _shared_targets(located: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    first: dict[str, str] = {}
    for key, table in located:
        other = first.setdefault(_normal(table["target"]), key)
        if other != key:
            yield f"{key}.target: {table['target']!r} is the target of {other} as well"


def _split_sources(located: list[tuple[str, dict[str, Any]]]) -> Iterator[str]:
    """Where an sdist is to carry a source for one model, and to withhold it for another."""
    first: dict[str, tuple[str, object]] = {}
    for key, table in located:
        sdist = table.get("sdist", "packed")
        other, there = first.setdefault(_normal(table["source"]), (key, sdist))
        if there != sdist:
            yield f"{key}.sdist: {sdist!r} is asked for, and {there!r} by {other}, for one source"


def _unknown_keys(key: str, found: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    for name in sorted(set(found) - set(known)):
        near = get_close_matches(name, known)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
        yield f"{key}.{name}: unknown key; {hint}"


def _has_paths(table: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(table, dict) and all(
        isinstance(table.get(name), str) and table[name] for name in ("source", "target")
    )


def _can_be(path: str) -> bool:
    """Whether file systems have such names, and none of them ends at a NUL."""
    names = _normal(path).split("/")
    return "\0" not in path and all(len(name.encode()) <= _MAX_NAME for name in names)


def _is_outside(path: str) -> bool:
    return posixpath.isabs(path) or path.partition("/")[0] == ".." or path[1:2] == ":"


def _normal(path: str) -> str:
    return posixpath.normpath(path.replace("\\", "/"))
