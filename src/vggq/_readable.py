"""Sources of packed files: a path, a resource of a package, bytes, or an open file."""

from __future__ import annotations

import io
import os
from functools import partial
from typing import IO, TYPE_CHECKING, Any, Final

from ._reader import Reader, reason_of, translate_errors, unreadable
from .errors import PackedFileError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from pathlib import Path
    from types import ModuleType
    from zipfile import ZipExtFile

    Readable = str | os.PathLike[str] | bytes | bytearray | memoryview | Traversable | IO[bytes]
    Anchor = str | ModuleType


LFS_POINTER: Final = b"version https://git-lfs.github.com/spec/"
"""The first bytes of the file that Git LFS leaves in place of the real one."""

_RESOURCE_HINT: Final = "; was the wheel built without packing the model?"


def open_reader(source: Readable | Anchor, resource: str | None) -> Reader:
    """Open the source of a packed file.

    Args:
        source: as for `vggq.open`.
        resource: as for `vggq.open`.

    Raises:
        PackedFileError: the file or package does not exist, or cannot be read.

    """
    if resource is not None:
        return _open_resource(source, resource)
    if hasattr(source, "seek") and hasattr(source, "read"):
        return _open_file(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return _open_bytes(bytes(source), f"<{len(source)} bytes>")
    if isinstance(source, str | os.PathLike):
        with translate_errors(partial(_cannot_open, None)):
            path = _as_path(source)
        return _open_path(path)
    if not hasattr(source, "read_bytes"):
        raise PackedFileError(
            f"expected a path, bytes, a traversable or a binary file, found {type(source).__name__}"
        )
    traversable: Any = source
    return _open_traversable(traversable, str(source))


def _open_bytes(data: bytes, where: str) -> Reader:
    reader = Reader(io.BytesIO(data), where)
    reader.origin = (data, None)
    return reader


def _open_file(file: Any) -> Reader:
    import zipfile  # noqa: PLC0415 - not needed for paths

    name = getattr(file, "name", None)
    where = name if isinstance(name, str) else f"<{type(file).__name__}>"
    if isinstance(file, io.TextIOBase):
        raise PackedFileError("opened in text mode; open it in mode 'rb'", path=where)
    with translate_errors(partial(unreadable, where)):
        if isinstance(file, zipfile.ZipExtFile):
            return Reader(io.BytesIO(_read_member(file)), where)
        return Reader(file, where, owned=False)


def _read_member(file: ZipExtFile) -> bytes:
    """Read a member of a zip archive as a whole, because seeking back decompresses it again."""
    if file.tell():
        file.seek(0)
    return file.read()


def _open_resource(package: object, resource: str) -> Reader:
    from importlib import resources  # noqa: PLC0415 - not needed for paths

    name = getattr(package, "__name__", package)
    where = f"{resource!r} in package {name!r}"
    # Importing a package runs its code, which can raise anything.
    with translate_errors(partial(_cannot_open, where, missing=False)):
        traversable = resources.files(package).joinpath(resource)  # type: ignore[arg-type]
    reader = _open_traversable(traversable, where)
    # In another process, __main__ is another module.
    if name != "__main__":
        reader.origin = (name, resource)
    return reader


def _open_traversable(traversable: Traversable, where: str) -> Reader:
    if isinstance(traversable, os.PathLike):
        return _open_path(_as_path(traversable), where)
    with translate_errors(partial(_cannot_open, where, hint=_RESOURCE_HINT)):
        # A traversable in a zip archive: seeking back in it would decompress it again.
        return _open_bytes(traversable.read_bytes(), where)


def _as_path(source: str | os.PathLike[str]) -> Path | str:
    """Return a path; a string remains one, because importing pathlib takes milliseconds."""
    if isinstance(source, str):
        # As in pathlib, "" is the current directory.
        return source or os.curdir
    from pathlib import Path  # noqa: PLC0415 - see above

    return Path(source)


def _open_path(path: Path | str, resource: str | None = None) -> Reader:
    where = resource or path
    with translate_errors(partial(_cannot_open, where, hint=_RESOURCE_HINT if resource else "")):
        reader = Reader(open(path, "rb"), where)  # noqa: PTH123, SIM115 - see _as_path
        # Another process may have another current directory, and this one's may be gone.
        is_absolute = os.path.isabs(path)  # noqa: PTH117
        absolute = path if is_absolute else os.path.join(os.getcwd(), path)  # noqa: PTH109, PTH118
        reader.origin = (absolute, None)
        return reader


def _cannot_open(
    path: Path | str | None, error: Exception, *, hint: str = "", missing: bool = True
) -> PackedFileError:
    """Return the error for a file or package that cannot be opened.

    Args:
        path: the path, or the name in messages.
        error: the error of opening it.
        hint: words to add if there is no such file.
        missing: whether the error may mean that there is no such file.

    """
    if missing and isinstance(error, FileNotFoundError | KeyError):
        return PackedFileError(f"no such file{hint}", path=path)
    return PackedFileError(f"cannot be opened: {reason_of(error)}", path=path)
