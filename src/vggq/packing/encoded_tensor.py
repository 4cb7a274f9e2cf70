"""One tensor of a source to the compressed bytes of its entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import _dtypes
from .._manifest import TensorInfo
from .codecs import codebook, raw
from .codecs.grid import Coder, at_least, with_step
from .compression import compress, compress_parts
from .metrics import measure

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._codecs import Codec
    from .codecs.grid import Quantized
    from .options import Options
    from .sources import SourceTensor


# A basis is 2^11 long and has up to 2^7 taps, and a step is several weights wide where few bits
# are left: what comes of larger weights may be beyond float32.
_LARGEST: Final = 2.0**100


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


def encode_tensor(tensor: SourceTensor, options: Options, scale: float = 1.0) -> EncodedTensor:
    """Read a tensor and encode it as the options say.

    Args:
        tensor: of the source.
        options: what is asked for.
        scale: where that is a size, the step on the grid, in units of what the aim makes it.

    Raises:
        SourceError: it cannot be read.
        MissingDependencyError: a library of the `build` extra is not installed.

    """
    stored = tensor.read()
    non_finite = 0
    if not raw.is_kept(tensor, options.keep):
        values = _dtypes.widen(stored, tensor.dtype, copy=False)
        non_finite = raw.count_non_finite(values)
        if not non_finite:
            quantized = _quantize(tensor.name, values, options, scale)
            if quantized:
                return quantized
    kept, content = raw.encode(stored, tensor.dtype)
    return EncodedTensor(kept, 0.0, 0.0, tensor.dtype, compress(content), non_finite)


def _quantize(
    name: str, values: NDArray[Any], options: Options, scale: float
) -> EncodedTensor | None:
    """The entry as the tensor's goal wants it; None where it is better stored exactly."""
    goal = options.goal(name)
    if goal.bits is not None:
        codec, content = codebook.encode(values, goal.bits)
        restored = np.empty(values.shape, np.float32)
        codec.decode_into(content, restored.reshape(-1))
        energy, noise = measure(values, restored)
        return EncodedTensor(codec, energy, noise, "F32", compress(content))
    if np.max([-values.min(), values.max()]) > _LARGEST:
        return None
    coder = Coder.of(values, dependent=options.dependent)
    if goal.sqnr is not None:
        return _on_grid(at_least(coder, values, goal.sqnr), values)
    return _on_grid(with_step(coder, values, scale * options.unit(name, values)), values)


def _on_grid(found: Quantized | None, values: NDArray[Any]) -> EncodedTensor | None:
    if found is None:
        return None
    found.codec.validate(b"".join(found.parts), values.size)
    frame = compress_parts(found.parts)
    if len(frame) >= values.nbytes:
        return None
    return EncodedTensor(found.codec, found.energy, found.noise, "F32", frame)
