"""Formats of fixed width, over one tensor: int8, NF4 and fp8."""

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
_NF4_SCALES: Final = 256
_FP8_MOST: Final = 448.0


def store_int8(values: Array, _: float) -> Arrays:
    """A scale for each row, of the first axis."""
    rows = values.reshape(len(values), -1)
    scales = np.maximum(np.abs(rows).max(1, keepdims=True), np.finfo(np.float32).tiny) / 127
    return [scales.astype(np.float32), np.rint(rows / scales).astype(np.int8)]


def restore_int8(stored: Arrays, shape: Sequence[int]) -> Array:
    """As stored."""
    restored: Array = stored[1] * stored[0]
    return restored.reshape(shape)


def store_nf4(values: Array, _: float) -> Arrays:
    """Blocks of 64 by their largest, the largest of 256 blocks in eight bits."""
    blocks = in_blocks(values, _NF4_BLOCK)
    most = np.abs(blocks).max(1)
    mean = most.mean(dtype=np.float32)
    groups = in_blocks(most - mean, _NF4_SCALES)
    second = np.maximum(np.abs(groups).max(1, keepdims=True), np.finfo(np.float32).tiny) / 127
    first = np.rint(groups / second).astype(np.int8)
    scales = _nf4_scales(first, second, mean, len(blocks))
    codes = np.searchsorted((NF4[1:] + NF4[:-1]) / 2, blocks / scales).astype(np.uint8)
    return [codes[:, ::2] | codes[:, 1::2] << 4, first, second, np.array([mean])]


def restore_nf4(stored: Arrays, shape: Sequence[int]) -> Array:
    """As stored."""
    pairs, first, second, mean = stored
    codes = np.stack([pairs & 15, pairs >> 4], axis=-1).reshape(len(pairs), -1)
    return out_of_blocks(NF4[codes] * _nf4_scales(first, second, mean[0], len(pairs)), shape)


def _nf4_scales(first: Array, second: Array, mean: Any, count: int) -> Array:
    scales = (first * second).reshape(-1)[:count, None] + mean
    found: Array = np.maximum(scales, np.finfo(np.float32).tiny).astype(np.float32)
    return found


def store_fp8(values: Array, _: float) -> Arrays:
    """One scale for a tensor."""
    scale = np.float32(np.abs(values).max() / _FP8_MOST or 1)
    return [np.array([scale]), (values / scale).astype(ml_dtypes.float8_e4m3fn).view(np.uint8)]


def restore_fp8(stored: Arrays, shape: Sequence[int]) -> Array:
    """As stored."""
    floats = stored[1].view(ml_dtypes.float8_e4m3fn).astype(np.float32)
    restored: Array = floats * stored[0]
    return restored.reshape(shape)


def in_blocks(values: Array, size: int) -> Array:
    """Of shape (blocks, size), the last filled with zeros."""
    flat = np.zeros(-(-values.size // size) * size, np.float32)
    flat[: values.size] = values.reshape(-1)
    return flat.reshape(-1, size)


def out_of_blocks(blocks: Array, shape: Sequence[int]) -> Array:
    """The other way round."""
    return blocks.reshape(-1)[: int(np.prod(shape))].reshape(shape)
