"""The bytes of a tensor that lie in another file than its model, which only names it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Final

from ....errors import SourceError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

_NUMBER: Final = re.compile(r"[0-9]{1,18}")


@dataclass(frozen=True, slots=True)
class Extent:
    """A part of a file.

    Attributes:
        path: the file, links followed.
        location: what the model calls it.
        start: where the part begins.
        size: in bytes.

    """

    path: Path
    location: str
    start: int
    size: int

    def read(self) -> bytes:
        """The bytes of this part and no others.

        Raises:
            SourceError: the file cannot be read, or has become shorter.

        """
        try:
            with self.path.open("rb") as file:
                file.seek(self.start)
                content = file.read(self.size)
        except OSError as error:
            raise SourceError(f"is in {self.location!r}: {error.strerror}") from error
        if len(content) != self.size:
            raise SourceError(f"is in {self.location!r}, which was cut short while it was read")
        return content


def find_extent(folder: Path, facts: Mapping[str, str], size: int) -> Extent:
    """Where a tensor's bytes lie, proved against the file that has them.

    Args:
        folder: the model's.
        facts: what the model says: "location", and "offset" and "length" as decimal numbers.
        size: the tensor's, in bytes.

    Raises:
        SourceError: the model may not name that file, or the tensor is not in it; the message
            goes on after the tensor's name.

    """
    start, length = _number(facts, "offset", 0), _number(facts, "length", size)
    location = facts.get("location", "")
    path = find_file(folder, location)
    if length != size:
        raise SourceError(f"has {size} bytes by its shape, and {length} in {location!r}")
    if start + size > (held := path.stat().st_size):
        raise SourceError(f"ends at byte {start + size} of {location!r}, which has {held}")
    return Extent(path, location, start, size)


def _number(facts: Mapping[str, str], key: str, default: int) -> int:
    text = facts.get(key, str(default))
    if not _NUMBER.fullmatch(text):
        raise SourceError(f"has the {key} {text!r}, which is no number of bytes")
    return int(text)


def find_file(folder: Path, location: str) -> Path:
    """The file that a model names, links followed.

    Raises:
        SourceError: it lies outside the folder, or is none; the message goes on after the
            tensor's name.

    """
    outside = f"is in {location!r}, which leads out of the model's folder: copy that file into it"
    missing = f"is in {location!r}, and there is no such file"
    # Windows knows every way out that other systems know; a share is not even to be looked up.
    named = PureWindowsPath(location)
    if named.anchor or ".." in named.parts:
        raise SourceError(outside)
    try:
        root = folder.resolve()
        path = (root / location).resolve()
        is_file = path.is_file()
    except (OSError, ValueError, RuntimeError) as error:
        raise SourceError(missing) from error
    if not path.is_relative_to(root):
        raise SourceError(outside)
    if not is_file:
        raise SourceError(missing)
    return path
