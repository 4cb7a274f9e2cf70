"""The most memory that a caller lets a packed file take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

from ._container import LENGTH_BYTES
from .errors import LimitError, OptionError

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._files import PackedFile
    from ._manifest import Manifest, TensorInfo

    Choice = Callable[[TensorInfo], "Dtype"]

# What a header takes while it is parsed and proved, in units of its bytes; a short one is free.
_PARSED: Final = 25
_SHORT: Final = 1 << 16


class Dtype(Protocol):
    """numpy's or torch's."""

    @property
    def itemsize(self) -> int: ...


def check_header(file: PackedFile, most: int | None) -> None:
    """Hold the length of a header, which nothing was read of yet, against the most.

    Args:
        file: a packed file.
        most: bytes; None for no limit.

    Raises:
        LimitError: parsing it takes more.
        OptionError: the most is no number of bytes.

    """
    if most is None:
        return
    if not isinstance(most, int):
        raise OptionError([("max_bytes", f"expected a number of bytes, found {most!r}")])
    length = min(int.from_bytes(file.read_at(0, LENGTH_BYTES), "little"), file.size)
    if length > _SHORT and length * _PARSED > most:
        raise LimitError(
            f"{file.name} takes {length * _PARSED} bytes for its header, more than max_bytes, "
            f"{most}"
        )


def check(name: str, manifest: Manifest, choose: Choice, most: int | None) -> None:
    """Hold what a file says that it takes against the most that it may.

    Args:
        name: what the file is called in messages.
        manifest: what it says of itself, proved.
        choose: the dtype that each tensor is to be restored as.
        most: bytes; None for no limit.

    Raises:
        LimitError: it takes more.

    """
    if most is None:
        return
    entries = {tensor.entry: tensor for tensor in manifest.tensors}.values()
    # An entry may be larger decompressed than restored: float64, or a large codebook of few codes.
    taken = sum(max(t.count * choose(t).itemsize, t.content_size) for t in entries)
    if taken > most:
        raise LimitError(f"{name} takes {taken} bytes restored, more than max_bytes, {most}")
