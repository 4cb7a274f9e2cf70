"""Weights: a packed file as a lazy, read-only mapping of its tensors."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

from . import _decode, _format, _limit, _wanted
from ._container import read_header
from ._files import LFS_POINTER, PackedFile, open_file
from ._scratch import Scratch
from .errors import DataError, FormatError, HeaderError, UnknownTensorError

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from ._container import Entry
    from ._files import Package, Readable
    from ._manifest import Manifest, TensorInfo
    from ._scratch import Buffer


# The system hands out less than this without clearing it.
_SCRATCH_FROM: Final = 1 << 16


class Weights(Mapping[str, "NDArray[Any]"]):
    """The tensors of a packed file by name; each is decoded when it is asked for.

    A context manager. Nothing that was decoded is kept: each look-up gives a fresh, writable
    array of the caller's own. Any number of threads may look up at once.

    Attributes:
        manifest: what the file says of itself.
        tensors: what it says of each tensor, by name: shapes and dtypes without decoding.

    """

    manifest: Manifest
    tensors: Mapping[str, TensorInfo]

    def __init__(self, file: PackedFile) -> None:
        self._file = file
        self._header = read_header(file.read_at, file.size)
        self.manifest = _format.load(self._header)
        self.tensors = MappingProxyType({t.name: t for t in self.manifest.tensors})

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Decode one tensor.

        Raises:
            UnknownTensorError: there is none of that name.
            DataError: its bytes are damaged.
            ClosedError: the file was closed.

        """
        content = self.content(name)
        return _decode.restore(content, self.tensors[name], self.tensors[name].dtype)

    def content(self, name: str, scratch: Scratch | None = None) -> Buffer:
        """What is stored of one tensor, decompressed and proved, in the form its codec gives it.

        Args:
            name: the tensor's.
            scratch: what `scratch` gave: memory to read and decompress into; the content is
                then good until this thread uses it again.

        Raises:
            UnknownTensorError: there is none of that name.
            DataError: its bytes are damaged.
            ClosedError: the file was closed.

        """
        entry = self._entry(name)
        try:
            if scratch is None or entry.size < _SCRATCH_FROM:
                read = self._file.read_at if scratch is None else scratch.ahead.read
                return _decode.read(read(entry.start, entry.size), self.tensors[name])
            frame = self._file.read_into(entry.start, scratch.take("frame", entry.size))
            return _decode.read(frame, self.tensors[name], scratch)
        except DataError as error:
            raise DataError(f"{self.name}: {error}") from error

    def scratch(self) -> Scratch:
        """What to pass to `content` where it is asked for one tensor after the other."""
        return Scratch(self._file.read_at)

    @property
    def name(self) -> str:
        """What the packed file is called in messages."""
        return self._file.name

    @property
    def size(self) -> int:
        """Bytes of the packed file."""
        return self._file.size

    def stored_size(self, name: str) -> int:
        """Bytes that a tensor takes in the file, compressed.

        Raises:
            UnknownTensorError: there is none of that name.

        """
        return self._entry(name).size

    def _entry(self, name: str) -> Entry:
        if name not in self.tensors:
            raise UnknownTensorError(f"{self._file.name} has no tensor {name!r}")
        return self._header.entries[str(self.tensors[name].entry)]

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __repr__(self) -> str:
        return f"<vggq.Weights of {self._file.name}: {len(self)} tensors>"

    def close(self) -> None:
        """Close the file; the arrays that were decoded stay good."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def open(  # noqa: A001
    source: Readable | Package, resource: str | None = None, *, max_bytes: int | None = None
) -> Weights:
    """Open a packed file without decoding anything.

    Args:
        source: a path, bytes, an ``importlib.resources`` traversable, or a seekable binary file
            that holds the packed file from its first byte to its last; with `resource`, a
            package, by name or as a module. A file stays open, and is not to be used for
            anything else before the weights are closed.
        resource: the packed file's name in that package.
        max_bytes: the most that all tensors may take together, restored or decompressed,
            whichever is more, tied ones counted once; and a header of more than 64 KiB, which
            takes up to 25 times its bytes. Without it a file may ask for as much as its entries
            can hold: zstd makes 128 KiB of four bytes, and a codec more of that.

    Raises:
        PackedFileError: there is no such file, or it cannot be read.
        FormatError: it is no sound packed file.
        LimitError: it takes more than `max_bytes`.
        OptionError: `max_bytes` is no number of bytes.

    """
    return open_within(source, resource, _wanted.choice(None), max_bytes)


def open_within(
    source: Readable | Package, resource: str | None, choose: _limit.Choice, most: int | None
) -> Weights:
    """As `open`, for tensors that are to be restored as `choose` says."""
    file = open_file(source, resource)
    try:
        _limit.check_header(file, most)
        weights = Weights(file)
        _limit.check(file.name, weights.manifest, choose, most)
    except HeaderError as error:
        pointer = file.read_at(0, len(LFS_POINTER)) == LFS_POINTER
        why = "it is a Git LFS pointer: run `git lfs pull`" if pointer else error
        file.close()
        raise HeaderError(f"{file.name} is not a sound .vggq file: {why}") from error
    except FormatError as error:
        file.close()
        raise type(error)(f"{file.name}: {error}") from error
    except BaseException:
        file.close()
        raise
    return weights
