"""Zstd frames of any form, made with the library that tests on every Python have."""

from __future__ import annotations

import sys
from typing import Any, Final

stdlib: Any
if sys.version_info >= (3, 14):
    from compression import zstd as stdlib
else:
    # A backport of the standard library's module.
    from backports import zstd as stdlib

_PARAMETER: Final = stdlib.CompressionParameter


def make_frame(content: bytes, level: int = 1, *, parts: int = 1, **parameters: int) -> bytes:
    """Return a frame with a checksum and a content size.

    Args:
        content: the content.
        level: zstd's level.
        parts: the number of parts of equal size that get blocks of their own.
        parameters: zstd's parameters, such as ``checksum_flag=0``.

    """
    named = {"compression_level": level, "checksum_flag": 1, "content_size_flag": 1} | parameters
    options = {getattr(_PARAMETER, name): value for name, value in named.items()}
    compressor = stdlib.ZstdCompressor(options=options)
    compressor.set_pledged_input_size(len(content))
    length = -(-len(content) // parts) or 1
    blocks = [
        compressor.compress(content[begin : begin + length], compressor.FLUSH_BLOCK)
        for begin in range(0, len(content) if parts > 1 else 0, length)
    ]
    end = content if parts == 1 else b""
    return b"".join([*blocks, compressor.compress(end, compressor.FLUSH_FRAME)])
