"""Restore every tensor of a packed file, into new arrays or into arrays of the caller."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, TypeVar

from . import _arguments, _decode, _threads
from ._packed_file import open_packed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from numpy.typing import DTypeLike, NDArray

    from ._buffers import Buffer
    from ._packed_file import PackedFile
    from ._reader import Package, Readable

R = TypeVar("R")

# Raw content is as large as its tensor: above this size it is read again instead of being kept.
_MAX_KEPT: Final = 1 << 20


def load(
    source: Readable | Package,
    resource: str | None = None,
    *,
    threads: int | None = None,
    dtype: DTypeLike | None = None,
    out: Mapping[str, NDArray[Any]] | None = None,
    max_bytes: int | None = None,
) -> dict[str, NDArray[Any]]:
    """Restore every tensor of a packed file.

    Args:
        source: as for `open`.
        resource: as for `open`.
        threads: the number of large tensors to decode at once; by default the number of
            processors. Small tensors are decoded in the calling thread. The result does not
            depend on it.
        dtype: the dtype of floating-point tensors: float32 by default, float16, float64, or
            ml_dtypes' bfloat16; values beyond its range become infinite. With ``"source"`` every
            tensor has its dtype in the source, and tensors that were stored exactly have all
            their bits.
        out: an array for each tensor, by name, to write to: of the same shape and dtype, of any
            strides, without overlaps. All of the file is validated before the first write. Only
            an interrupt, or a disk that fails when a large raw tensor is read again, can leave
            some arrays written and others not.
        max_bytes: the memory limit in bytes, as for `open`, in `dtype`.

    Returns:
        The arrays by name, new and writable: floating-point tensors as `dtype`, integers and
        booleans in their own dtype. Tied tensors are one array. With `out`, its arrays.

    Raises:
        PackedFileError: the file is missing or unreadable.
        FormatError: the file is not a valid packed file, or the bytes of a tensor are damaged.
        LimitError: the file needs more memory than `max_bytes`; nothing was decoded.
        OptionError: `dtype` is not supported, or arrays of `out` are missing, unknown or
            unsuitable; all of them at once.
        MissingDependencyError: the source has a dtype that needs ml_dtypes.

    """
    dtype_of = _arguments.resolve_dtype(dtype)
    with open_packed(source, resource, dtype_of, max_bytes) as packed:
        dtypes = {name: dtype_of(tensor) for name, tensor in packed.tensors.items()}
        if out is not None:
            arrays = _arguments.validate_out(out, packed.tensors, dtypes)
            decode_all_into(
                packed, list(arrays.items()), validate_all(packed, arrays, threads), threads
            )
            return {name: out[name] for name in packed.tensors}

        buffers = packed.buffers()

        def restored(name: str) -> NDArray[Any]:
            content = packed.content(name, buffers)
            return _decode.decode(content, packed.tensors[name], dtypes[name])

        names = names_by_entry(packed).values()
        return share_tied(packed, map_tensors(restored, packed, names, threads))


def names_by_entry(packed: PackedFile) -> dict[int, str]:
    """Return one name for each entry, in the order of the first name of each entry."""
    return {tensor.entry: name for name, tensor in packed.tensors.items()}


def map_tensors(
    function: Callable[[str], R], packed: PackedFile, names: Iterable[str], threads: int | None
) -> Iterator[R]:
    """Yield the function's result for each tensor name, in order, as `_threads.map_threaded`."""
    names = list(names)
    counts = [packed.tensors[name].count for name in names]
    return _threads.map_threaded(function, names, counts, threads)


def share_tied(packed: PackedFile, results: Iterable[R]) -> dict[str, R]:
    """Return the results by name; tied tensors share one.

    Args:
        packed: the packed file.
        results: one for each name of `names_by_entry`, in order.

    """
    by_entry = dict(zip(names_by_entry(packed), results, strict=True))
    return {name: by_entry[tensor.entry] for name, tensor in packed.tensors.items()}


def validate_all(
    packed: PackedFile, names: Iterable[str], threads: int | None
) -> Callable[[str], Buffer]:
    """Read and validate some tensors, and keep the small contents: codes, and little else.

    Returns:
        A function that returns the content of any of them. It fails only if the file changes.

    Raises:
        DataError: the bytes of a tensor are damaged.

    """
    entries = {packed.tensors[name].entry: name for name in names}

    def kept(name: str) -> Buffer | None:
        content = packed.content(name)
        is_small = packed.tensors[name].quantized or len(content) <= _MAX_KEPT
        return content if is_small else None

    results = map_tensors(kept, packed, entries.values(), threads)
    contents = dict(zip(entries, results, strict=True))

    def content_of(name: str) -> Buffer:
        content = contents[packed.tensors[name].entry]
        return packed.content(name) if content is None else content

    return content_of


def decode_all_into(
    packed: PackedFile,
    arrays: Sequence[tuple[str, NDArray[Any]]],
    content_of: Callable[[str], Buffer],
    threads: int | None,
) -> None:
    """Decode validated tensors into arrays of their shapes."""

    def decode_into(pair: tuple[str, NDArray[Any]]) -> None:
        name, array = pair
        _decode.decode_into(content_of(name), packed.tensors[name], array)

    sizes = [array.size for _, array in arrays]
    for _ in _threads.map_threaded(decode_into, arrays, sizes, threads):
        pass
