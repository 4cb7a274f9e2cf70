"""Validate the hook's table in pyproject.toml, and turn it into dataclasses; no file is read."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, Final

from vggq.errors import OptionError
from vggq.packing import OPTION_NAMES, RENAMED, Options, parse_size

from .messages import BuildError, format_option_error
from .model_paths import (
    find_path_errors,
    find_sdist_conflicts,
    find_shared_targets,
    has_paths,
    is_outside,
    normalize_path,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

BASE_KEY: Final = "tool.hatch.build.hooks.vggq"

# hatchling defines these keys for every hook.
_HATCHLING_KEYS: Final = frozenset(
    {
        "dependencies",
        "enable-by-default",
        "require-runtime-dependencies",
        "require-runtime-features",
    }
)
_KEYS: Final = ("models", "size-limit", "sbom")
_MODEL_KEYS: Final = ("source", "target", "sdist", *OPTION_NAMES)
_SDIST_VALUES: Final = ("packed", "source")
_DEFAULT_SIZE_LIMIT: Final = "100 MiB"


@dataclass(frozen=True, slots=True)
class Model:
    """A table of ``models``.

    Attributes:
        key: the dotted key of the table, for messages.
        source: the path of the checkpoint with slashes, relative to the project's root or absolute.
        target: the path of the packed file with slashes, relative to the project's root.
        options: the options of packing.
        sdist: the file that an sdist contains: "packed" or "source".

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
        models: the models, at least one.
        size_limit: the maximum size of an artifact in bytes; None for no limit.
        sbom: whether a wheel gets a bill of materials.

    """

    models: tuple[Model, ...]
    size_limit: int | None
    sbom: bool = True


def parse_config(config: dict[str, Any]) -> Config:
    """Validate the hook's table.

    Raises:
        BuildError: something in the table is wrong; all errors are reported at once.

    """
    errors = list(_find_unknown_keys(BASE_KEY, set(config) - _HATCHLING_KEYS, _KEYS))
    size_limit = config.get("size-limit", _DEFAULT_SIZE_LIMIT)
    errors += _find_size_limit_errors(size_limit)
    sbom = config.get("sbom", True)
    if not isinstance(sbom, bool):
        errors.append(f"{BASE_KEY}.sbom: expected true or false, found {sbom!r}")
    models = _parse_models(config.get("models"), errors)
    if errors:
        raise BuildError(errors)
    return Config(models, None if size_limit is False else parse_size(size_limit), sbom)


def _parse_models(tables: object, errors: list[str]) -> tuple[Model, ...]:
    """Return the valid models, and append the errors of the others."""
    if not isinstance(tables, list) or not tables:
        found = "nothing" if tables is None else repr(tables)
        errors.append(f"{BASE_KEY}.models: expected an array of tables, found {found}")
        return ()
    keyed = [(f"{BASE_KEY}.models[{index}]", table) for index, table in enumerate(tables)]
    parsed = [_parse_model(key, table, errors) for key, table in keyed]
    with_paths = [(key, table) for key, table in keyed if has_paths(table)]
    errors += find_shared_targets(with_paths)
    errors += find_sdist_conflicts(with_paths)
    return tuple(model for model in parsed if model is not None)


def _parse_model(key: str, table: object, errors: list[str]) -> Model | None:
    """Return the model, or append its errors."""
    if not isinstance(table, dict):
        errors.append(f"{key}: expected a table, found {table!r}")
        return None
    found = [*_find_unknown_keys(key, table, _MODEL_KEYS)]
    found += find_path_errors(key, table)
    found += _find_sdist_errors(key, table)
    try:
        options = Options(**{name: table[name] for name in OPTION_NAMES if name in table})
    except OptionError as error:
        found += format_option_error(key, error)
    if found:
        errors += found
        return None
    source, target = normalize_path(table["source"]), normalize_path(table["target"])
    return Model(key, source, target, options, table.get("sdist", "packed"))


def _find_size_limit_errors(value: object) -> Iterator[str]:
    if value is False:
        return
    try:
        if not isinstance(value, str | int):
            raise ValueError(f"expected a size or false, found {value!r}")  # noqa: TRY004, TRY301
        parse_size(value)
    except ValueError as error:
        yield f"{BASE_KEY}.size-limit: {error}"


def _find_sdist_errors(key: str, table: dict[str, Any]) -> Iterator[str]:
    value, source = table.get("sdist", "packed"), table.get("source")
    if value not in _SDIST_VALUES:
        yield f"{key}.sdist: expected {' or '.join(map(repr, _SDIST_VALUES))}, found {value!r}"
    elif value == "source" and isinstance(source, str) and is_outside(normalize_path(source)):
        yield f"{key}.sdist: 'source' needs a source inside the project, found {source!r}"


def _find_unknown_keys(key: str, found: Iterable[str], known: Iterable[str]) -> Iterator[str]:
    for name in sorted(set(found) - set(known)):
        if name in RENAMED and RENAMED[name] in known:
            yield f"{key}.{name}: renamed to {RENAMED[name]!r}"
            continue
        near = get_close_matches(name, known)
        hint = f"did you mean {near[0]!r}?" if near else f"expected one of {', '.join(known)}"
        yield f"{key}.{name}: unknown key; {hint}"
