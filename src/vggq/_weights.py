"""Weights: a packed file as a lazy, read-only mapping of its tensors."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, Self

from . import _format, _processors
from ._container import read_header
from ._decode import decode
from ._files import PackedFile, open_file
from .errors import FormatError, HeaderError, UnknownTensorError

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from ._container import Entry
    from ._files import Package, Readable
    from ._manifest import Manifest, TensorInfo


# Starting threads takes longer than decoding less than this.
_SIZE_FOR_THREADS: Final = 1 << 20


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
        entry = self._entry(name)
        return decode(self._file.read_at(entry.start, entry.size), self.tensors[name])

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


def open(source: Readable | Package, resource: str | None = None) -> Weights:  # noqa: A001
    """Open a packed file without decoding anything.

    Args:
        source: a path, bytes, or an ``importlib.resources`` traversable; with `resource`, a
            package, by name or as a module.
        resource: the packed file's name in that package.

    Raises:
        PackedFileError: there is no such file, or it cannot be read.
        FormatError: it is no sound packed file.

    """
    file = open_file(source, resource)
    try:
        return Weights(file)
    except HeaderError as error:
        file.close()
        raise HeaderError(f"{file.name} is not a sound .vggq file: {error}") from error
    except FormatError as error:
        file.close()
        raise type(error)(f"{file.name}: {error}") from error
    except BaseException:
        file.close()
        raise


def load(
    source: Readable | Package, resource: str | None = None, *, threads: int | None = None
) -> dict[str, NDArray[Any]]:
    """Restore every tensor of a packed file.

    Args:
        source: as for `open`.
        resource: as for `open`.
        threads: how many tensors are decoded at a time, on which the arrays do not depend; by
            default as many as there are processors for a large model, and one for a small one.

    Returns:
        The arrays by name, fresh and writable: float32 for what was floating point, the
        source's own dtype for integers and booleans. Tied tensors are one array.

    Raises:
        PackedFileError: there is no such file, or it cannot be read.
        FormatError: it is no sound packed file, or a tensor's bytes are damaged.

    """
    with open(source, resource) as weights:
        names = {tensor.entry: name for name, tensor in weights.tensors.items()}
        arrays = _decode_all(weights, list(names.values()), threads)
        decoded = dict(zip(names, arrays, strict=True))
        return {name: decoded[tensor.entry] for name, tensor in weights.tensors.items()}


def _decode_all(weights: Weights, names: list[str], threads: int | None) -> Iterable[NDArray[Any]]:
    if threads is None:
        threads = _processors.available() if weights.size >= _SIZE_FOR_THREADS else 1
    if threads <= 1 or len(names) <= 1:
        return map(weights.__getitem__, names)
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - small models need none

    with ThreadPoolExecutor(min(threads, len(names))) as pool:
        return list(pool.map(weights.__getitem__, names))
