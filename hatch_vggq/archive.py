"""What an archive holds: a wheel or an sdist, read member by member."""

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
    """A file in an archive.

    Attributes:
        name: its path in the wheel, or in the sdist below its one folder.
        size: in bytes, uncompressed.
        read: gives its bytes; only while the archive's members are iterated.

    """

    name: str
    size: int
    read: Callable[[], bytes]


def members(path: Path) -> Iterator[Member]:
    """The files of a wheel or of a .tar.gz sdist."""
    return _of_wheel(path) if path.suffix == ".whl" else _of_sdist(path)


def _of_wheel(path: Path) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            yield Member(info.filename, info.file_size, lambda info=info: archive.read(info))  # type: ignore[misc]


def _of_sdist(path: Path) -> Iterator[Member]:
    with tarfile.open(path) as archive:
        for info in archive:
            file = archive.extractfile(info)
            if file is not None:
                yield Member(info.name.partition("/")[2], info.size, file.read)
