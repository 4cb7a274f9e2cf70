"""Whether a packed file is what packing would write again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _weights
from ..errors import VggqError
from ..sources import digest
from .pack import ENCODER_VERSION

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
    except VggqError:
        return False
    return (
        manifest.encoder == ENCODER_VERSION
        and manifest.options == options.to_table()
        and manifest.source_sha256 == digest(source)
    )
