"""An open packed file: its manifest, and the validated content of each tensor."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

from . import _decode, _huge_pages
from ._buffers import Buffers
from ._codecs._scratch import release_scratch
from ._container import read_header
from ._manifest_json import parse_manifest
from ._memory_limit import check_header_size, check_model_size, check_restored_size
from ._readable import LFS_POINTER, open_reader
from .errors import DataError, FormatError, HeaderError, PackedFileError, UnknownTensorError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    import numpy as np
    from numpy.typing import NDArray

    from ._buffers import Buffer, Memory
    from ._manifest import TensorInfo
    from ._memory_limit import ItemsizeOf
    from ._model_info import Model
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

    def info(self, name: str) -> TensorInfo:
        """Return the manifest's description of a tensor.

        Raises:
            UnknownTensorError: no tensor has this name.

        """
        if name not in self.tensors:
            raise UnknownTensorError(f"no tensor is named {name!r}", path=self.path)
        return self.tensors[name]

    def content(
        self, name: str, buffers: Buffers | None = None, place: Memory | None = None
    ) -> Buffer:
        """Read, decompress and validate the content of one tensor.

        Args:
            name: the name of the tensor.
            buffers: memory to read and decompress into; the content is then valid until this
                thread passes the buffers again.
            place: memory to decompress into, instead of the buffers.

        Raises:
            UnknownTensorError: no tensor has this name.
            DataError: the bytes of the tensor are damaged.
            ClosedError: the file is closed.

        """
        tensor = self.info(name)
        frame, memory = self._read(tensor, buffers)
        return self.decompress(frame, tensor, place or memory)

    def decompress(self, frame: Buffer, tensor: TensorInfo, memory: Memory | None) -> Buffer:
        """Decompress and validate the content of a tensor.

        Args:
            frame: the bytes of its entry.
            tensor: the manifest's description of the tensor.
            memory: memory to decompress into.

        Raises:
            DataError: the bytes of the tensor are damaged.

        """
        try:
            return _decode.decompress_entry(frame, tensor, memory)
        except DataError as error:
            error.locate(path=self.path)
            raise

    def restore(
        self, name: str, dtype: np.dtype[Any], buffers: Buffers | None = None
    ) -> NDArray[Any]:
        """Return a new array of a tensor; see `restore_into`."""
        values = _huge_pages.empty(self.info(name).shape, dtype)
        self.restore_into(name, values, buffers)
        return values

    def restore_into(self, name: str, out: NDArray[Any], buffers: Buffers | None = None) -> None:
        """Restore a tensor into a new array.

        Args:
            name: the name of the tensor.
            out: a contiguous array of the tensor's shape, whose content does not matter.
            buffers: memory to read and decompress into, as for `content`.

        Raises:
            UnknownTensorError: no tensor has this name.
            DataError: the bytes of the tensor are damaged.
            ClosedError: the file is closed.

        """
        tensor = self.info(name)
        frame, memory = self._read(tensor, buffers)
        try:
            _decode.restore_entry(frame, tensor, out, memory)
        except DataError as error:
            error.locate(path=self.path)
            raise

    def _read(self, tensor: TensorInfo, buffers: Buffers | None) -> tuple[Buffer, Buffers | None]:
        """Return the bytes of an entry, and the memory to decompress them into."""
        frame = self.frame(tensor.entry, buffers)
        return frame, buffers if len(frame) >= _MIN_REUSED else None

    def frame(self, entry: int, buffers: Buffers | None = None) -> Buffer:
        """Read the bytes of an entry.

        Args:
            entry: the index of the entry.
            buffers: as for `content`.

        Raises:
            ClosedError: the file is closed.

        """
        found = self._header.entries[str(entry)]
        if buffers is None:
            return self._reader.read_at(found.start, found.size)
        if found.size < _MIN_REUSED:
            return buffers.read(found.start, found.size)
        return self._reader.read_into(found.start, buffers.take("frame", found.size))

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
        return self.entry_size(self.info(name).entry)

    def entry_size(self, entry: int) -> int:
        """Return the compressed bytes of an entry, by its index."""
        return self._header.entries[str(entry)].size

    def close(self) -> None:
        """Close the file; arrays that were decoded stay valid."""
        self._reader.close()
        release_scratch()

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
    return _open_checked(
        source,
        resource,
        max_bytes,
        lambda packed: check_restored_size(packed.path, packed.manifest, dtype_of, max_bytes),
    )


def open_model(
    source: Readable | Anchor, resource: str | None, max_bytes: int | None
) -> tuple[PackedFile, Model]:
    """Open a packed file whose model will be restored, and return the model's description too.

    Args:
        source: as for `vggq.open`.
        resource: as for `vggq.open`.
        max_bytes: as for `vggq.read_bytes`.

    Raises:
        PackedFileError: the file is missing or unreadable, or holds only tensors.
        FormatError: the file is not a valid packed file.
        LimitError: the model needs more memory than `max_bytes`.
        OptionError: `max_bytes` is not an integer.

    """
    packed = _open_checked(
        source,
        resource,
        max_bytes,
        lambda packed: check_model_size(packed.path, packed.manifest, max_bytes),
    )
    if packed.manifest.model is None:
        packed.close()
        raise PackedFileError(
            "holds only tensors, which `vggq.load` restores; to restore a model, pack it with "
            '`restore = "model"`',
            path=packed.path,
        )
    return packed, packed.manifest.model


def _open_checked(
    source: Readable | Anchor,
    resource: str | None,
    max_bytes: int | None,
    check: Callable[[PackedFile], None],
) -> PackedFile:
    reader = open_reader(source, resource)
    try:
        check_header_size(reader, max_bytes)
        packed = PackedFile(reader)
        check(packed)
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
