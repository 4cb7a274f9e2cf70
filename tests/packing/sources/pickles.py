"""torch checkpoints built by hand, for content that torch itself does not write."""

from __future__ import annotations

import pickle
import zipfile
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LEGACY_HEAD: Final = (
    pickle.dumps(0x1950A86A20F9469CFC6C, 2)
    + pickle.dumps(1001, 2)
    + pickle.dumps({"protocol_version": 1001, "little_endian": True}, 2)
)


class Call:
    """An object whose pickle calls a function."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call


def save_legacy(path: Path, pickled: bytes) -> Path:
    """Write a file of torch before 1.6, without storages."""
    path.write_bytes(LEGACY_HEAD + pickled + pickle.dumps([], 2))
    return path


def save_archive(path: Path, pickled: bytes, **records: bytes) -> Path:
    """Write a zip archive with a pickle, and storages by their keys."""
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickled)
        for name, content in records.items():
            archive.writestr(f"archive/data/{name}", content)
    return path


# The opcodes of a storage's persistent id, but for its number of elements.
STORAGE = (
    b"((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu%stQ"
)


def tensor_pickle(
    offset: int, shape: tuple[int, ...], strides: tuple[int, ...], storage_count: int
) -> bytes:
    """Return a state dict {"w": tensor} as torch pickles it, with any offset, shape and strides."""

    def number(value: int) -> bytes:
        return pickle.dumps(value, 2)[2:-1]

    def numbers(values: tuple[int, ...]) -> bytes:
        return b"(" + b"".join(map(number, values)) + b"t"

    return (
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n"
        + STORAGE % number(storage_count)
        + number(offset)
        + numbers(shape)
        + numbers(strides)
        + b"\x89NtRs."
    )
