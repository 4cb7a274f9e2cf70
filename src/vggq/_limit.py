"""The most memory that a caller lets a packed file take."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .errors import LimitError

if TYPE_CHECKING:
    from ._manifest import Manifest
    from ._wanted import Choice


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
