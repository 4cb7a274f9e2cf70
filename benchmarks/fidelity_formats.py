"""Storage formats of fixed width for one tensor: int8, NF4 and fp8."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

Array = NDArray[Any]
Arrays = list[Array]

# "QLoRA: Efficient Finetuning of Quantized LLMs", Dettmers et al., 2023, appendix E:
# https://arxiv.org/abs/2305.14314
NF4: Final = np.array(
    [
        -1.0,
        -0.6961928009986877,
        -0.5250730514526367,
        -0.39491748809814453,
        -0.28444138169288635,
        -0.18477343022823334,
        -0.09105003625154495,
        0.0,
        0.07958029955625534,
        0.16093020141124725,
        0.24611230194568634,
        0.33791524171829224,
        0.44070982933044434,
        0.5626170039176941,
        0.7229568362236023,
        1.0,
    ],
    np.float32,
)
_NF4_BLOCK: Final = 64
_NF4_SCALES_BLOCK: Final = 256
_FP8_MAX: Final = 448.0
_INT8_MAX: Final = 127
_TINY: Final = np.finfo(np.float32).tiny


def store_int8(values: Array, _: float) -> Arrays:
    """Quantize to int8 with one scale for each index of the first axis."""
    rows = values.reshape(len(values), -1)
    scales = np.maximum(np.abs(rows).max(1, keepdims=True), _TINY) / _INT8_MAX
    return [scales.astype(np.float32), np.rint(rows / scales).astype(np.int8)]


def restore_int8(stored: Arrays, shape: Sequence[int]) -> Array:
    """Restore a tensor from the result of `store_int8`."""
    restored: Array = stored[1] * stored[0]
    return restored.reshape(shape)


def store_nf4(values: Array, _: float) -> Arrays:
    """Quantize blocks of 64 values to NF4, with double quantization.

    The scale of a block is its largest absolute value. The scales of 256 blocks are quantized to
    eight bits.
    """
    blocks = split_into_blocks(values, _NF4_BLOCK)
    maxima = np.abs(blocks).max(1)
    mean = maxima.mean(dtype=np.float32)
    groups = split_into_blocks(maxima - mean, _NF4_SCALES_BLOCK)
    group_scales = np.maximum(np.abs(groups).max(1, keepdims=True), _TINY) / _INT8_MAX
    block_codes = np.rint(groups / group_scales).astype(np.int8)
    scales = _nf4_scales(block_codes, group_scales, mean, len(blocks))
    codes = np.searchsorted((NF4[1:] + NF4[:-1]) / 2, blocks / scales).astype(np.uint8)
    return [codes[:, ::2] | codes[:, 1::2] << 4, block_codes, group_scales, np.array([mean])]


def restore_nf4(stored: Arrays, shape: Sequence[int]) -> Array:
    """Restore a tensor from the result of `store_nf4`."""
    pairs, block_codes, group_scales, mean = stored
    codes = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(len(pairs), -1)
    scales = _nf4_scales(block_codes, group_scales, mean[0], len(pairs))
    return join_blocks(NF4[codes] * scales, shape)


def _nf4_scales(block_codes: Array, group_scales: Array, mean: Any, count: int) -> Array:
    scales = (block_codes * group_scales).reshape(-1)[:count, None] + mean
    restored: Array = np.maximum(scales, _TINY).astype(np.float32)
    return restored


def store_fp8(values: Array, _: float) -> Arrays:
    """Convert to fp8 (E4M3) with one scale for the tensor."""
    scale = np.float32(np.abs(values).max() / _FP8_MAX or 1)
    return [np.array([scale]), (values / scale).astype(ml_dtypes.float8_e4m3fn).view(np.uint8)]


def restore_fp8(stored: Arrays, shape: Sequence[int]) -> Array:
    """Restore a tensor from the result of `store_fp8`."""
    floats = stored[1].view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    restored: Array = floats * stored[0]
    return restored.reshape(shape)


def split_into_blocks(values: Array, size: int) -> Array:
    """Return the values with shape (blocks, size); the last block is padded with zeros."""
    flat = np.zeros(-(-values.size // size) * size, np.float32)
    flat[: values.size] = values.reshape(-1)
    return flat.reshape(-1, size)


def join_blocks(blocks: Array, shape: Sequence[int]) -> Array:
    """Undo `split_into_blocks`: drop the padding and restore the shape."""
    return blocks.reshape(-1)[: int(np.prod(shape))].reshape(shape)
