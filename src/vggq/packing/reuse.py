"""Whether a packed file is what packing would write again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _weights
from ..errors import FormatError, PackedFileError
from .encoder import ENCODER_VERSION
from .sources import digest
from .verification import verify

if TYPE_CHECKING:
    from pathlib import Path

    from .options import Options


def is_current(target: Path, source: Path, options: Options) -> bool:
    """Whether `target` is sound and was packed from this source with these options.

    Raises:
        SourceError: the source cannot be read.

    """
    try:
        with _weights.open(target) as weights:
            manifest = weights.manifest
            if manifest.encoder != ENCODER_VERSION or manifest.options != options.to_table():
                return False
            verify(weights)
    except (FormatError, PackedFileError):
        return False
    return manifest.source_sha256 == digest(source)
