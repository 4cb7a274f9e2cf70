"""Where packed bytes come from: a path, a package's resource, or bytes; read at offsets."""

from __future__ import annotations

import io
import os
import threading
from pathlib import Path
from typing import IO, TYPE_CHECKING

from .errors import ClosedError, PackedFileError

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable
    from types import ModuleType

    Readable = str | os.PathLike[str] | bytes | bytearray | memoryview | Traversable
    Package = str | ModuleType


class PackedFile:
    """A seekable binary file, read at offsets from any thread.

    Attributes:
        name: what it is called in messages.
        size: in bytes, when it was opened.

    """

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.name = name
        self.size = file.seek(0, os.SEEK_END)

    def read_at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer where the file ends.

        Raises:
            ClosedError: it was closed.
            PackedFileError: the system cannot read it.

        """
        try:
            with self._lock:
                self._file.seek(offset)
                return self._file.read(size)
        except OSError as error:
            raise PackedFileError(f"{self.name} cannot be read: {error.strerror}") from error
        except ValueError as error:
            raise ClosedError(f"{self.name} was closed") from error

    def close(self) -> None:
        self._file.close()


def open_file(source: Readable | Package, resource: str | None) -> PackedFile:
    """Open a path, a traversable or bytes; with `resource`, that resource of a package.

    Raises:
        PackedFileError: there is no such file or package, or it cannot be read.

    """
    if resource is not None:
        return _open_resource(source, resource)
    if isinstance(source, bytes | bytearray | memoryview):
        return PackedFile(io.BytesIO(source), f"<{len(source)} bytes>")
    if isinstance(source, str | os.PathLike):
        return _open_path(Path(source))
    return _open_traversable(source, str(source))


def _open_resource(package: object, resource: str) -> PackedFile:
    from importlib import resources  # noqa: PLC0415 - a path has no need of it

    name = getattr(package, "__name__", package)
    where = f"{resource!r} of the package {name!r}"
    try:
        traversable = resources.files(package).joinpath(resource)  # type: ignore[arg-type]
    except (ImportError, TypeError, ValueError) as error:
        raise PackedFileError(f"{where}: {error}") from error
    return _open_traversable(traversable, where)


def _open_traversable(traversable: Traversable, where: str) -> PackedFile:
    if isinstance(traversable, Path):
        return _open_path(traversable, where)
    try:
        # A member of a zip archive is read whole: seeking back in one starts over.
        return PackedFile(io.BytesIO(traversable.read_bytes()), where)
    except (OSError, KeyError) as error:
        raise _missing(where, error) from error


def _open_path(path: Path, where: str | None = None) -> PackedFile:
    where = where or str(path)
    try:
        return PackedFile(path.open("rb"), where)
    except OSError as error:
        raise _missing(where, error) from error


def _missing(where: str, error: Exception) -> PackedFileError:
    if isinstance(error, FileNotFoundError | KeyError):
        return PackedFileError(
            f"{where} is not there; was the wheel built without its build hooks?"
        )
    return PackedFileError(f"{where} cannot be opened: {getattr(error, 'strerror', error)}")
