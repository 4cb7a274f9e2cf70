"""Encode one tensor of a source into the compressed bytes of its entry."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from .. import _dtypes
from .._manifest import TensorInfo
from .codecs import codebook, raw
from .codecs.grid import (
    GridEncoder,
    ScaledGridEncoder,
    quantize_to_sqnr,
    quantize_with_step,
)
from .codecs.scales import scale_slices
from .compression import compress, compress_parts
from .goals import Bits, Size, Sqnr
from .metrics import measure_noise
from .scale_axes import find_axis

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._codecs import Codec
    from .codecs.grid import QuantizedTensor
    from .goals import Goal
    from .options import Options
    from .sources import SourceTensor


Quantize = Callable[
    ["SourceTensor", "NDArray[Any]", "NDArray[Any]", "Options", float], "EncodedTensor | None"
]
"""Called with a tensor, its stored values, these as float32, the options, and the scale."""

# A basis vector has length 2^11 and up to 2^7 taps, and with few bits a step size is several
# weights wide: larger weights could overflow float32 on the grid.
_MAX_ON_GRID: Final = 2.0**100


@dataclass(frozen=True, slots=True)
class EncodedTensor:
    """The entry of a tensor: its description for the manifest, and its bytes.

    Attributes:
        codec: the codec, with its parameters.
        energy: the sum of the squares of the weights; 0 if stored exactly.
        noise: the sum of the squared quantization errors; 0 if stored exactly.
        stored_dtype: the safetensors name of the dtype of the content.
        frame: the compressed bytes.
        non_finite: the number of values that are NaN or infinite, if these kept the tensor from
            being quantized.

    """

    codec: Codec
    energy: float
    noise: float
    stored_dtype: str
    frame: bytes
    non_finite: int = 0

    @property
    def measures(self) -> tuple[object, ...]:
        """Everything that the manifest records of the entry itself."""
        return (self.codec, self.energy, self.noise, self.stored_dtype)

    def describe(self, tensor: SourceTensor, entry: int) -> TensorInfo:
        """Return the manifest's description of the tensor that is stored in this entry."""
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


def quantize_as_float32(
    tensor: SourceTensor, _: NDArray[Any], values: NDArray[Any], options: Options, scale: float
) -> EncodedTensor | None:
    """Return the quantized entry of weights that are restored as float32."""
    return quantize_values(tensor, values, options, scale, options.goal_for(tensor.name))


def encode_tensor(
    tensor: SourceTensor,
    options: Options,
    scale: float = 1.0,
    quantize: Quantize = quantize_as_float32,
) -> EncodedTensor:
    """Read a tensor and encode it for its goal.

    Args:
        tensor: a tensor of the source.
        options: the options.
        scale: for a size, the step size in units of `step_unit`.
        quantize: returns the quantized entry; by default for weights restored as float32.

    Raises:
        SourceError: the tensor cannot be read.
        MissingDependencyError: a library of the `build` extra is not installed.

    """
    stored = tensor.read()
    non_finite = 0
    if not raw.is_stored_exactly(tensor, options.keep):
        # Not saturating, so that values beyond float32 count as infinite and are stored exactly.
        values = _dtypes.convert(stored, tensor.dtype, copy=False, saturating=False)
        non_finite = raw.count_non_finite(values)
        if not non_finite:
            quantized = quantize(tensor, stored, values, options, scale)
            if quantized:
                return quantized
    codec, content = raw.encode(stored, tensor.dtype)
    return EncodedTensor(codec, 0.0, 0.0, tensor.dtype, compress(content), non_finite)


def quantize_values(
    tensor: SourceTensor, values: NDArray[Any], options: Options, scale: float, goal: Goal
) -> EncodedTensor | None:
    """Return the quantized entry of float32 values; None if they are better stored exactly."""
    if isinstance(goal, Bits):
        axis = find_axis(tensor, options.scale_for(tensor.name))
        return _with_codebook(values, goal.bits, axis)
    if np.max([-values.min(), values.max()]) > _MAX_ON_GRID:
        return None
    return _on_grid(_quantize_on_grid(goal, tensor, values, scale, options), values)


def _with_codebook(values: NDArray[np.float32], bits: int, axis: int | None) -> EncodedTensor:
    codec, content = codebook.encode(values, bits, axis)
    energy, noise = _measure(values, codec, content)
    return EncodedTensor(codec, energy, noise, "F32", compress(content))


def _measure(values: NDArray[np.float32], codec: Codec, content: bytes) -> tuple[float, float]:
    """Return energy and noise; the memory of the restored weights is free before compression."""
    restored = np.empty(values.shape, np.float32)
    codec.decode_into(content, restored.reshape(-1))
    return measure_noise(values, restored)


def _quantize_on_grid(
    goal: Goal, tensor: SourceTensor, values: NDArray[np.float32], scale: float, options: Options
) -> QuantizedTensor | None:
    encoder = _make_encoder(values, find_axis(tensor, options.scale_for(tensor.name)), options)
    if isinstance(goal, Sqnr):
        return quantize_to_sqnr(encoder, values, goal.sqnr)
    assert isinstance(goal, Size)
    return quantize_with_step(encoder, values, scale * step_unit(goal, tensor.name, values))


def _make_encoder(
    values: NDArray[np.float32], axis: int | None, options: Options
) -> GridEncoder | ScaledGridEncoder:
    if axis is None:
        return GridEncoder.from_values(values, options.search)
    scaled = scale_slices(values, axis)
    inner = GridEncoder.from_values(scaled.values, options.search, reorder=False)
    return ScaledGridEncoder.from_encoder(scaled, inner)


def step_unit(goal: Size, name: str, values: NDArray[np.float32]) -> float:
    """Return the unit of the step sizes of a tensor when a size is shared among tensors.

    Equal step sizes minimize the sum of the errors. Step sizes in proportion to the root of the
    energy minimize the sum of the errors relative to the energy. A factor of `importance` divides
    the error that is optimal for the tensor, because the Lagrangian has one slope for all tensors.
    """
    energy = 1.0
    if goal.objective != "overall":
        energy = float(np.square(values, dtype=np.float64).sum()) or 1.0
    return math.sqrt(energy / goal.factors.get(name, 1.0))


def _on_grid(found: QuantizedTensor | None, values: NDArray[Any]) -> EncodedTensor | None:
    if found is None:
        return None
    found.codec.validate(b"".join(found.parts), values.size)
    frame = compress_parts(found.parts)
    if len(frame) >= values.nbytes:
        return None
    return EncodedTensor(found.codec, found.energy, found.noise, "F32", frame)
