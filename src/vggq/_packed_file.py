"""An open packed file: its manifest, and the validated content of each tensor."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

from . import _decode
from ._buffers import Buffers
from ._container import read_header
from ._manifest_json import parse_manifest
from ._memory_limit import check_header_size, check_restored_size
from ._readable import LFS_POINTER, open_reader
from .errors import DataError, FormatError, HeaderError, UnknownTensorError

if TYPE_CHECKING:
    from types import TracebackType

    from ._buffers import Buffer
    from ._container import Entry
    from ._memory_limit import ItemsizeOf
    from ._readable import Anchor, Readable
    from ._reader import Reader

# malloc serves smaller blocks from memory that it already has.
_MIN_REUSED: Final = 1 << 16


class PackedFile:
    """A packed file whose header and manifest are validated; a context manager.

    Any number of threads may read at once.

    Attributes:
        path: the path of the file, or its name in messages if it has no path.
        name: the path as a string.
        size: bytes of the file.
        manifest: the validated manifest.
        tensors: the manifest's description of each tensor, by name.

    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._header = read_header(reader.read_at, reader.size)
        self.path = reader.path
        self.name = reader.name
        self.size = reader.size
        self.manifest = parse_manifest(self._header)
        self.tensors = MappingProxyType({t.name: t for t in self.manifest.tensors})

    def content(self, name: str, buffers: Buffers | None = None) -> Buffer:
        """Read, decompress and validate the content of one tensor.

        Args:
            name: the name of the tensor.
            buffers: memory to read and decompress into; the content is then valid until this
                thread passes the buffers again.

        Raises:
            UnknownTensorError: no tensor has this name.
            DataError: the bytes of the tensor are damaged.
            ClosedError: the file is closed.

        """
        entry = self._entry(name)
        if buffers is None:
            frame: Buffer = self._reader.read_at(entry.start, entry.size)
        elif entry.size < _MIN_REUSED:
            frame, buffers = buffers.read(entry.start, entry.size), None
        else:
            frame = self._reader.read_into(entry.start, buffers.take("frame", entry.size))
        try:
            return _decode.decompress_entry(frame, self.tensors[name], buffers)
        except DataError as error:
            error.locate(path=self.path)
            raise

    def reopen_arguments(self) -> tuple[Any, str | None]:
        """Return the arguments `source` and `resource` that open the file in another process.

        Raises:
            ClosedError: the file is closed.
            PackedFileError: the file cannot be opened again.

        """
        return self._reader.reopen_arguments()

    def buffers(self) -> Buffers:
        """Return buffers to pass to `content` when many tensors are read."""
        return Buffers(self._reader.read_at)

    def stored_size(self, name: str) -> int:
        """Return the compressed bytes of a tensor in the file.

        Raises:
            UnknownTensorError: no tensor has this name.

        """
        return self._entry(name).size

    def _entry(self, name: str) -> Entry:
        if name not in self.tensors:
            raise UnknownTensorError(f"no tensor is named {name!r}", path=self.path)
        return self._header.entries[str(self.tensors[name].entry)]

    def close(self) -> None:
        """Close the file; arrays that were decoded stay valid."""
        self._reader.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open_packed(
    source: Readable | Anchor,
    resource: str | None,
    dtype_of: ItemsizeOf,
    max_bytes: int | None,
) -> PackedFile:
    """Open a packed file whose tensors will be restored as `dtype_of` says.

    Args:
        source: as for `vggq.open`.
        resource: as for `vggq.open`.
        dtype_of: returns the dtype that a tensor is to be restored as.
        max_bytes: as for `vggq.open`.

    Raises:
        PackedFileError: the file is missing or unreadable.
        FormatError: the file is not a valid packed file.
        LimitError: the file needs more memory than `max_bytes`.
        OptionError: `max_bytes` is not an integer.

    """
    reader = open_reader(source, resource)
    try:
        check_header_size(reader, max_bytes)
        packed = PackedFile(reader)
        check_restored_size(reader.path, packed.manifest, dtype_of, max_bytes)
    except HeaderError as error:
        reason = _header_reason(reader, error)
        reader.close()
        raise HeaderError(f"not a valid .vggq file: {reason}", path=reader.path) from error
    except FormatError as error:
        reader.close()
        error.locate(path=reader.path)
        raise
    except BaseException:
        reader.close()
        raise
    return packed


def _header_reason(reader: Reader, error: HeaderError) -> str:
    if reader.read_at(0, len(LFS_POINTER)) == LFS_POINTER:
        return "a Git LFS pointer; run `git lfs pull`"
    return error.reason
