"""Build time: checkpoints, read one tensor at a time. One module per format.

A format is told by its suffix, and its content has to agree.
"""

from ._identify import FORMATS, digest, formats_of_suffix, identify, open_source
from ._source import Format, Source, SourceTensor

__all__ = [
    "FORMATS",
    "Format",
    "Source",
    "SourceTensor",
    "digest",
    "formats_of_suffix",
    "identify",
    "open_source",
]
