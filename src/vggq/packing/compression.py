"""zstd as an entropy coder: frames with a checksum and their content size."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from .blocks import find_blocks
from .optional import require

if TYPE_CHECKING:
    from collections.abc import Sequence

# On quantizer codes zstd's fastest level is as good as any other, except that it replaces a few
# random repetitions by matches. At low widths the slowest level sometimes finds real matches.
_LEVELS: Final = (1, 19)
# ZSTD_fast, zstd's simplest match finder.
_FAST_STRATEGY: Final = 1
# The smallest gain that pays for the time of decompression, as a fraction of the content: zstd
# itself uses the same one to decide whether to compress a block.
_MIN_GAIN_DIVISOR: Final = 64


def zstd_version() -> str:
    """Return the version of zstd that compresses.

    Raises:
        MissingDependencyError: zstandard is not installed.

    """
    return ".".join(map(str, require("zstandard", "build").ZSTD_VERSION))


def compress(content: bytes) -> bytes:
    """Return the smallest frame of some content; no bytes at all for empty content.

    Content that the entropy coder cannot shrink, and that matches shrink by less than a 64th, is
    stored uncompressed in its frame. A reader then copies it.

    Raises:
        MissingDependencyError: zstandard is not installed.

    """
    if not content:
        return b""
    make = require("zstandard", "build").ZstdCompressor
    first: bytes = _entropy_coder().compress(content)
    smallest = first
    for level in _LEVELS:
        # Only the smallest frame is kept: those of a large tensor take much memory.
        smallest = min(smallest, make(level=level, write_checksum=True).compress(content), key=len)
    gain = len(first) - len(smallest)
    is_worth_it = len(first) < len(content) or gain * _MIN_GAIN_DIVISOR >= len(content)
    return smallest if is_worth_it else first


def compress_parts(parts: Sequence[bytes]) -> bytes:
    """Return one frame of several parts that have different statistics.

    New entropy tables begin where they save most bytes, or where zstd chooses. The smaller of both
    frames is returned.

    Raises:
        MissingDependencyError: zstandard is not installed.

    """
    whole: bytes = _entropy_coder().compress(b"".join(parts))
    return min(whole, _compress_blocks(find_blocks(parts)), key=len)


def compressed_size(content: bytes) -> int:
    """Return the number of bytes that the entropy coder makes of some content."""
    return len(_entropy_coder().compress(content)) if content else 0


def _entropy_coder() -> Any:
    """Return a compressor that finds almost no matches."""
    zstandard = require("zstandard", "build")
    parameters = zstandard.ZstdCompressionParameters(
        window_log=17,
        chain_log=6,
        hash_log=6,
        search_log=1,
        min_match=7,
        target_length=0,
        strategy=_FAST_STRATEGY,
        write_content_size=True,
        write_checksum=True,
    )
    return zstandard.ZstdCompressor(compression_params=parameters)


def _compress_blocks(blocks: Sequence[bytes]) -> bytes:
    """Return a frame with these blocks."""
    flush = require("zstandard", "build").COMPRESSOBJ_FLUSH_BLOCK
    coder = _entropy_coder().compressobj(size=sum(map(len, blocks)))
    out = [part for block in blocks for part in (coder.compress(block), coder.flush(flush))]
    return b"".join([*out, coder.flush()])
