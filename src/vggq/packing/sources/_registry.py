"""All supported checkpoint formats, and the identification of a file's format."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ..._readable import LFS_POINTER
from ...errors import SourceError
from . import keras, npy, npz, onnx, safetensors, sharded, tflite, torch
from ._unsupported import unsupported_by_content, unsupported_by_location, unsupported_by_name

if TYPE_CHECKING:
    from pathlib import Path

    from ._source import Format

FORMATS: Final[tuple[Format, ...]] = (
    *keras.FORMATS,
    safetensors.FORMAT,
    sharded.FORMAT,
    *torch.FORMATS,
    npz.FORMAT,
    npy.FORMAT,
    onnx.FORMAT,
    tflite.FORMAT,
)

_HEAD_SIZE: Final = 1 << 17
_GLOB_CHARACTERS: Final = frozenset("*?")


def identify_file_format(path: Path) -> Format:
    """Return the format of a file, by its first bytes; its suffix must agree.

    Raises:
        SourceError: the file is missing or unreadable, its format is not supported, or its
            suffix belongs to another format.

    """
    head = _read_head(path)
    _reject_pointer(path, head)
    if message := unsupported_by_content(head):
        raise SourceError(message, path=path)
    by_content = [fmt for fmt in FORMATS if fmt.matches(head)]
    if not by_content and (message := unsupported_by_name(path.name)):
        raise SourceError(message, path=path)
    by_suffix = _formats_of_suffix(path)
    if found := next((fmt for fmt in by_content if fmt in by_suffix or not by_suffix), None):
        return found
    raise SourceError(_describe_mismatch(head, by_content, by_suffix), path=path)


def find_format(path: Path) -> Format | None:
    """Return the format that the first bytes and the suffix of a file agree on, or None.

    Raises:
        SourceError: the file cannot be read.

    """
    by_suffix = _formats_of_suffix(path)
    head = _read_head(path) if by_suffix else b""
    return next((fmt for fmt in by_suffix if fmt.matches(head)), None)


def has_known_suffix(path: Path) -> bool:
    """Return whether a file has the suffix of a supported format."""
    return bool(_formats_of_suffix(path))


def check_fetched(file: Path) -> None:
    """Reject a pointer of Git LFS.

    Raises:
        SourceError: the file is one.

    """
    # A file that cannot be read is reported when it is hashed.
    with suppress(OSError), file.open("rb") as opened:
        _reject_pointer(file, opened.read(len(LFS_POINTER)))


def _reject_pointer(path: Path, head: bytes) -> None:
    if head.startswith(LFS_POINTER):
        raise SourceError("a Git LFS pointer, not the weights; run `git lfs pull`", path=path)


def _formats_of_suffix(path: Path) -> list[Format]:
    """Return the formats that use the file's suffix; torch has two with the same suffixes."""
    return [fmt for fmt in FORMATS if path.name.lower().endswith(fmt.suffixes)]


def _describe_mismatch(head: bytes, by_content: list[Format], by_suffix: list[Format]) -> str:
    if not by_suffix:
        suffixes = ", ".join(dict.fromkeys(suffix for fmt in FORMATS for suffix in fmt.suffixes))
        return f"unknown format; the supported formats have the suffixes {suffixes}"
    expected = by_suffix[0].name
    if not head:
        return f"the suffix is that of {expected}, but the file is empty"
    content = by_content[0].name if by_content else f"not {expected}"
    return f"the suffix is that of {expected}, but the content is {content}"


def _glob_hint(path: Path) -> str:
    is_glob = not _GLOB_CHARACTERS.isdisjoint(str(path))
    return "; patterns are not supported, name one file" if is_glob else ""


def _read_head(path: Path) -> bytes:
    try:
        if message := unsupported_by_location(path):
            raise SourceError(message, path=path)
        with path.open("rb") as file:
            return file.read(_HEAD_SIZE)
    except FileNotFoundError as error:
        raise SourceError(f"no such file{_glob_hint(path)}", path=path) from error
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", path=path) from error
    except ValueError as error:
        # The path contains a null byte, which must not reach a terminal.
        raise SourceError(f"{str(path)!r} cannot be read: {error}") from error
