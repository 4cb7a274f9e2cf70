"""Build time: checkpoints, read one tensor at a time. One module per format.

A format is told by its first bytes, and its suffix must not contradict them.
"""

from ._names import check_patterns, matches
from ._registry import FORMATS, check_unchanged, digest, file_digest, files, identify, open_source
from ._source import Contents, Format, ReadOptions, Source, SourceTensor, natural_order

__all__ = [
    "FORMATS",
    "Contents",
    "Format",
    "ReadOptions",
    "Source",
    "SourceTensor",
    "check_patterns",
    "check_unchanged",
    "digest",
    "file_digest",
    "files",
    "identify",
    "matches",
    "natural_order",
    "open_source",
]
