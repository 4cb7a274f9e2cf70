"""A binary file that any number of threads read at offsets."""

from __future__ import annotations

import operator
import os
import threading
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, Any

from ._positional import positional_descriptor, pread, pread_into, read_fully
from .errors import ClosedError, PackedFileError, VggqError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


class Reader:
    """A seekable binary file, read at offsets from any thread.

    Args:
        file: the file.
        path: the file's path, or its name in messages if it has none.
        owned: whether `close` also closes the file.

    Attributes:
        path: the path or name.
        size: bytes of the file when it was opened.
        origin: the arguments of `vggq.open` that open the same file in another process; None for a
            file of the caller.

    """

    origin: tuple[Any, str | None] | None = None

    def __init__(self, file: IO[bytes], path: Path | str, *, owned: bool = True) -> None:
        self._file = file
        self._owned = owned
        self._closed = False
        self._lock = threading.Lock()
        self._descriptor = positional_descriptor(file) if owned else None
        self.path = path
        try:
            # Not the result of seek, which is None for an mmap.
            file.seek(0, os.SEEK_END)
            self.size = operator.index(file.tell())
        except BaseException:
            self.close()
            raise

    @property
    def name(self) -> str:
        """The file's name in messages."""
        return os.fspath(self.path)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return `size` bytes from `offset`; fewer where the file ends.

        Raises:
            ClosedError: the reader is closed.
            PackedFileError: the file cannot be read.

        """
        with translate_errors(self._translate):
            return self._read_at(offset, size)

    def read_into(self, offset: int, out: memoryview) -> memoryview:
        """Fill `out` with the bytes from `offset`, and return the part of it that was filled.

        Raises:
            ClosedError: the reader is closed.
            PackedFileError: the file cannot be read.

        """
        with translate_errors(self._translate):
            return out[: self._read_into(offset, out)]

    def _translate(self, error: Exception) -> VggqError:
        # A closed file raises ValueError; so does _check_open.
        if isinstance(error, ValueError) and not isinstance(error, OSError):
            return ClosedError("the file is closed", path=self.path)
        return unreadable(self.path, error)

    def _read_at(self, offset: int, size: int) -> bytes:
        if self._descriptor is None:
            with self._lock:
                self._check_open()
                self._file.seek(offset)
                return read_fully(self._file, size)
        self._check_open()
        data = pread(self._descriptor, offset, size)
        # If the file was closed meanwhile, the descriptor may have been another file's.
        self._check_open()
        return data

    def _read_into(self, offset: int, out: memoryview) -> int:
        if self._descriptor is None:
            data = self._read_at(offset, len(out))
            out[: len(data)] = data
            return len(data)
        self._check_open()
        size = pread_into(self._descriptor, offset, out)
        self._check_open()
        return size

    def _check_open(self) -> None:
        if self._closed:
            raise ValueError

    def reopen_arguments(self) -> tuple[Any, str | None]:
        """Return the arguments of `vggq.open` that open the same file in another process.

        Raises:
            ClosedError: the reader is closed.
            PackedFileError: the file was opened by somebody else.

        """
        if self._closed:
            raise ClosedError("cannot be pickled or copied: the file is closed", path=self.path)
        if self.origin is None:
            raise PackedFileError(
                "cannot be pickled or copied, because it was opened from a file object; open a "
                "path, a package's resource or bytes",
                path=self.path,
            )
        return self.origin

    def close(self) -> None:
        """Close the reader, and the file if the reader owns it."""
        self._closed = True
        if self._owned:
            self._file.close()


@contextmanager
def translate_errors(translate: Callable[[Exception], VggqError]) -> Iterator[None]:
    """Raise a VggqError for every exception of the caller's file or archive but MemoryError."""
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        raise translate(error) from error


def unreadable(path: Path | str, error: Exception) -> PackedFileError:
    """Return the error for a file that cannot be read."""
    return PackedFileError(f"cannot be read: {reason_of(error)}", path=path)


def reason_of(error: Exception) -> str:
    """Return the system's words for an error, without the path that OSError adds."""
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
