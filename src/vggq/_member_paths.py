"""Rules for the paths of a model's members, so that every system can write the files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._fields import is_text

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_PART_SIZE: Final = 255
"""Maximum bytes of a file's or folder's name in UTF-8."""

MAX_PATH_SIZE: Final = 1024
"""Maximum bytes of a path in UTF-8."""

MAX_PARTS: Final = 16
"""Maximum parts of a path, so that restoring a small hostile file does not create many folders."""

_RESERVED_CHARACTERS: Final = frozenset('\\:<>"|?*')
_DIGITS: Final = "123456789¹²³"
# Windows opens these devices whatever follows the first dot of the name.
_RESERVED_NAMES: Final = frozenset({
    "CON", "PRN", "AUX", "NUL", "CONIN$", "CONOUT$",
    *(f"{device}{digit}" for device in ("COM", "LPT") for digit in _DIGITS),
})  # fmt: skip


def find_path_problem(path: str) -> str | None:
    """Return why a path cannot be that of a member; None if it can be."""
    if not is_text(path):
        return "has lone surrogates"
    if len(path.encode()) > MAX_PATH_SIZE:
        return f"has more than {MAX_PATH_SIZE} bytes in UTF-8"
    parts = path.split("/")
    if len(parts) > MAX_PARTS:
        return f"has more than {MAX_PARTS} parts"
    problems = map(_find_part_problem, parts)
    return next((problem for problem in problems if problem), None)


def _find_part_problem(part: str) -> str | None:
    if part in {"", ".", ".."}:
        return "is not a plain relative path"
    if len(part.encode()) > MAX_PART_SIZE:
        return f"has a name of more than {MAX_PART_SIZE} bytes in UTF-8"
    for character in part:
        if character in _RESERVED_CHARACTERS or _is_control(character):
            return f"has the character {character!r}, which a file name cannot have on every system"
    if part.endswith((" ", ".")):
        return "has a name that ends in a space or a dot"
    if part.partition(".")[0].rstrip(" ").upper() in _RESERVED_NAMES:
        return "has a name that Windows reserves"
    return None


def _is_control(character: str) -> bool:
    return character < " " or "\x7f" <= character < "\xa0"


def find_collision(paths: Iterable[str]) -> tuple[str, str] | None:
    """Return two paths that cannot both be files of one folder on every system; None if all can.

    They are equal but for upper and lower case and the form of Unicode, or one is below the other.
    """
    by_key: dict[str, str] = {}
    for path in paths:
        key = _fold(path)
        if key in by_key:
            return by_key[key], path
        by_key[key] = path
    for key, path in by_key.items():
        for end in (index for index, character in enumerate(key) if character == "/"):
            if key[:end] in by_key:
                return by_key[key[:end]], path
    return None


def _fold(path: str) -> str:
    """Return a text that is the same for paths that some file systems do not distinguish."""
    if path.isascii():
        return path.lower()
    import unicodedata  # noqa: PLC0415 - few paths need it

    folded = unicodedata.normalize("NFC", path).casefold()
    # Folding can give characters that are not normalized.
    return unicodedata.normalize("NFC", folded)
