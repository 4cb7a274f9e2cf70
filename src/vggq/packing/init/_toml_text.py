"""Insert text into TOML documents, and check that nothing else changes.

Each function that inserts makes one or more candidates. The first one is taken that is the old text
with insertions, and that has the expected content. So comments and formatting survive, and a
document with an unusual form is never damaged.
"""

from __future__ import annotations

import json
import re
import tomllib
from functools import reduce
from operator import getitem
from typing import TYPE_CHECKING, Any, Final

from ..optional import require

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    Keys = Sequence[str]

_HEADER: Final = re.compile(r"[ \t]*(\[{1,2})[ \t]*([^\[\]]+?)[ \t]*\]{1,2}[ \t]*(#.*)?")
_CLOSED_ON_OWN_LINE: Final = re.compile(r"\n[ \t]*\]$")
_INDENTATION: Final = re.compile(r"\n([ \t]*)[^\s\]#]")


def parse(text: str) -> dict[str, Any]:
    """Return the content; floats stay text, so that NaN is equal to itself."""
    return tomllib.loads(text, parse_float=str)


def first_valid(old: str, candidates: Iterable[str], expected: Mapping[str, Any]) -> str | None:
    """Return the first candidate that only inserts text and has the expected content."""
    return next((c for c in candidates if _only_inserts(old, c) and _has(c, expected)), None)


def _only_inserts(old: str, new: str) -> bool:
    characters = iter(new)
    return all(character in characters for character in old)


def _has(text: str, expected: Mapping[str, Any]) -> bool:
    try:
        return parse(text) == expected
    except tomllib.TOMLDecodeError:
        return False


def append_to_array(text: str, keys: Keys, value: str | Mapping[str, str]) -> Iterator[str]:
    """Yield the text with one more item in each array that looks like the one at a key.

    tomlkit extends the array alone: it would write some other parts of a document in another form.
    """
    tomlkit = require("tomlkit", "cli")
    array = reduce(getitem, keys, tomlkit.parse(text))
    old = array.as_string()
    if not isinstance(value, str):
        table = tomlkit.inline_table()
        table.update(value)
        value = table
    if _CLOSED_ON_OWN_LINE.search(old):
        indentation = _INDENTATION.search(old)
        array.add_line(value, indent=indentation[1] if indentation else "    ")
    else:
        array.append(value)
    start = text.find(old)
    while start >= 0:
        yield text[:start] + array.as_string() + text[start + len(old) :]
        start = text.find(old, start + 1)


def append_table(text: str, table: str) -> str:
    """Return the text with a table after its last line."""
    end = "" if text.endswith("\n") or not text else "\n"
    return f"{text}{end}\n{table}" if text else table


def insert_table_after(text: str, prefix: str, table: str) -> str | None:
    """Return the text with a table after the last one whose name begins with a prefix, or None."""
    lines = text.splitlines(keepends=True)
    headers = _find_headers(lines)
    matching = [i for i, name in headers if name == prefix or name.startswith(f"{prefix}.")]
    if not matching:
        return None
    following = next((i for i, _ in headers if i > matching[-1]), None)
    if following is None:
        return append_table(text, table)
    end = _skip_back(lines, following)
    blank = "" if end < following and not lines[end].strip() else "\n"
    return "".join([*lines[:end], "\n", table, blank, *lines[end:]])


def insert_after_key(text: str, key: str, line: str) -> Iterator[str]:
    """Yield the text with a line after each line that begins with a key, in any table."""
    lines = text.splitlines(keepends=True)
    pattern = re.compile(rf"([ \t]*)([\"']?){re.escape(key)}\2[ \t]*=")
    for index, found in enumerate(map(pattern.match, lines)):
        if found:
            yield _insert(lines, index + 1, f"{found[1]}{line}\n")


def insert_after_header(text: str, table: str, inserted: str) -> Iterator[str]:
    """Yield the text with lines after each line that looks like the header of a table."""
    lines = text.splitlines(keepends=True)
    for index, name in _find_headers(lines):
        if name == table:
            yield _insert(lines, index + 1, inserted)


def _insert(lines: Sequence[str], index: int, inserted: str) -> str:
    """Return lines with others inserted before an index above zero."""
    newline = "" if lines[index - 1].endswith("\n") else "\n"
    return "".join([*lines[:index], newline, inserted, *lines[index:]])


def make_lines(values: Mapping[str, str | Sequence[str]]) -> str:
    """Return a line for each key."""
    return "".join(f"{k} = {json.dumps(v, ensure_ascii=False)}\n" for k, v in values.items())


def _find_headers(lines: Sequence[str]) -> list[tuple[int, str]]:
    """Return the index and the name of each line that looks like the header of a table."""
    found = ((i, _HEADER.fullmatch(line.rstrip("\r\n"))) for i, line in enumerate(lines))
    return [(i, re.sub(r"[ \t\"']", "", match[2])) for i, match in found if match]


def _skip_back(lines: Sequence[str], end: int) -> int:
    """Return the line after the content of a table, of which the next one begins at `end`.

    Comments directly above a table belong to it.
    """
    while lines[end - 1].lstrip().startswith("#"):
        end -= 1
    while not lines[end - 1].strip():
        end -= 1
    return end
