"""Read the members of an artifact: a wheel or an sdist."""

from __future__ import annotations

import tarfile
import zipfile
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an artifact.

    Attributes:
        name: the path in the wheel, or in the sdist below its top folder.
        size: uncompressed size in bytes.
        read: function that returns the content; valid only while the artifact is iterated.

    """

    name: str
    size: int
    read: Callable[[], bytes]


def iter_members(path: Path) -> Iterator[Member]:
    """Yield the files of a wheel or of a .tar.gz sdist."""
    return _iter_wheel(path) if path.suffix == ".whl" else _iter_sdist(path)


def _iter_wheel(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            yield Member(info.filename, info.file_size, lambda info=info: archive.read(info))  # type: ignore[misc]


def _iter_sdist(path: Path) -> Iterator[Member]:
    with tarfile.open(path) as archive:
        for info in archive:
            file = archive.extractfile(info)
            if file is not None:
                yield Member(info.name.partition("/")[2], info.size, file.read)
