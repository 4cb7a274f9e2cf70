"""The manifest of a packed file and its description of each tensor, as frozen dataclasses."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import _dtypes
from ._codecs import Codec, Raw

if TYPE_CHECKING:
    import numpy as np

    from ._model_info import Model


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """The manifest's description of one tensor.

    Attributes:
        name: the name of the tensor, any string.
        shape: the size along each axis.
        source_dtype: the safetensors name of the dtype in the source.
        stored_dtype: the safetensors name of the dtype that has all restored values: the source's
            for `raw`; F32 for the others, or the source's if that is narrower.
        entry: the index of the entry that holds the tensor; tied tensors share one.
        codec: the codec that decodes the entry, with its parameters.
        energy: the sum of the squares of the quantized weights; 0 for `raw`.
        noise: the sum of the squared errors of quantization; 0 for `raw`.
        count: the number of elements.
        content_size: bytes of the decompressed entry.

    Raises:
        ValueError: a tensor of this shape cannot have the parameters of the codec.

    """

    name: str
    shape: tuple[int, ...]
    source_dtype: str
    stored_dtype: str
    entry: int
    codec: Codec
    energy: float
    noise: float
    count: int = field(init=False, repr=False, compare=False)
    content_size: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        count = math.prod(self.shape)
        object.__setattr__(self, "count", count)
        object.__setattr__(self, "content_size", self.codec.content_size(count))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The numpy dtype of the restored tensor: float32 for every floating-point dtype."""
        return _dtypes.restored_dtype(self.stored_dtype)

    @property
    def quantized(self) -> bool:
        """Whether the tensor is restored approximately, not exactly."""
        return not isinstance(self.codec, Raw)

    @property
    def rounded(self) -> bool:
        """Whether the values that the codec gives are rounded to a dtype narrower than float32."""
        return self.stored_dtype in _dtypes.NARROW and self.quantized

    @property
    def source_size(self) -> int:
        """Bytes of the elements in the dtype of the source."""
        return self.count * _dtypes.STORAGE[self.source_dtype].itemsize

    @property
    def sqnr(self) -> float:
        """Signal-to-quantization-noise ratio in dB; infinite if nothing was lost."""
        return compute_sqnr(self.energy, self.noise)


@dataclass(frozen=True, slots=True)
class Manifest:
    """The manifest of a packed file.

    Attributes:
        encoder: the version of the encoder; another version may write other bytes for the same
            source.
        zstd: the version of the zstd library that compressed the entries.
        source_format: the format of the source, such as ``keras-hdf5``.
        source_sha256: the SHA-256 of the source, as 64 hexadecimal digits.
        options: the options that the file was packed with.
        tensors: the description of each tensor, in the order of the file.
        model: the files that the packed file restores to; None if it holds only tensors.

    """

    encoder: int
    zstd: str
    source_format: str
    source_sha256: str
    options: dict[str, Any]
    tensors: tuple[TensorInfo, ...]
    model: Model | None = None

    @property
    def sqnr(self) -> float:
        """Overall SQNR in dB, of all quantized tensors as if they were one."""
        return compute_sqnr(sum(t.energy for t in self.tensors), sum(t.noise for t in self.tensors))

    @property
    def worst(self) -> TensorInfo | None:
        """The quantized tensor with the lowest SQNR; None if no tensor is quantized."""
        quantized = [tensor for tensor in self.tensors if tensor.quantized]
        return min(quantized, key=lambda tensor: tensor.sqnr, default=None)

    @property
    def float32_size(self) -> int:
        """Bytes of all tensors restored with floating point as float32; tied tensors count once."""
        entries = {tensor.entry: tensor for tensor in self.tensors}
        return sum(tensor.count * tensor.dtype.itemsize for tensor in entries.values())


def compute_sqnr(energy: float, noise: float) -> float:
    """Return 10·log10(energy / noise), in dB; infinite if there is no noise."""
    if noise == 0:
        return math.inf
    return 10 * (math.log10(energy) - math.log10(noise)) if energy else -math.inf
