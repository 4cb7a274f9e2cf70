"""Read the members of an artifact: a wheel or an sdist."""

from __future__ import annotations

import hashlib
import posixpath
import tarfile
import zipfile
import zlib
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import IO, TYPE_CHECKING, Final

from .messages import BuildError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_CHUNK: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Member:
    """A file in an artifact.

    Attributes:
        name: the path in the wheel, or in the sdist below its top folder.
        size: uncompressed size in bytes.
        sha256: the SHA-256 of the content; empty if it was not requested.
        link: where a link leads, if the artifact does not contain that file; empty otherwise.

    """

    name: str
    size: int
    sha256: str = ""
    link: str = ""


def read_members(path: Path, sizes: Collection[int] = ()) -> list[Member]:
    """Return the files of a wheel or of a .tar.gz sdist.

    A link in an sdist has the content of the file that it leads to, if the sdist contains it.
    Folders, named pipes and devices are left out.

    Args:
        path: the artifact.
        sizes: compute the SHA-256 of the members that have one of these sizes.

    Raises:
        BuildError: the artifact cannot be read.

    """
    with _errors_reported(path):
        return list(_read_wheel(path, sizes) if path.suffix == ".whl" else _read_sdist(path, sizes))


@contextmanager
def _errors_reported(path: Path) -> Iterator[None]:
    """Raise a BuildError for each of the errors that a damaged archive can cause."""
    try:
        yield
    except FileNotFoundError as error:
        message = f"{path.name}: no such file; another build hook has moved or removed it"
        raise BuildError([message]) from error
    except OSError as error:
        raise BuildError([f"{path.name}: cannot be read: {error.strerror or error}"]) from error
    except (
        EOFError,
        NotImplementedError,
        RuntimeError,
        ValueError,
        tarfile.TarError,
        zipfile.BadZipFile,
        zlib.error,
    ) as error:
        # tarfile adds a line for each kind of compression that it has tried.
        reason = str(error).partition("\n")[0].rstrip(":")
        raise BuildError([f"{path.name}: damaged archive: {reason}"]) from error


def _read_wheel(path: Path, sizes: Collection[int]) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.filename.endswith("/"):
                continue
            if info.file_size in sizes:
                with archive.open(info) as file:
                    yield Member(info.filename, info.file_size, _hash(file))
            else:
                yield Member(info.filename, info.file_size)


def _read_sdist(path: Path, sizes: Collection[int]) -> Iterator[Member]:
    with tarfile.open(path) as archive:
        links = _Links(archive)
        for info in archive:
            name = info.name.partition("/")[2]
            file = links.follow(info)
            if file is None:
                yield Member(name, 0, link=info.linkname)
            elif file.isreg() or file.type not in tarfile.SUPPORTED_TYPES:
                content = archive.extractfile(file) if file.size in sizes else None
                yield Member(name, file.size, _hash(content) if content else "")
        _read_to_end(archive)


def _read_to_end(archive: tarfile.TarFile) -> None:
    """Read what follows the last member, so that the checksum of the whole file is checked."""
    while archive.fileobj.read(_CHUNK):
        pass


def _hash(file: IO[bytes]) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


class _Links:
    """The links in an sdist."""

    def __init__(self, archive: tarfile.TarFile) -> None:
        self._archive = archive

    def follow(self, info: tarfile.TarInfo) -> tarfile.TarInfo | None:
        """Return the member that a link leads to, or None if the sdist has no such member.

        Any other member is returned unchanged.
        """
        seen: set[str] = set()
        member: tarfile.TarInfo | None = info
        while member is not None and (member.issym() or member.islnk()):
            if member.name in seen:
                return None
            seen.add(member.name)
            # A symbolic link is relative to its folder, a hard link to the top of the archive.
            folder = posixpath.dirname(member.name) if member.issym() else ""
            path = posixpath.normpath(posixpath.join(folder, member.linkname))
            member = self._members.get(path)
        return member

    @cached_property
    def _members(self) -> dict[str, tarfile.TarInfo]:
        return {posixpath.normpath(member.name): member for member in self._archive.getmembers()}
