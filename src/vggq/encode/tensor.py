"""One tensor of a source to the compressed bytes of its entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import _dtypes
from .._manifest import TensorInfo
from .._require import require
from . import codebook, raw

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._codecs import Codec
    from ..sources import SourceTensor
    from .options import Options

# On codes zstd is an entropy coder only, and its fastest level is as good as any; at low widths
# the slowest sometimes finds true matches. The smaller result is kept.
_LEVELS: Final = (1, 19)
# Sums are in float64: only so many weights are at a time.
_PIECE: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class EncodedTensor:
    """A tensor's entry: what the manifest will say of it, and its bytes.

    `non_finite` values are why a tensor that could have been quantized was not.
    """

    codec: Codec
    energy: float
    noise: float
    stored_dtype: str
    frame: bytes
    non_finite: int = 0

    @property
    def measures(self) -> tuple[object, ...]:
        """All that the manifest says of it, the tensor's own facts aside."""
        return (self.codec, self.energy, self.noise, self.stored_dtype)

    def describe(self, tensor: SourceTensor, entry: int) -> TensorInfo:
        """The tensor's place in the manifest."""
        return TensorInfo(
            name=tensor.name,
            shape=tensor.shape,
            source_dtype=tensor.dtype,
            stored_dtype=self.stored_dtype,
            entry=entry,
            codec=self.codec,
            energy=self.energy,
            noise=self.noise,
        )


def encode_tensor(tensor: SourceTensor, options: Options) -> EncodedTensor:
    """Read a tensor and encode it as the options say.

    Raises:
        SourceError: it cannot be read.
        MissingDependencyError: a library of the `build` extra is not installed.

    """
    stored = tensor.read()
    non_finite = 0
    if not raw.is_kept(tensor, options.keep):
        values = _dtypes.restore(stored, tensor.dtype, copy=False)
        non_finite = raw.count_non_finite(values)
        if not non_finite:
            del stored
            return _quantize(values, options.bits)
    kept, content = raw.encode(stored)
    return EncodedTensor(kept, 0.0, 0.0, tensor.dtype, compress(content), non_finite)


def _quantize(values: NDArray[Any], bits: int) -> EncodedTensor:
    codec, content = codebook.encode(values, bits)
    energy, noise = measure(values, codec.decode(content, values.size, "F32"))
    return EncodedTensor(codec, energy, noise, "F32", compress(content))


def measure(values: NDArray[Any], restored: NDArray[Any]) -> tuple[float, float]:
    """Σw² and Σ(w - ŵ)² in float64, to nine digits.

    Nine, so that the last bits of a sum, which depend on the processor, do not reach the file.
    """
    energy = noise = 0.0
    values, restored = values.reshape(-1), restored.reshape(-1)
    for begin in range(0, values.size, _PIECE):
        exact = values[begin : begin + _PIECE].astype(np.float64)
        energy += float(np.square(exact).sum())
        noise += float(np.square(exact - restored[begin : begin + _PIECE]).sum())
    return float(f"{energy:.9g}"), float(f"{noise:.9g}")


def compress(content: bytes) -> bytes:
    """One zstd frame with a checksum and its content's size; nothing where there is no content.

    Raises:
        MissingDependencyError: zstandard is not installed.

    """
    if not content:
        return b""
    compressor = require("zstandard", "build").ZstdCompressor
    frames: list[bytes] = [
        compressor(level=level, write_checksum=True).compress(content) for level in _LEVELS
    ]
    return min(frames, key=len)
