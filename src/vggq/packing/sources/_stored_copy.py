"""A copy of a zip archive whose records are not compressed, so that tensors in it have places."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

from ...errors import SourceError
from ._zip import ZIP_ERRORS
from ._zip_records import is_encrypted

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import ExitStack

REMARK: Final = (
    "the archive is compressed, so a copy whose records are stored uncompressed is restored: the "
    "content of its records is that of the source, but not the bytes of the file"
)
# A larger archive is kept exactly, because little of it can be weights.
_MAX_EXPANSION: Final = 20
_MIN_LIMIT: Final = 1 << 26
_CHUNK_SIZE: Final = 1 << 20


def needs_copy(archive: zipfile.ZipFile, records: Iterable[zipfile.ZipInfo]) -> bool:
    """Return whether some records are compressed, and an uncompressed copy can be made.

    Args:
        archive: the archive.
        records: those of its records that hold tensors.

    """
    return any(map(_is_compressed, records)) and _can_copy(archive.infolist())


def _is_compressed(info: zipfile.ZipInfo) -> bool:
    return info.compress_type != zipfile.ZIP_STORED


def _can_copy(infos: list[zipfile.ZipInfo]) -> bool:
    names = Counter(info.filename for info in infos)
    size = sum(info.file_size for info in infos)
    limit = max(_MIN_LIMIT, _MAX_EXPANSION * sum(info.compress_size for info in infos))
    return size <= limit and len(names) == len(infos) and not any(map(is_encrypted, infos))


def make_stored_copy(archive: zipfile.ZipFile, stack: ExitStack) -> Path:
    """Return the path of an uncompressed copy, which is removed when the stack is closed.

    Raises:
        SourceError: a record is damaged, or the temporary folder is full.

    """
    try:
        path = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="vggq-")), "copy")
        target = path.open("wb")
    except OSError as error:
        raise SourceError(f"cannot be copied to a temporary folder: {error.strerror}") from error
    try:
        with target, zipfile.ZipFile(target, "w") as copy:
            copy.comment = archive.comment
            for info in archive.infolist():
                _copy_record(archive, info, copy)
    except ZIP_ERRORS as error:
        raise SourceError(f"cannot be copied without compression: {error}") from error
    return path


def _copy_record(archive: zipfile.ZipFile, info: zipfile.ZipInfo, copy: zipfile.ZipFile) -> None:
    stored = zipfile.ZipInfo(info.filename, info.date_time)
    for name in ("comment", "create_system", "external_attr", "internal_attr", "file_size"):
        setattr(stored, name, getattr(info, name))
    with archive.open(info) as record, copy.open(stored, "w") as target:
        shutil.copyfileobj(record, target, _CHUNK_SIZE)
