"""The changes of a TOML document that the hook needs, each as a new text."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any, Final

from ...errors import TargetError
from . import _toml_text as toml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

# After which key `dependencies` is inserted, in order of preference.
_NEIGHBORS: Final = ("requires-python", "version", "name", "dynamic", "description")


def add_build_system(text: str, requires: Sequence[str]) -> str:
    """Return the text with a table `build-system` for hatchling."""
    values = {"requires": list(requires), "build-backend": "hatchling.build"}
    table = f"[build-system]\n{toml.make_lines(values)}"
    expected = {**toml.parse(text), "build-system": values}
    candidates = [f"{table}\n{text}"] if text.startswith("[") else []
    return _choose(text, [*candidates, toml.append_table(text, table)], expected, table)


def add_requirement(text: str, keys: tuple[str, str], requirement: str) -> str:
    """Return the text with one more item in an array of requirements, which may be missing.

    Args:
        text: the document.
        keys: the table and the key.
        requirement: the item to add.

    """
    key = keys[1]
    line = f'{key} = ["{requirement}"]'
    expected = _with_item(text, keys, requirement)
    if key in toml.parse(text)[keys[0]]:
        return _choose(text, _extend_array(text, keys, requirement), expected, f'"{requirement}"')
    near = (toml.insert_after_key(text, neighbor, line) for neighbor in _NEIGHBORS)
    first = toml.insert_after_header(text, keys[0], f"{line}\n")
    return _choose(text, chain(*near, first), expected, line)


def add_table(
    text: str, keys: Sequence[str], values: Mapping[str, str | Sequence[str]], *, is_item: bool
) -> str:
    """Return the text with a new table, near the other ones of Hatch's build.

    Args:
        text: the document.
        keys: the keys of the table, or of the array that contains it.
        values: the keys and values of the table.
        is_item: whether to append the table to an array, which may be missing.

    """
    name = ".".join(keys)
    table = (f"[[{name}]]\n" if is_item else f"[{name}]\n") + toml.make_lines(values)
    expected = (_with_item if is_item else _with_keys)(text, keys, dict(values))
    return _choose(text, _place_table(text, keys, values, table, is_item=is_item), expected, table)


def _with_item(text: str, keys: Sequence[str], item: object) -> dict[str, Any] | None:
    """Return the content with one more item in an array; None if another thing is there."""
    content = toml.parse(text)
    parent = _make_tables(content, keys[:-1])
    array = None if parent is None else parent.setdefault(keys[-1], [])
    if not isinstance(array, list):
        return None
    array.append(item)
    return content


def _with_keys(text: str, keys: Sequence[str], values: dict[str, Any]) -> dict[str, Any] | None:
    """Return the content with more keys in a table; None if another thing is there."""
    content = toml.parse(text)
    table = _make_tables(content, keys)
    if table is None:
        return None
    table.update(values)
    return content


def _make_tables(content: dict[str, Any], keys: Sequence[str]) -> dict[str, Any] | None:
    table: object = content
    for key in keys:
        if not isinstance(table, dict):
            return None
        table = table.setdefault(key, {})
    return table if isinstance(table, dict) else None


def _place_table(
    text: str,
    keys: Sequence[str],
    values: Mapping[str, Any],
    table: str,
    *,
    is_item: bool,
) -> Iterator[str]:
    """Yield the text with the table in several places, from the nearest to the end."""
    if not is_item:
        yield from _extend_table(text, keys, values)
    for length in range(len(keys), keys.index("build"), -1):
        if inserted := toml.insert_table_after(text, ".".join(keys[:length]), table):
            yield inserted
    yield toml.append_table(text, table)
    if is_item:
        yield from _extend_array(text, keys, values)


def _extend_table(text: str, keys: Sequence[str], values: Mapping[str, Any]) -> Iterator[str]:
    """Yield the text with the keys after the header of a table that exists."""
    lines = toml.make_lines(values)
    yield from toml.insert_after_header(text, ".".join(keys), lines)


def _extend_array(text: str, keys: Sequence[str], value: str | Mapping[str, str]) -> Iterator[str]:
    """Yield the text with one more item in an array that exists; nothing if tomlkit refuses."""
    try:
        yield from toml.append_to_array(text, keys, value)
    except (LookupError, TypeError, ValueError, AttributeError):
        # The array does not exist, or has a form that tomlkit does not support.
        return


def _choose(
    text: str, candidates: Iterable[str], expected: Mapping[str, Any] | None, missing: str
) -> str:
    found = None if expected is None else toml.first_valid(text, candidates, expected)
    if found is None:
        raise TargetError(
            "has a form that `vggq init` cannot extend; write this yourself, and run it again:\n"
            f"{missing.rstrip()}"
        )
    return found
