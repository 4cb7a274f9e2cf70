"""Checkpoints in any supported format, read one tensor at a time.

Each format has a module or a package. A file's first bytes identify its format, and its suffix
must agree.
"""

from ._gaps import file_size, separate_tensors
from ._hashing import check_unchanged, hash_file, hash_source
from ._identification import identify_format, list_requirements, list_source_files
from ._links import find_blobs
from ._opening import open_source
from ._places import Checksum, Place
from ._registry import FORMATS
from ._restore_option import find_restore_conflicts, resolve_restore
from ._selection import check_patterns, matches_any
from ._source import (
    UNKNOWN_DTYPE,
    Contents,
    Format,
    ReadOptions,
    Source,
    SourceTensor,
    natural_sort_key,
    replace_files,
)

__all__ = [
    "FORMATS",
    "UNKNOWN_DTYPE",
    "Checksum",
    "Contents",
    "Format",
    "Place",
    "ReadOptions",
    "Source",
    "SourceTensor",
    "check_patterns",
    "check_unchanged",
    "file_size",
    "find_blobs",
    "find_restore_conflicts",
    "hash_file",
    "hash_source",
    "identify_format",
    "list_requirements",
    "list_source_files",
    "matches_any",
    "natural_sort_key",
    "open_source",
    "replace_files",
    "resolve_restore",
    "separate_tensors",
]
