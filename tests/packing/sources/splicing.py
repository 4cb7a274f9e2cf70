"""Write other bytes at the places of a model's tensors, as a restored file has them."""

from __future__ import annotations

import zlib
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from vggq.errors import SourceError
from vggq.packing.sources import ReadOptions, identify_format

if TYPE_CHECKING:
    from pathlib import Path

    from vggq.packing.sources import Contents, SourceTensor
    from vggq.packing.sources._places import Checksum, Place


@dataclass(frozen=True)
class Spliced:
    """The tensors of a model, and the bytes that were written at their places.

    Attributes:
        tensors: all tensors by name.
        values: the elements of each tensor that can be read, in C order.
        written: the new bytes by name, for each tensor with a place.
        checksums: the checksums over tensors.

    """

    tensors: dict[str, SourceTensor]
    values: dict[str, bytes]
    written: dict[str, bytes]
    checksums: tuple[Checksum, ...]


def read_contents(path: Path) -> Contents:
    """Return the tensors with their places, and the checksums."""
    return _read(path)[0]


def _read(path: Path) -> tuple[Contents, dict[str, bytes]]:
    """Return the contents and the values, which are compared with the file."""
    content = path.read_bytes()
    values = {}
    with identify_format(path).open(path, ReadOptions(restore="model")) as contents:
        for tensor in contents.tensors:
            with suppress(SourceError):
                values[tensor.name] = tensor.read().tobytes()
            if tensor.place is not None:
                start, end = tensor.place.start, tensor.place.start + tensor.place.size
                assert values[tensor.name] == content[start:end]
        return contents, values


def splice(path: Path, target: Path) -> Spliced:
    """Write a copy of a model with other values in its tensors and with right checksums."""
    content = bytearray(path.read_bytes())
    contents, values = _read(path)
    new: dict[Place, bytes] = {}
    for tensor in contents.tensors:
        if tensor.place is not None and tensor.place not in new:
            new[tensor.place] = _random_bytes(tensor, tensor.place.size, len(new))
    for place, written in new.items():
        assert place.member == 0
        content[place.start : place.start + place.size] = written
    for checksum in contents.checksums:
        crc = zlib.crc32(content[checksum.start : checksum.start + checksum.size])
        for field in checksum.fields:
            content[field : field + 4] = crc.to_bytes(4, "little")
    target.write_bytes(content)
    tensors = {tensor.name: tensor for tensor in contents.tensors}
    assert len(tensors) == len(contents.tensors)
    replaced = {name: new[tensor.place] for name, tensor in tensors.items() if tensor.place}
    return Spliced(tensors, values, replaced, contents.checksums)


def _random_bytes(tensor: SourceTensor, size: int, seed: int) -> bytes:
    """Return bytes that are values of the dtype; those of float32 are between 0.1 and 1."""
    rng = np.random.default_rng(seed)
    if tensor.dtype == "BOOL":
        return rng.integers(0, 2, size, np.uint8).tobytes()
    if tensor.dtype == "F32":
        return rng.uniform(0.1, 1, size // 4).astype("<f4").tobytes()
    return rng.bytes(size)
