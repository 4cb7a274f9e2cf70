"""Checkpoints in any supported format, read one tensor at a time.

Each format has a module or a package. A file's first bytes identify its format, and its suffix
must agree.
"""

from ._hashing import check_unchanged, hash_file, hash_source
from ._opening import open_source
from ._registry import FORMATS, identify_format, list_source_files
from ._selection import check_patterns, matches_any
from ._source import (
    UNKNOWN_DTYPE,
    Contents,
    Format,
    ReadOptions,
    Source,
    SourceTensor,
    natural_sort_key,
)

__all__ = [
    "FORMATS",
    "UNKNOWN_DTYPE",
    "Contents",
    "Format",
    "ReadOptions",
    "Source",
    "SourceTensor",
    "check_patterns",
    "check_unchanged",
    "hash_file",
    "hash_source",
    "identify_format",
    "list_source_files",
    "matches_any",
    "natural_sort_key",
    "open_source",
]
