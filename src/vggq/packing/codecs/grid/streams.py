"""The encoder of the bands of the ``grid`` codec: the stream that compresses best, per band."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ...._codecs._stored_bands import BAND_HEADER, ESCAPED_LEVEL
from ...._codecs._streams import ESCAPE, MAX_BYTE_LEVEL, SHIFTS, ZERO_RUN, Kind, Plain, Runs
from ...compression import compressed_size

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Levels = NDArray[np.int32]

# Run-length streams are tried below this RMS level. They gain only where most levels are zero,
# since a Huffman code takes at least one bit for each byte of a plain stream.
_MAX_RMS_OF_RUNS: Final = 6.0
_RUN_LEVELS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_MAX_ESCAPE_SHARE: Final = 0.1
# Candidates for the largest level of a plain stream that is not an escape. zstd's Huffman codes
# have at most 11 bits: a large number of rare symbols makes the codes of the frequent ones longer.
_ESCAPE_LIMITS: Final = (127, 80, 56, 40, 32, 26, 20)
# Candidates are compared on a sample of 64 chunks.
_SAMPLE_CHUNKS: Final = 64
_SAMPLE_CHUNK: Final = 1 << 13


@dataclass(frozen=True, slots=True)
class BandStream:
    """An encoded band.

    Attributes:
        kind: the kind of the stream, with its parameters.
        stream: one byte per symbol.
        low: the low bits of the levels, packed.
        escapes: the levels for which the stream has an escape symbol.

    """

    kind: Kind
    stream: bytes
    low: bytes
    escapes: Levels

    def estimate_size(self) -> int:
        """Return the number of bytes after compression; low bits do not compress."""
        escapes = _byte_planes([self.escapes])
        return compressed_size(self.stream) + len(self.low) + compressed_size(escapes)


def serialize_bands(bands: list[BandStream]) -> list[bytes]:
    """Return the part of the content that follows the basis, in parts of similar statistics."""
    headers = np.zeros(len(bands), BAND_HEADER)
    headers["kind"] = [band.kind.code for band in bands]
    headers["length"] = [len(band.stream) for band in bands]
    headers["escapes"] = [band.escapes.size for band in bands]
    return [
        headers.tobytes(),
        *(band.stream for band in bands),
        *(band.low for band in bands),
        _byte_planes([band.escapes for band in bands]),
    ]


def _byte_planes(escapes: list[Levels]) -> bytes:
    """Return the lowest bytes of all levels, then the next bytes, which compresses better."""
    values = np.concatenate(escapes).astype(ESCAPED_LEVEL)
    return values.view(np.uint8).reshape(-1, ESCAPED_LEVEL.itemsize).T.tobytes()


def encode_band(levels: Levels) -> BandStream:
    """Encode the levels of a band with the kind and the limit that compress best."""
    sample = _take_sample(levels)
    kind = min(
        _candidate_kinds(sample),
        key=lambda kind: encode_levels(kind, MAX_BYTE_LEVEL, sample).estimate_size(),
    )
    limits = _ESCAPE_LIMITS if isinstance(kind, Plain) else (MAX_BYTE_LEVEL,)
    limit = min(limits, key=lambda limit: encode_levels(kind, limit, sample).estimate_size())
    return encode_levels(kind, limit, levels)


def _take_sample(levels: Levels) -> Levels:
    if levels.size <= _SAMPLE_CHUNKS * _SAMPLE_CHUNK:
        return levels
    begins = np.linspace(0, levels.size - _SAMPLE_CHUNK, _SAMPLE_CHUNKS, dtype=np.intp)
    return np.concatenate([levels[begin : begin + _SAMPLE_CHUNK] for begin in begins])


def _candidate_kinds(levels: Levels) -> list[Kind]:
    magnitudes = np.abs(levels)
    rms = float(np.sqrt(np.square(levels, dtype=np.float64).mean())) if levels.size else 0.0
    kinds: list[Kind] = [Plain(shift) for shift in SHIFTS if not shift or rms > 4 << shift]
    if rms < _MAX_RMS_OF_RUNS:
        kinds += [
            Runs(limit)
            for limit in _RUN_LEVELS
            if np.count_nonzero(magnitudes > limit) <= _MAX_ESCAPE_SHARE * levels.size
        ]
    return kinds


def encode_levels(kind: Kind, limit: int, levels: Levels) -> BandStream:
    """Encode the levels of a band as a stream of a given kind.

    Args:
        kind: the kind of the stream.
        limit: for a plain stream, the largest absolute value of the upper bits of a level that
            is not stored as an escape, 1 to 127. A run-length stream has a limit of its own.
        levels: one-dimensional.

    """
    if isinstance(kind, Plain):
        return _encode_plain(kind, limit, levels)
    return _encode_runs(kind, levels)


def _encode_plain(kind: Plain, limit: int, levels: Levels) -> BandStream:
    high = levels >> kind.shift
    escaped = np.abs(high) > limit
    stream = np.where(escaped, ESCAPE, high).astype(np.int8).tobytes()
    return BandStream(kind, stream, _pack_low_bits(levels, kind.shift), levels[escaped])


def _pack_low_bits(levels: Levels, width: int) -> bytes:
    if not width:
        return b""
    per_byte = 8 // width
    bits = np.zeros(-(-levels.size // per_byte) * per_byte, np.uint8)
    bits[: levels.size] = levels & ((1 << width) - 1)
    shifts = np.arange(0, 8, width, dtype=np.uint8)
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(bits.reshape(-1, per_byte) << shifts, axis=1)
    return packed.tobytes()


def _encode_runs(kind: Runs, levels: Levels) -> BandStream:
    positions = np.flatnonzero(levels)
    nonzero = levels[positions]
    magnitudes = np.abs(nonzero)
    zeros = np.diff(positions, prepend=-1) - 1
    index = np.where(nonzero > 0, magnitudes - 1, kind.max_level - 1 + magnitudes)
    index[magnitudes > kind.max_level] = kind.endings - 1
    # Symbols that stand for zeros only precede a long run, and end the band.
    zeros_only = zeros // kind.run_length
    symbols = zeros % kind.run_length * kind.endings + index
    trailing = levels.size - (int(positions[-1]) + 1 if positions.size else 0)
    length = positions.size + int(zeros_only.sum()) + -(-trailing // kind.run_length)
    stream = np.full(length, ZERO_RUN, np.uint8)
    stream[np.cumsum(zeros_only + 1) - 1] = symbols
    return BandStream(kind, stream.tobytes(), b"", nonzero[magnitudes > kind.max_level])
