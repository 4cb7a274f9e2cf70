"""Packed models made by hand, so that tests know each byte and can break each rule."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np

from vggq._codecs import Codebook, Grid, Raw
from vggq._container import build_header
from vggq._decode import decode
from vggq._dtypes import FLOATING, NARROW, STORAGE
from vggq._manifest import Manifest, TensorInfo
from vggq._manifest_json import manifest_to_metadata
from vggq._model_info import Member, Model, Piece, RestBlock
from vggq._rounding import MAX_FINITE

from .helpers import saturated
from .zstd_frames import make_frame

if TYPE_CHECKING:
    from collections.abc import Sequence

    from vggq._codecs import Codec

ML: dict[str, str] = {
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
}


@dataclass(frozen=True)
class Stored:
    """A tensor with its content; `entry` of its description is not yet known."""

    info: TensorInfo
    content: bytes


def raw(name: str, dtype: str, content: bytes, shape: tuple[int, ...] | None = None) -> Stored:
    """Return a tensor that is stored exactly."""
    shape = (len(content) // STORAGE[dtype].itemsize,) if shape is None else shape
    return Stored(TensorInfo(name, shape, dtype, dtype, 0, Raw(dtype), 0.0, 0.0), content)


def _quantized(name: str, dtype: str, codec: Codec, count: int, content: bytes) -> Stored:
    assert dtype in FLOATING
    stored = dtype if dtype in NARROW else "F32"
    return Stored(TensorInfo(name, (count,), dtype, stored, 0, codec, 1.0, 0.1), content)


def codebook(name: str, dtype: str, centroids: Sequence[float], codes: Sequence[int]) -> Stored:
    """Return a tensor with a codebook."""
    codec = Codebook(len(centroids))
    per_byte = 8 // codec.width
    padded = np.zeros(-(-len(codes) // per_byte) * per_byte, np.uint8)
    padded[: len(codes)] = codes
    shifts = np.arange(0, 8, codec.width, dtype=np.uint8)
    stored = (padded.reshape(-1, per_byte) << shifts).sum(axis=1, dtype=np.uint8)
    content = np.array(centroids, "<f4").tobytes() + stored.tobytes()
    return _quantized(name, dtype, codec, len(codes), content)


def grid(name: str, dtype: str, step: float, levels: Sequence[int]) -> Stored:
    """Return a tensor on a grid of levels from -127 to 127 without a basis."""
    stream = np.array(levels, np.int8).tobytes()
    head = np.array([0, len(stream), 0], "<u8").tobytes()
    content = np.array([step], "<f4").tobytes() + head + stream
    codec = Grid(taps=1, first=False, rows=1, dependent=1, size=len(content))
    return _quantized(name, dtype, codec, len(levels), content)


def expected_bytes(stored: Stored) -> bytes:
    """Return the bytes of a tensor in a model, calculated with ml_dtypes."""
    info = stored.info
    if isinstance(info.codec, Raw):
        return stored.content
    plain = replace(info, stored_dtype="F32")
    values = decode(stored.content, plain, np.dtype(np.float32))
    if info.source_dtype in ML:
        name = ML[info.source_dtype]
        dtype = np.dtype(np.float16 if name == "float16" else getattr(ml_dtypes, name))
        assert dtype.name in MAX_FINITE
        return saturated(values, dtype).tobytes()
    return values.astype(STORAGE[info.source_dtype]).tobytes()


@dataclass
class PackedModel:
    """The parts of a packed model; each can be replaced before `build`.

    Attributes:
        members: the content of each file by its path: bytes, or the name of a tensor.
        tensors: the tensors.
        main: the path of the main member; by default the first.
        block_size: bytes of a block of the rest.
        folders: the paths of empty folders.

    """

    members: dict[str, list[bytes | str]]
    tensors: list[Stored] = field(default_factory=list)
    main: str | None = None
    block_size: int = 1 << 23
    folders: tuple[str, ...] = ()

    def contents(self) -> dict[str, bytes]:
        """Return the bytes of each restored file."""
        by_name = {stored.info.name: expected_bytes(stored) for stored in self.tensors}
        return {
            path: b"".join(by_name[part] if isinstance(part, str) else part for part in parts)
            for path, parts in self.members.items()
        }

    def parts(self) -> tuple[Manifest, list[bytes]]:
        """Return the manifest and the frames of a valid file."""
        frames = [make_frame(stored.content) if stored.content else b"" for stored in self.tensors]
        infos = tuple(
            replace(stored.info, entry=index) for index, stored in enumerate(self.tensors)
        )
        rest = b"".join(
            part for parts in self.members.values() for part in parts if isinstance(part, bytes)
        )
        blocks = [rest[i : i + self.block_size] for i in range(0, len(rest), self.block_size)]
        model = Model(
            self.main or next(iter(self.members)),
            tuple(self._member(path, content) for path, content in self.contents().items()),
            tuple(RestBlock(len(frames) + n, len(block)) for n, block in enumerate(blocks)),
            self.folders,
        )
        frames += map(make_frame, blocks)
        return Manifest(1, "1.5.7", "test", "ab" * 32, {}, infos, model), frames

    def _member(self, path: str, content: bytes) -> Member:
        indices = {stored.info.name: index for index, stored in enumerate(self.tensors)}
        pieces = []
        for part in self.members[path]:
            if isinstance(part, str):
                index = indices[part]
                pieces.append(Piece(self.tensors[index].info.source_size, index))
            elif part:
                pieces.append(Piece(len(part)))
        return Member(path, len(content), hashlib.sha256(content).hexdigest(), tuple(pieces))

    def build(self, **changes: Any) -> bytes:
        """Return the packed file, with changes of the model in its manifest."""
        manifest, frames = self.parts()
        assert manifest.model is not None
        return assemble(replace(manifest, model=replace(manifest.model, **changes)), frames)


def assemble(manifest: Manifest, frames: Sequence[bytes]) -> bytes:
    """Return a packed file, valid or not."""
    sizes = {str(index): len(frame) for index, frame in enumerate(frames)}
    return build_header(sizes, manifest_to_metadata(manifest)) + b"".join(frames)


def small_model() -> PackedModel:
    """Return a model of three files with tensors of every floating-point dtype and codec."""
    levels = [3, -2, 0, 127, -127, 5, 64]
    tensors = [
        raw("exact", "I64", bytes(range(24))),
        codebook("book", "F32", [0.1, -0.2, 3e38], [0, 1, 2, 2, 1, 0, 0]),
        grid("grid", "F32", 0.25, levels),
        codebook("half", "F16", [0.1, 7e4, -1e-7, 65504.0], [3, 2, 1, 0, 1]),
        grid("half grid", "F16", 600.7, levels),
        codebook("brain", "BF16", [0.1, 3.4e38, -1e-40], [2, 1, 0]),
        grid("brain grid", "BF16", 0.3, levels),
        codebook("e4m3", "F8_E4M3", [0.1, 1e3, 0.0009], [2, 1, 0]),
        grid("e4m3 grid", "F8_E4M3", 7.7, levels),
        codebook("e5m2", "F8_E5M2", [0.1, -1e5, 0.00001], [2, 1, 0]),
        grid("e5m2 grid", "F8_E5M2", 777.7, levels),
        codebook("double", "F64", [0.1, -1e5], [1, 0, 1]),
        grid("double grid", "F64", 0.1, levels),
        raw("exact half", "F16", bytes(range(10))),
    ]
    names = [stored.info.name for stored in tensors]
    first: list[bytes | str] = [b"begin"]
    for number, name in enumerate(names[:8]):
        first += [name, bytes([number]) * (number % 3)]
    return PackedModel(
        {
            "net.onnx": [part for part in first if part],
            "data/net.bin": [*names[8:], b"end"],
            "empty.txt": [],
            "größe.json": [b"{}" * 10],
        },
        tensors,
        block_size=7,
    )
