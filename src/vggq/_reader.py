"""Where packed bytes come from: a path, a package's resource, bytes or a file; read at offsets."""

from __future__ import annotations

import io
import os
import threading
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

from .errors import ClosedError, PackedFileError, VggqError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from importlib.resources.abc import Traversable
    from types import ModuleType
    from zipfile import ZipExtFile

    Readable = str | os.PathLike[str] | bytes | bytearray | memoryview | Traversable | IO[bytes]
    Package = str | ModuleType


LFS_POINTER: Final = b"version https://git-lfs.github.com/spec/"
"""What the file that Git LFS leaves in place of another begins with."""
_FORGOTTEN: Final = "; was the wheel built without its build hooks?"


class Reader:
    """A seekable binary file, read at offsets from any thread.

    Attributes:
        name: what it is called in messages.
        size: in bytes, when it was opened.

    """

    def __init__(self, file: IO[bytes], name: str, *, owned: bool = True) -> None:
        """With `owned`, closing this closes the file; without, it stays as it is."""
        self._file = file
        self._owned = owned
        self._closed = False
        self._lock = threading.Lock()
        self._descriptor = _descriptor(file) if owned else None
        self.name = name
        # What seek returns differs: an mmap's gives None.
        file.seek(0, os.SEEK_END)
        self.size = file.tell()

    def read_at(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; fewer where the file ends.

        Raises:
            ClosedError: it was closed.
            PackedFileError: the system cannot read it.

        """
        with _translating(self._refusal):
            return self._read(offset, size)

    def read_into(self, offset: int, out: memoryview) -> memoryview:
        """Fill `out` with the bytes from `offset`, and give what of it was filled.

        Raises:
            ClosedError: it was closed.
            PackedFileError: the system cannot read it.

        """
        with _translating(self._refusal):
            return out[: self._read_into(offset, out)]

    def _refusal(self, error: Exception) -> VggqError:
        if isinstance(error, ValueError) and not isinstance(error, OSError):
            return ClosedError(f"{self.name} was closed")
        return _unreadable(self.name, error)

    def _read(self, offset: int, size: int) -> bytes:
        if self._descriptor is None:
            with self._lock:
                self._check_open()
                self._file.seek(offset)
                return _read(self._file, size)
        self._check_open()
        data = _pread(self._descriptor, offset, size)
        # Once it is closed the descriptor may be another file's.
        self._check_open()
        return data

    def _read_into(self, offset: int, out: memoryview) -> int:
        if self._descriptor is None:
            data = self._read(offset, len(out))
            out[: len(data)] = data
            return len(data)
        self._check_open()
        done = _pread_into(self._descriptor, offset, out)
        self._check_open()
        return done

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError

    def close(self) -> None:
        self._closed = True
        if self._owned:
            self._file.close()


@contextmanager
def _translating(refusal: Callable[[Exception], VggqError]) -> Iterator[None]:
    """Tell in an error of ours whatever a file or an archive of the caller's raises."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise refusal(error) from error


def _unreadable(where: str, error: Exception) -> PackedFileError:
    return PackedFileError(f"{where} cannot be read: {_reason(error)}")


def _reason(error: Exception) -> object:
    return getattr(error, "strerror", None) or error


def _descriptor(file: IO[bytes]) -> int | None:
    """That of a file which can be read at an offset without moving its position.

    Processes that were forked share the position, and no lock is theirs together.
    """
    try:
        return file.fileno() if hasattr(os, "preadv") else None
    except OSError:
        return None


def _pread(descriptor: int, offset: int, size: int) -> bytes:
    """`size` bytes from `offset`; the system may give fewer at a time."""
    data = os.pread(descriptor, size, offset)
    while len(data) < size and (more := os.pread(descriptor, size - len(data), offset + len(data))):
        data += more
    return data


def _pread_into(descriptor: int, offset: int, out: memoryview) -> int:
    """How many bytes of `out` were filled."""
    done = 0
    while done < len(out) and (more := os.preadv(descriptor, [out[done:]], offset + done)):
        done += more
    return done


def _read(file: IO[bytes], size: int) -> bytes:
    """`size` bytes from where the file stands; an unbuffered one may give fewer at a time."""
    data = file.read(size)
    while len(data) < size and (more := file.read(size - len(data))):
        data += more
    return data


def open_reader(source: Readable | Package, resource: str | None) -> Reader:
    """Open a path, a traversable, bytes or an open file; or with `resource`, a package's resource.

    Raises:
        PackedFileError: there is no such file or package, or it cannot be read.

    """
    if resource is not None:
        return _open_resource(source, resource)
    if hasattr(source, "seek") and hasattr(source, "read"):
        return _open_binary(source)
    if isinstance(source, bytes | bytearray | memoryview):
        return Reader(io.BytesIO(source), f"<{len(source)} bytes>")
    if isinstance(source, str | os.PathLike):
        return _open_path(Path(source))
    if not hasattr(source, "read_bytes"):
        raise PackedFileError(f"{source!r} is no path, bytes, traversable or binary file")
    traversable: Any = source
    return _open_traversable(traversable, str(source))


def _open_binary(file: Any) -> Reader:
    import zipfile  # noqa: PLC0415 - a path has no need of it

    name = getattr(file, "name", None)
    where = name if isinstance(name, str) else f"<{type(file).__name__}>"
    if isinstance(file, io.TextIOBase):
        raise PackedFileError(f"{where} is open as text: open it in the mode 'rb'")
    with _translating(partial(_unreadable, where)):
        if isinstance(file, zipfile.ZipExtFile):
            # Seeking back in a member of a zip archive starts over.
            return Reader(io.BytesIO(_whole(file)), where)
        return Reader(file, where, owned=False)


def _whole(file: ZipExtFile) -> bytes:
    if file.tell():
        file.seek(0)
    return file.read()


def _open_resource(package: object, resource: str) -> Reader:
    from importlib import resources  # noqa: PLC0415 - a path has no need of it

    name = getattr(package, "__name__", package)
    where = f"{resource!r} of the package {name!r}"
    try:
        traversable = resources.files(package).joinpath(resource)  # type: ignore[arg-type]
    except (ImportError, TypeError, ValueError) as error:
        raise PackedFileError(f"{where}: {error}") from error
    return _open_traversable(traversable, where)


def _open_traversable(traversable: Traversable, where: str) -> Reader:
    if isinstance(traversable, Path):
        return _open_path(traversable, where)
    with _translating(partial(_missing, where)):
        # A member of a zip archive is read whole: seeking back in one starts over.
        return Reader(io.BytesIO(traversable.read_bytes()), where)


def _open_path(path: Path, resource: str | None = None) -> Reader:
    where = resource or str(path)
    try:
        return Reader(path.open("rb"), where)
    except (OSError, ValueError) as error:
        raise _missing(where, error, _FORGOTTEN if resource else "") from error


def _missing(where: str, error: Exception, hint: str = _FORGOTTEN) -> PackedFileError:
    if isinstance(error, FileNotFoundError | KeyError):
        return PackedFileError(f"{where} is not there{hint}")
    return PackedFileError(f"{where} cannot be opened: {_reason(error)}")
