"""What a packed file says of itself and of its tensors, as frozen dataclasses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import _dtypes
from ._codecs import Codec, Raw

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """What the manifest says of one tensor.

    Attributes:
        name: any string.
        shape: sizes, outermost first.
        source_dtype: the safetensors name of the dtype in the source.
        stored_dtype: that of what is stored: the source's for `raw`, F32 for `codebook`.
        entry: the number of the entry that holds it; tied tensors share one.
        codec: how its bytes are to be read.
        energy: the sum of the squares of the quantized weights; 0 for `raw`.
        noise: the sum of the squared differences that quantization made; 0 for `raw`.

    """

    name: str
    shape: tuple[int, ...]
    source_dtype: str
    stored_dtype: str
    entry: int
    codec: Codec
    energy: float
    noise: float

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype it is restored as: float32 for all floating point."""
        return _dtypes.restored_dtype(self.stored_dtype)

    @property
    def count(self) -> int:
        """The number of elements."""
        return math.prod(self.shape)

    @property
    def quantized(self) -> bool:
        """Whether it is restored only nearly."""
        return not isinstance(self.codec, Raw)

    @property
    def content_size(self) -> int:
        """Bytes of its entry once decompressed."""
        return self.codec.content_size(self.count)

    @property
    def sqnr(self) -> float:
        """Signal to quantization noise ratio in dB, infinite where nothing was lost."""
        return sqnr(self.energy, self.noise)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a packed file says of itself.

    Attributes:
        encoder: the encoder's version; a later one may give other bytes for the same source.
        zstd: the version of the zstd library that compressed it.
        source_format: what the source was, such as ``keras-hdf5``.
        source_sha256: the source's digest, 64 hexadecimal digits.
        options: the options it was packed with.
        tensors: one for each name, in the order of iteration.

    """

    encoder: int
    zstd: str
    source_format: str
    source_sha256: str
    options: dict[str, Any]
    tensors: tuple[TensorInfo, ...]

    @property
    def sqnr(self) -> float:
        """Overall SQNR in dB: all energy over all noise of the quantized tensors."""
        return sqnr(sum(t.energy for t in self.tensors), sum(t.noise for t in self.tensors))

    @property
    def worst(self) -> TensorInfo | None:
        """The quantized tensor of the lowest SQNR."""
        quantized = [tensor for tensor in self.tensors if tensor.quantized]
        return min(quantized, key=lambda tensor: tensor.sqnr, default=None)

    @property
    def float32_size(self) -> int:
        """Bytes of all tensors as they are restored, tied ones counted once."""
        entries = {tensor.entry: tensor for tensor in self.tensors}
        return sum(tensor.count * tensor.dtype.itemsize for tensor in entries.values())


def sqnr(energy: float, noise: float) -> float:
    """10·log10(energy / noise) in dB; infinite where there is no noise."""
    if noise == 0:
        return math.inf
    return 10 * (math.log10(energy) - math.log10(noise)) if energy else -math.inf
