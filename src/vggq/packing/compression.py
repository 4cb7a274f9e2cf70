"""zstd as an entropy coder: frames with a checksum and the size of their content."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .optional import require

if TYPE_CHECKING:
    from collections.abc import Sequence

# On codes zstd's fastest level is as good as any, but for matches that are none; at low widths the
# slowest sometimes finds true ones.
_LEVELS: Final = (1, 19)
_FAST: Final = 1
# What zstd itself asks for before it compresses a block: less is not worth the time to undo it.
_LEAST_GAIN: Final = 64
# So many bytes are worth tables of their own.
_OWN_TABLES: Final = 1 << 15


def compress(content: bytes) -> bytes:
    """The smallest frame of some bytes; nothing where there are none.

    Bytes that the entropy coder leaves as they are, and matches make smaller by less than a 64th,
    stay as they are: they are then decompressed by copying them.

    Raises:
        MissingDependencyError: zstandard is not installed.

    """
    if not content:
        return b""
    make = require("zstandard", "build").ZstdCompressor
    makers = [_entropy_coder(), *(make(level=level, write_checksum=True) for level in _LEVELS)]
    frames: list[bytes] = [maker.compress(content) for maker in makers]
    smallest = min(frames, key=len)
    gain = len(frames[0]) - len(smallest)
    is_worth_it = len(frames[0]) < len(content) or gain * _LEAST_GAIN >= len(content)
    return smallest if is_worth_it else frames[0]


def compress_parts(parts: Sequence[bytes]) -> bytes:
    """One frame of parts each of which has statistics of its own.

    Its tables begin anew with a part, or also within: whatever comes to least.
    """
    cut = [part[at : at + _OWN_TABLES] for part in parts for at in range(0, len(part), _OWN_TABLES)]
    whole: bytes = _entropy_coder().compress(b"".join(parts))
    return min(whole, _compress_apart(parts), _compress_apart(cut), key=len)


def entropy_coded(content: bytes) -> int:
    """Bytes that some content takes once compressed."""
    return len(_entropy_coder().compress(content)) if content else 0


def _entropy_coder() -> Any:
    """A compressor that finds next to no matches."""
    zstandard = require("zstandard", "build")
    parameters = zstandard.ZstdCompressionParameters(
        window_log=17,
        chain_log=6,
        hash_log=6,
        search_log=1,
        min_match=7,
        target_length=0,
        strategy=_FAST,
        write_content_size=True,
        write_checksum=True,
    )
    return zstandard.ZstdCompressor(compression_params=parameters)


def _compress_apart(parts: Sequence[bytes]) -> bytes:
    block = require("zstandard", "build").COMPRESSOBJ_FLUSH_BLOCK
    coder = _entropy_coder().compressobj(size=sum(map(len, parts)))
    out, pending = [], 0
    for part in parts:
        out.append(coder.compress(part))
        pending += len(part)
        if pending >= _OWN_TABLES:
            out.append(coder.flush(block))
            pending = 0
    return b"".join([*out, coder.flush()])
