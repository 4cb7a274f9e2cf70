"""Find out whether a packed file can be reused instead of packing its source again."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .. import _weights
from .._model_info import WHOLE_FOLDER
from ..errors import FormatError, PackedFileError
from .encoder import ENCODER_VERSION
from .sources import hash_source, identify_format, open_source
from .verification import verify

if TYPE_CHECKING:
    from pathlib import Path

    from .._manifest import Manifest
    from .options import Options


def is_current(
    target: Path, source: Path, options: Options, encoder_version: int = ENCODER_VERSION
) -> bool:
    """Whether `target` is valid and was packed from this source with these options.

    Raises:
        SourceError: the source cannot be read.

    """
    try:
        with _weights.open(target) as weights:
            manifest = weights.manifest
            if manifest.encoder != encoder_version or manifest.options != options.to_record():
                return False
            # The digest of a single file does not depend on its name, but the restored file does.
            main = WHOLE_FOLDER if source.is_dir() else source.name
            if manifest.model is not None and manifest.model.main != main:
                return False
            verify(weights)
    except (FormatError, PackedFileError):
        return False
    if manifest.source_sha256 != hash_source(source, options.read):
        return False
    return manifest.model is not None or _has_same_names(manifest, source, options)


def _has_same_names(manifest: Manifest, source: Path, options: Options) -> bool:
    """Return whether the tensors have the same names, although the file may be renamed."""
    if not identify_format(source, options.read).uses_file_name:
        return True
    with open_source(source, options.read) as opened:
        names = {tensor.name for tensor in opened.tensors}
    return names == {tensor.name for tensor in manifest.tensors}
