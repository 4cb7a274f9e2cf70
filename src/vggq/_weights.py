"""The tensors of a packed file as a lazy, read-only mapping."""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, Self

from . import _arguments
from ._packed_file import open_packed

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from numpy.typing import NDArray

    from ._manifest import Manifest, TensorInfo
    from ._model_info import Member
    from ._packed_file import PackedFile
    from ._readable import Anchor, Readable


class Weights(Mapping[str, "NDArray[Any]"]):
    """The tensors of a packed file by name; each is decoded when it is looked up.

    A context manager. Decoded tensors are not kept: each look-up returns a new, writable array
    that belongs to the caller. Any number of threads may look up tensors at once.

    A copy, also one that `pickle` makes in another process, opens the path or the resource again,
    and is closed on its own or with its last reference. Bytes are copied. An open file cannot be
    opened again, so weights that were opened from one can be neither copied nor pickled.
    """

    def __init__(self, packed: PackedFile, max_bytes: int | None = None) -> None:
        self._packed = packed
        self._max_bytes = max_bytes

    @property
    def manifest(self) -> Manifest:
        """The manifest of the file."""
        return self._packed.manifest

    @property
    def tensors(self) -> Mapping[str, TensorInfo]:
        """The manifest's description of each tensor, by name; nothing is decoded."""
        return self._packed.tensors

    @property
    def members(self) -> tuple[Member, ...]:
        """The files of the model that `vggq.read_bytes` restores; empty if there is no model."""
        return self.manifest.model.members if self.manifest.model else ()

    @property
    def name(self) -> str:
        """The name of the packed file in messages."""
        return self._packed.name

    @property
    def size(self) -> int:
        """Bytes of the packed file."""
        return self._packed.size

    def stored_size(self, name: str) -> int:
        """Return the compressed bytes of a tensor in the file.

        Raises:
            UnknownTensorError: no tensor has this name.

        """
        return self._packed.stored_size(name)

    def __getitem__(self, name: str) -> NDArray[Any]:
        """Decode one tensor.

        Raises:
            UnknownTensorError: no tensor has this name.
            DataError: the bytes of the tensor are damaged.
            ClosedError: the file is closed.

        """
        return self._packed.restore(name, self._packed.info(name).dtype)

    def __contains__(self, name: object) -> bool:
        return name in self.tensors

    def __iter__(self) -> Iterator[str]:
        return iter(self.tensors)

    def __len__(self) -> int:
        return len(self.tensors)

    def __repr__(self) -> str:
        return f"<vggq.Weights of {self.name}: {len(self)} tensors>"

    def __reduce__(self) -> tuple[Callable[..., Weights], tuple[Any, ...]]:
        """Return a function that opens the file again, and its arguments.

        Raises:
            ClosedError: the weights are closed.
            PackedFileError: the file was opened by somebody else.

        """
        return _reopen, (*self._packed.reopen_arguments(), self._max_bytes)

    def close(self) -> None:
        """Close the file; arrays that were decoded stay valid."""
        self._packed.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def underlying_file(weights: Weights) -> PackedFile:
    """Return the open file of the weights, from which the stored content can be read."""
    return weights._packed  # noqa: SLF001 - not part of the public class


def open(  # noqa: A001
    source: Readable | Anchor, resource: str | None = None, *, max_bytes: int | None = None
) -> Weights:
    """Open a packed file without decoding any tensor.

    Args:
        source: a path, bytes, an ``importlib.resources`` traversable, or a seekable binary file
            that contains the packed file and nothing else; with `resource`, a package, by name
            or as a module. A file stays open, and must not be used for anything else until the
            weights are closed.
        resource: the name of the packed file in that package.
        max_bytes: the memory limit in bytes. All tensors together, restored or decompressed,
            whichever is larger, may not take more; tied tensors count once. A header of more
            than 64 KiB, which takes up to 25 times its size to parse, may not take more either.
            Without a limit, a small hostile file can claim a lot of memory: four bytes of zstd
            can stand for 128 KiB.

    Raises:
        PackedFileError: the file is missing or unreadable.
        FormatError: the file is not a valid packed file.
        LimitError: the file needs more memory than `max_bytes`.
        OptionError: `max_bytes` is not an integer.

    """
    packed = open_packed(source, resource, _arguments.resolve_dtype(None), max_bytes)
    return Weights(packed, max_bytes)


def _reopen(source: Readable | Anchor, resource: str | None, max_bytes: int | None) -> Weights:
    weights = open(source, resource, max_bytes=max_bytes)
    # Nobody knows when to close an object that pickle made, for example the argument of a task.
    weakref.finalize(weights, weights._packed.close)  # noqa: SLF001 - of the same module
    return weights
