"""A format of files that hold tensors at given offsets, to test what restores whole models."""

from __future__ import annotations

import zlib
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import zstandard

import vggq
from vggq._dtypes import ML_DTYPES, STORAGE
from vggq._weights import underlying_file
from vggq.packing.sources import (
    Checksum,
    Contents,
    Format,
    Place,
    ReadOptions,
    SourceTensor,
    _registry,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    import pytest
    from numpy.typing import NDArray

    from vggq import TensorInfo
    from vggq._packed_file import PackedFile

MAGIC = b"TESTBLOB"


@dataclass
class ModelFiles:
    """Files of a model, each a list of bytes and of tensors in order.

    Attributes:
        folder: the folder of the files.
        contents: the bytes of each file by name; the first one is the main file.
        tensors: the tensors with their places.
        checksums: the checksums of the files.

    """

    folder: Path
    contents: dict[str, bytearray] = field(default_factory=dict)
    tensors: list[SourceTensor] = field(default_factory=list)
    checksums: list[Checksum] = field(default_factory=list)
    default: str = "model"

    @property
    def main(self) -> Path:
        return self.files[0]

    @property
    def files(self) -> list[Path]:
        return [self.folder / name for name in self.contents]

    def add_bytes(self, content: bytes, name: str = "m.blob") -> int:
        """Append bytes to a file and return their offset."""
        file = self.contents.setdefault(name, bytearray())
        if not file and len(self.contents) == 1:
            file += MAGIC
        file += content
        return len(file) - len(content)

    def add_tensor(
        self, tensor: str, values: NDArray[Any], dtype: str = "F32", name: str = "m.blob"
    ) -> Place:
        """Append a tensor to a file, and return its place."""
        stored = np.ascontiguousarray(values, STORAGE[dtype])
        start = self.add_bytes(stored.tobytes(), name)
        place = Place(list(self.contents).index(name), start, stored.nbytes)
        self.add_alias(tensor, stored, dtype, place)
        return place

    def add_alias(
        self,
        tensor: str,
        stored: NDArray[Any],
        dtype: str,
        place: Place | None,
        problem: str | None = None,
    ) -> None:
        """Add a tensor whose bytes are in a file already."""
        read = partial(np.array, stored)
        self.tensors.append(SourceTensor(tensor, dtype, stored.shape, read, problem, place=place))

    def add_checksum(
        self, start: int, size: int, fields: tuple[int, ...], name: str = "m.blob"
    ) -> None:
        """Add a checksum, whose right value is written when the files are saved."""
        self.checksums.append(Checksum(list(self.contents).index(name), start, size, fields))

    def save(
        self, monkeypatch: pytest.MonkeyPatch, changes: Mapping[int, bytes] | None = None
    ) -> Path:
        """Write the files, make their format known, and return the path of the main file.

        Args:
            monkeypatch: what forgets the format.
            changes: bytes of the main file by offset, which replace others at last.

        """
        for checksum in self.checksums:
            file = list(self.contents.values())[checksum.member]
            crc = zlib.crc32(file[checksum.start : checksum.start + checksum.size])
            for offset in checksum.fields:
                if self._is_free(checksum.member, offset):
                    file[offset : offset + 4] = crc.to_bytes(4, "little")
        for offset, content in (changes or {}).items():
            self.contents[self.main.name][offset : offset + len(content)] = content
        for path, written in zip(self.files, self.saved().values(), strict=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(written)
        formats = (*_registry.FORMATS, self._format())
        monkeypatch.setattr(_registry, "FORMATS", formats)
        return self.main

    def _is_free(self, member: int, offset: int) -> bool:
        """Return whether a field can be written: it is in no tensor, and within the file."""
        size = len(list(self.contents.values())[member])
        places = [t.place for t in self.tensors if t.place and t.place.member == member]
        return offset + 4 <= size and not any(
            place.start - 4 < offset < place.start + place.size for place in places
        )

    def saved(self) -> dict[str, bytes]:
        """Return the bytes of each file by name."""
        return {name: bytes(content) for name, content in self.contents.items()}

    def slice(self, members: Mapping[str, bytes], place: Place | None) -> bytes:
        """Return the bytes at a place."""
        assert place is not None
        content = members[list(self.contents)[place.member]]
        return content[place.start : place.start + place.size]

    def outside_tensors(self, members: Mapping[str, bytes]) -> dict[str, bytes]:
        """Return files with zeros in place of their tensors and checksums."""
        blank = {name: bytearray(content) for name, content in members.items()}
        names = list(self.contents)
        for place in (tensor.place for tensor in self.tensors):
            if place is not None:
                blank[names[place.member]][place.start : place.start + place.size] = bytes(
                    place.size
                )
        for checksum in self.checksums:
            for offset in checksum.fields:
                blank[names[checksum.member]][offset : offset + 4] = bytes(4)
        return {name: bytes(content) for name, content in blank.items()}

    def read_again(self) -> None:
        """Take over the values of tensors from files that were changed."""
        for index, tensor in enumerate(self.tensors):
            if tensor.place is not None:
                file = self.files[tensor.place.member].read_bytes()
                content = file[tensor.place.start : tensor.place.start + tensor.place.size]
                stored = np.frombuffer(content, STORAGE[tensor.dtype]).reshape(tensor.shape)
                self.tensors[index] = replace(tensor, read=partial(np.array, stored))

    def _format(self) -> Format:
        @contextmanager
        def opener(_: Path, read_options: ReadOptions) -> Iterator[Contents]:
            in_model = read_options.restore == "model"
            yield Contents(list(self.tensors), checksums=tuple(self.checksums) if in_model else ())

        def list_files(_: Path) -> list[Path]:
            return self.files

        def default(_: Path) -> str:
            return self.default

        return Format("blob", (".blob",), is_blob, opener, None, list_files, default)


def is_blob(head: bytes) -> bool:
    return head.startswith(MAGIC)


def restore_members(target: Path) -> dict[str, bytes]:
    """Return the bytes of each file of a packed model, by the rules of docs/format.md."""
    with vggq.open(target) as weights:
        manifest, packed = weights.manifest, underlying_file(weights)
        model = manifest.model
        assert model is not None
        rest = b"".join(
            zstandard.decompress(packed.frame(block.entry), block.size) for block in model.rest
        )
        members = {}
        for member in model.members:
            content = b""
            for piece in member.pieces:
                if piece.tensor is None:
                    content += rest[: piece.size]
                    rest = rest[piece.size :]
                else:
                    info = manifest.tensors[piece.tensor]
                    content += in_source_dtype(weights[info.name], info, packed)
            assert len(content) == member.size
            members[member.path] = content
        assert not rest
        return members


def in_source_dtype(values: NDArray[Any], info: TensorInfo, packed: PackedFile) -> bytes:
    """Return a tensor's bytes; a quantized one has values that its dtype holds exactly."""
    if not info.quantized:
        return bytes(packed.content(info.name))
    name = ML_DTYPES.get(info.source_dtype)
    dtype = getattr(ml_dtypes, name) if name else STORAGE[info.source_dtype]
    converted: NDArray[Any] = values.astype(dtype)
    assert np.array_equal(converted.astype(np.float64), values.astype(np.float64))
    return converted.tobytes()
