"""Peers: other ways to pack weights, each a pair of functions for one tensor.

The first function returns the arrays to store for a tensor, the second restores the tensor from
these arrays. The file of a peer is a safetensors file of the arrays. Peers that use zstd try the
levels 1 and 19 and keep the smaller result.
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
    join_blocks,
    restore_fp8,
    restore_int8,
    restore_nf4,
    split_into_blocks,
    store_fp8,
    store_int8,
    store_nf4,
)

from vggq.packing.codecs.codebook.kmeans import find_centroids as find_binned_centroids

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


_GGUF_TYPES: Final = ("Q8_0", "Q5_1", "Q5_0", "Q4_1", "Q4_0")
_GGUF_BLOCK: Final = 32
# In standard deviations; they take about 8 to 2 bits per weight.
_UNIFORM_STEPS: Final = (0.025, 0.05, 0.1, 0.2, 0.4, 0.8, 1.3)
_KMEANS_BITS: Final = range(2, 9)
_ZSTD_LEVELS: Final = (1, 19)
_LEVEL_OFFSET: Final = 128


@dataclass(frozen=True)
class Peer:
    """A packer to compare with, at one rate.

    Attributes:
        name: the name of the packer.
        setting: the rate, in the packer's own terms.
        store: takes a tensor and the root mean square of all tensors; returns the arrays to store.
        restore: takes the stored arrays and the tensor's shape; returns the tensor.

    """

    name: str
    setting: str
    store: Callable[[Array, float], Arrays]
    restore: Callable[[Arrays, Sequence[int]], Array]


def make_peers(*, exact_kmeans: bool) -> list[Peer]:
    """Return the peers that need no further packages.

    Args:
        exact_kmeans: use kmeans1d, which takes a minute for a million weights, and not the
            dynamic programme of this project.

    """
    if exact_kmeans:
        name, find_centroids = "k-means, exact + zstd", find_exact_centroids
    else:
        name, find_centroids = "k-means, DP + zstd", find_binned_centroids
    return [
        *(_make_kmeans(name, find_centroids, bits) for bits in _KMEANS_BITS),
        *(_make_uniform("uniform + zstd, step of each tensor", step) for step in _UNIFORM_STEPS),
        *(_make_uniform("uniform + zstd, one step", step, shared=True) for step in _UNIFORM_STEPS),
        Peer("int8 per channel", "", store_int8, restore_int8),
        Peer("NF4", "double quantization", store_nf4, restore_nf4),
        _make_cast("fp16", np.dtype(np.float16)),
        _make_cast("bf16", np.dtype(ml_dtypes.bfloat16)),
        Peer("fp8", "E4M3, scaled", store_fp8, restore_fp8),
    ]


def make_gguf_peers() -> list[Peer]:
    """Return the peers of GGUF, which quantize blocks of 32 consecutive weights of a tensor.

    Raises:
        ImportError: the package gguf is not installed.

    """
    from gguf import GGMLQuantizationType, quants  # noqa: PLC0415 - may not be installed

    def store(kind: Any, values: Array, _: float) -> Arrays:
        return [quants.quantize(split_into_blocks(values, _GGUF_BLOCK), kind)]

    def restore(kind: Any, stored: Arrays, shape: Sequence[int]) -> Array:
        return join_blocks(quants.dequantize(stored[0], kind), shape)

    kinds = {name: GGMLQuantizationType[name] for name in _GGUF_TYPES}
    return [
        Peer("GGUF", name, partial(store, kind), partial(restore, kind))
        for name, kind in kinds.items()
    ]


def make_zipnn_peers() -> list[Peer]:
    """Return the peer of ZipNN, which is lossless.

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


def find_exact_centroids(values: Array, k: int) -> Array:
    """Return the distinct centroids of exact k-means, in ascending order."""
    return np.unique(np.asarray(kmeans1d.cluster(values.reshape(-1), k).centroids, np.float32))


def _make_kmeans(name: str, find_centroids: Callable[[Array, int], Array], bits: int) -> Peer:
    def store(values: Array, _: float) -> Arrays:
        codebook = find_centroids(values, 1 << bits)
        codes = np.searchsorted((codebook[1:] + codebook[:-1]) / 2, values.reshape(-1))
        return [codebook, _compress(codes.astype(np.uint8))]

    def restore(stored: Arrays, shape: Sequence[int]) -> Array:
        return stored[0][_decompress(stored[1], np.uint8)].reshape(shape)

    return Peer(name, f"{bits} bits", store, restore)


def _make_uniform(name: str, step: float, *, shared: bool = False) -> Peer:
    """Return a uniform quantizer with zstd.

    Args:
        name: the name of the peer.
        step: the step size in standard deviations.
        shared: use one standard deviation for all tensors, and not each tensor's own.

    """

    def store(values: Array, deviation: float) -> Arrays:
        step_size = np.float32(step * (deviation if shared else float(values.std())))
        levels = np.rint(values.reshape(-1) / step_size)
        # The offset makes the high bytes of most levels zero, for both signs.
        shifted = levels + _LEVEL_OFFSET
        fits = shifted.min() >= 0 and shifted.max() < 2 * _LEVEL_OFFSET
        codes = shifted.astype(np.uint8 if fits else np.int16)
        return [np.array([step_size]), *map(_compress, _split_bytes(codes))]

    def restore(stored: Arrays, shape: Sequence[int]) -> Array:
        planes = [_decompress(plane, np.uint8) for plane in stored[1:]]
        codes = np.stack(planes, axis=-1).view(np.uint8 if len(planes) == 1 else np.int16)
        levels: Array = codes.reshape(shape).astype(np.float32)
        levels -= _LEVEL_OFFSET
        levels *= stored[0][0]
        return levels

    return Peer(name, f"{step:g} deviations", store, restore)


def _split_bytes(codes: Array) -> Arrays:
    """Return all low bytes and then, of two-byte codes, all high bytes."""
    return list(np.ascontiguousarray(codes.view(np.uint8).reshape(-1, codes.itemsize).T))


def _compress(codes: Array) -> Array:
    content = codes.tobytes()
    frames = [zstandard.ZstdCompressor(level=level).compress(content) for level in _ZSTD_LEVELS]
    return np.frombuffer(min(frames, key=len), np.uint8)


def _decompress(frame: Array, dtype: Any) -> Array:
    return np.frombuffer(zstandard.ZstdDecompressor().decompress(frame.tobytes()), dtype)


def _make_cast(name: str, dtype: np.dtype[Any]) -> Peer:
    def store(values: Array, _: float) -> Arrays:
        return [values.astype(dtype).view(np.uint16)]

    def restore(stored: Arrays, shape: Sequence[int]) -> Array:
        return stored[0].view(dtype).astype(np.float32).reshape(shape)

    return Peer(name, "", store, restore)
