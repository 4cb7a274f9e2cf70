"""Build time: checkpoints, read one tensor at a time. One module per format.

A format is told by its suffix, and its content has to agree.
"""

from ._identify import FORMATS, digest, formats_of_suffix, identify, open_source
from ._names import check_patterns, matches
from ._source import Format, Reading, Source, SourceTensor

__all__ = [
    "FORMATS",
    "Format",
    "Reading",
    "Source",
    "SourceTensor",
    "check_patterns",
    "digest",
    "formats_of_suffix",
    "identify",
    "matches",
    "open_source",
]
