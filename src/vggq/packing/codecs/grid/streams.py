"""The storing half of the bands of the ``grid`` codec: levels to the shortest streams."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from ...._codecs._bands import HEADER, LEVEL
from ...._codecs._streams import ESCAPE, MORE_ZEROS, MOST, SHIFTS, Kind, Plain, Runs
from ...compression import entropy_coded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Levels = NDArray[np.int32]

# Where most levels are zero a byte for each cannot cost less than a bit.
_RUNS_BELOW: Final = 6.0
_RUN_LEVELS: Final = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_MOST_ESCAPES: Final = 0.1
# zstd's codes have at most 11 bits, so that many rare bytes are paid for by the frequent ones: it
# may be better to have the rare ones escape.
_MOSTS: Final = (127, 80, 56, 40, 32, 26, 20)
# What kind is best shows in so many stretches of so many levels.
_STRETCHES: Final = 16
_STRETCH: Final = 1 << 13
_RAW_PER_BYTE: Final = 8


@dataclass(frozen=True, slots=True)
class Stream:
    """One band: its kind, the stream, the low bits, and the values of escapes."""

    kind: Kind
    stream: bytes
    low: bytes
    escapes: Levels

    @property
    def cost(self) -> int:
        """Bytes once compressed."""
        return entropy_coded(self.stream) + len(self.low) + entropy_coded(_planes([self.escapes]))


def content_of(bands: list[Stream]) -> list[bytes]:
    """The parts of the content behind the basis; a part is of like statistics."""
    heads = np.zeros(len(bands), HEADER)
    heads["kind"] = [band.kind.code for band in bands]
    heads["length"] = [len(band.stream) for band in bands]
    heads["escapes"] = [band.escapes.size for band in bands]
    return [
        heads.tobytes(),
        *(band.stream for band in bands),
        *(band.low for band in bands),
        _planes([band.escapes for band in bands]),
    ]


def _planes(escapes: list[Levels]) -> bytes:
    """All lowest bytes, then all next ones: those of like statistics together."""
    values = np.concatenate(escapes).astype(LEVEL)
    return values.view(np.uint8).reshape(-1, LEVEL.itemsize).T.tobytes()


def shortest(levels: Levels) -> Stream:
    """The stream of a band that compresses best."""
    sample = _sample(levels)
    kind = min(_kinds(sample), key=lambda kind: _stream(kind, MOST, sample).cost)
    mosts = _MOSTS if isinstance(kind, Plain) else (MOST,)
    most = min(mosts, key=lambda most: _stream(kind, most, sample).cost)
    return _stream(kind, most, levels)


def _sample(levels: Levels) -> Levels:
    if levels.size <= _STRETCHES * _STRETCH:
        return levels
    begins = np.linspace(0, levels.size - _STRETCH, _STRETCHES, dtype=np.intp)
    return np.concatenate([levels[begin : begin + _STRETCH] for begin in begins])


def _kinds(levels: Levels) -> list[Kind]:
    sizes = np.abs(levels)
    spread = float(np.sqrt(np.square(levels, dtype=np.float64).mean())) if levels.size else 0.0
    kinds: list[Kind] = [Plain(shift) for shift in SHIFTS if not shift or spread > 4 << shift]
    if spread < _RUNS_BELOW:
        kinds += [
            Runs(most)
            for most in _RUN_LEVELS
            if np.count_nonzero(sizes > most) <= _MOST_ESCAPES * levels.size
        ]
    return kinds


def _stream(kind: Kind, most: int, levels: Levels) -> Stream:
    return _plain(kind, most, levels) if isinstance(kind, Plain) else _runs(kind, levels)


def _plain(kind: Plain, most: int, levels: Levels) -> Stream:
    high = levels >> kind.shift
    escaped = np.abs(high) > most
    stream = np.where(escaped, ESCAPE, high).astype(np.int8).tobytes()
    return Stream(kind, stream, _low_bits(levels, kind.shift), levels[escaped])


def _low_bits(levels: Levels, width: int) -> bytes:
    if not width:
        return b""
    per_byte = _RAW_PER_BYTE // width
    bits = np.zeros(-(-levels.size // per_byte) * per_byte, np.uint8)
    bits[: levels.size] = levels & ((1 << width) - 1)
    shifts = np.arange(0, 8, width, dtype=np.uint8)
    packed: NDArray[np.uint8] = np.bitwise_or.reduce(bits.reshape(-1, per_byte) << shifts, axis=1)
    return packed.tobytes()


def _runs(kind: Runs, levels: Levels) -> Stream:
    places = np.flatnonzero(levels)
    found = levels[places]
    sizes = np.abs(found)
    zeros = np.diff(places, prepend=-1) - 1
    index = np.where(found > 0, sizes - 1, kind.most - 1 + sizes)
    index[sizes > kind.most] = kind.width - 1
    more = zeros // kind.reach
    symbols = zeros % kind.reach * kind.width + index
    left = levels.size - (int(places[-1]) + 1 if places.size else 0)
    stream = np.full(places.size + int(more.sum()) + -(-left // kind.reach), MORE_ZEROS, np.uint8)
    stream[np.cumsum(more + 1) - 1] = symbols
    return Stream(kind, stream.tobytes(), b"", found[sizes > kind.most])
