"""Enforce `max_bytes`, the memory limit of the caller, before anything large is allocated."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final, Protocol

from ._container import LENGTH_SIZE
from .errors import LimitError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from ._manifest import Manifest, TensorInfo
    from ._reader import Reader

    ItemsizeOf = Callable[[TensorInfo], "HasItemsize"]

# Parsing a header takes up to 25 times its size of memory. Headers up to this size are not counted.
_PARSING_FACTOR: Final = 25
_MAX_FREE_HEADER: Final = 1 << 16
# No tensor takes as much: 2^53 elements of up to 16 bytes.
_MAX_TENSOR: Final = 1 << 60


class HasItemsize(Protocol):
    """A dtype of numpy or torch."""

    @property
    def itemsize(self) -> int: ...


def check_header_size(reader: Reader, max_bytes: int | None) -> None:
    """Check the memory that parsing the header takes, before the header is read.

    Args:
        reader: a packed file.
        max_bytes: the limit in bytes; None for no limit.

    Raises:
        LimitError: parsing takes more than the limit.
        OptionError: `max_bytes` is not an integer.

    """
    if max_bytes is None:
        return
    if not isinstance(max_bytes, int):
        raise OptionError([("max_bytes", f"expected a number of bytes, found {max_bytes!r}")])
    length = min(int.from_bytes(reader.read_at(0, LENGTH_SIZE), "little"), reader.size)
    needed = length * _PARSING_FACTOR
    if length > _MAX_FREE_HEADER and needed > max_bytes:
        raise LimitError(
            f"its header needs {needed} bytes of memory, max_bytes is {max_bytes}",
            path=reader.path,
        )


def check_restored_size(
    path: Path | str, manifest: Manifest, dtype_of: ItemsizeOf, max_bytes: int | None
) -> None:
    """Check the size of the tensors, restored or decompressed, whichever is larger.

    Args:
        path: the path of the file, or its name in messages.
        manifest: the validated manifest.
        dtype_of: returns the dtype that a tensor is to be restored as.
        max_bytes: the limit in bytes; None for no limit.

    Raises:
        LimitError: all tensors take more than the limit, or one takes more than the system has.

    """
    if max_bytes is None and sys.maxsize >= _MAX_TENSOR:
        return
    entries = {tensor.entry: tensor for tensor in manifest.tensors}.values()
    # Decompressed content can be larger than the restored tensor: float64, or a large codebook
    # with few codes.
    sizes = {t.name: max(t.count * dtype_of(t).itemsize, t.content_size) for t in entries}
    for name, size in sizes.items():
        if size > sys.maxsize:
            raise LimitError(
                f"needs {size} bytes of memory, this system can address {sys.maxsize}",
                path=path,
                tensor=name,
            )
    needed = sum(sizes.values())
    if max_bytes is not None and needed > max_bytes:
        raise LimitError(
            f"its tensors need {needed} bytes of memory, max_bytes is {max_bytes}", path=path
        )


def check_model_size(path: Path | str, manifest: Manifest, max_bytes: int | None) -> None:
    """Check the size of a model's files, and that of the decompressed content of each tensor.

    Args:
        path: the path of the file, or its name in messages.
        manifest: the validated manifest.
        max_bytes: the limit in bytes; None for no limit.

    Raises:
        LimitError: the files, or the content of a tensor, take more than the limit; or a file or
            such content takes more than the system has.

    """
    if manifest.model is None:
        return
    # Content is decompressed before it is decoded, and can be larger than the tensor.
    contents = [tensor.content_size for tensor in manifest.tensors]
    largest = max([*(member.size for member in manifest.model.members), *contents])
    if largest > sys.maxsize:
        raise LimitError(
            f"a file or tensor of its model needs {largest} bytes of memory, this system can "
            f"address {sys.maxsize}",
            path=path,
        )
    needed = max([manifest.model.size, *contents])
    if max_bytes is not None and needed > max_bytes:
        raise LimitError(
            f"its model needs {needed} bytes of memory, max_bytes is {max_bytes}", path=path
        )
