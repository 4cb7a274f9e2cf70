"""What else packs weights, each as a pair of functions over one tensor.

A peer gives for a tensor the arrays that it would store, and restores the tensor from them. Its
file is a safetensors file of those arrays. Where zstd compresses, the level is the better of 1 and
19.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import kmeans1d
import ml_dtypes
import numpy as np
import zstandard
from fidelity_formats import (
    Array,
    Arrays,
    in_blocks,
    out_of_blocks,
    restore_fp8,
    restore_int8,
    restore_nf4,
    store_fp8,
    store_int8,
    store_nf4,
)

from vggq.packing.codecs.codebook.kmeans import centroids

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_GGUF: Final = ("Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")
_GGUF_BLOCK: Final = 32
# Of the standard deviation: about 8 to 2 bits per weight.
_STEPS: Final = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.3)
_BITS: Final = range(2, 9)
_MIDDLE: Final = 128


@dataclass(frozen=True)
class Peer:
    """One packer at one rate.

    Attributes:
        name: the packer.
        setting: the rate, in its own terms.
        store: a tensor, and the standard deviation of the whole model's: the arrays to store.
        restore: those, and the tensor's shape: the tensor.

    """

    name: str
    setting: str
    store: Callable[[Array, float], Arrays]
    restore: Callable[[Arrays, Sequence[int]], Array]


def peers(*, exact_kmeans: bool) -> list[Peer]:
    """All that are sure to be there; exact k-means takes a minute for a million weights."""
    kmeans = ("k-means, exact + zstd", exact) if exact_kmeans else ("k-means, DP + zstd", centroids)
    return [
        *(_kmeans(kmeans[0], kmeans[1], bits) for bits in _BITS),
        *(_uniform("uniform + zstd, step of each tensor", step, whole=False) for step in _STEPS),
        *(_uniform("uniform + zstd, one step", step, whole=True) for step in _STEPS),
        Peer("int8 per channel", "", store_int8, restore_int8),
        Peer("NF4", "double quantization", store_nf4, restore_nf4),
        _cast("fp16", np.dtype(np.float16)),
        _cast("bf16", np.dtype(ml_dtypes.bfloat16)),
        Peer("fp8", "E4M3, scaled", store_fp8, restore_fp8),
    ]


def gguf_peers() -> list[Peer]:
    """GGUF's, with blocks of 32 weights in the order of memory, whatever the last axis.

    Raises:
        ImportError: the package gguf is not installed.

    """
    from gguf import GGMLQuantizationType, quants  # noqa: PLC0415 - may not be installed

    def store(kind: Any, values: Array, _: float) -> Arrays:
        return [quants.quantize(in_blocks(values, _GGUF_BLOCK), kind)]

    def restore(kind: Any, stored: Arrays, shape: Sequence[int]) -> Array:
        return out_of_blocks(quants.dequantize(stored[0], kind), shape)

    kinds = {name: GGMLQuantizationType[name] for name in _GGUF}
    return [
        Peer("GGUF", name, partial(store, kind), partial(restore, kind))
        for name, kind in kinds.items()
    ]


def zipnn_peers() -> list[Peer]:
    """Lossless.

    Raises:
        ImportError: the package zipnn is not installed.

    """
    from zipnn import ZipNN  # noqa: PLC0415 - may not be installed

    def store(values: Array, _: float) -> Arrays:
        packed = ZipNN(bytearray_dtype="float32").compress(values.tobytes())
        return [np.frombuffer(packed, np.uint8)]

    def restore(stored: Arrays, shape: Sequence[int]) -> Array:
        raw = ZipNN(bytearray_dtype="float32").decompress(stored[0].tobytes())
        return np.frombuffer(raw, np.float32).reshape(shape)

    return [Peer("zipnn", "lossless", store, restore)]


def exact(values: Array, k: int) -> Array:
    """The centroids of exact k-means."""
    found = kmeans1d.cluster(values.reshape(-1), k).centroids
    return np.unique(np.asarray(found, np.float32))


def _kmeans(name: str, find: Callable[[Array, int], Array], bits: int) -> Peer:
    def store(values: Array, _: float) -> Arrays:
        codebook = find(values, 1 << bits)
        codes = np.searchsorted((codebook[1:] + codebook[:-1]) / 2, values.reshape(-1))
        return [codebook, _squeeze(codes.astype(np.uint8))]

    def restore(stored: Arrays, shape: Sequence[int]) -> Array:
        return stored[0][_expand(stored[1], np.uint8)].reshape(shape)

    return Peer(name, f"{bits} bits", store, restore)


def _uniform(name: str, step: float, *, whole: bool) -> Peer:
    """Steps of so many standard deviations, either the tensor's or the whole model's."""

    def store(values: Array, deviation: float) -> Arrays:
        size = np.float32(step * (deviation if whole else float(values.std())))
        levels = np.rint(values.reshape(-1) / size)
        # Moved, so that the high bytes of most levels are zero, whatever their signs.
        shifted = levels + _MIDDLE
        fits = shifted.min() >= 0 and shifted.max() < 2 * _MIDDLE
        codes = shifted.astype(np.uint8 if fits else np.int16)
        return [np.array([size]), *map(_squeeze, _planes(codes))]

    def restore(stored: Arrays, shape: Sequence[int]) -> Array:
        planes = [_expand(plane, np.uint8) for plane in stored[1:]]
        codes = np.stack(planes, axis=-1).view(np.uint8 if len(planes) == 1 else np.int16)
        levels: Array = codes.reshape(shape).astype(np.float32)
        levels -= _MIDDLE
        levels *= stored[0][0]
        return levels

    return Peer(name, f"{step:g} deviations", store, restore)


def _planes(levels: Array) -> Arrays:
    """All low bytes, then all high ones."""
    return list(np.ascontiguousarray(levels.view(np.uint8).reshape(-1, levels.itemsize).T))


def _squeeze(codes: Array) -> Array:
    frames = [zstandard.ZstdCompressor(level=level).compress(codes.tobytes()) for level in (1, 19)]
    return np.frombuffer(min(frames, key=len), np.uint8)


def _expand(frame: Array, dtype: Any) -> Array:
    return np.frombuffer(zstandard.ZstdDecompressor().decompress(frame.tobytes()), dtype)


def _cast(name: str, dtype: np.dtype[Any]) -> Peer:
    def store(values: Array, _: float) -> Arrays:
        return [values.astype(dtype).view(np.uint16)]

    def restore(stored: Arrays, shape: Sequence[int]) -> Array:
        return stored[0].view(dtype).astype(np.float32).reshape(shape)

    return Peer(name, "", store, restore)
