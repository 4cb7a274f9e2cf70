"""The manifest's description of a model: the files that a packed file restores to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

WHOLE_FOLDER: Final = "."
"""The path of the main member of a model that is a folder: the folder of all members."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A range of a member's bytes.

    Attributes:
        size: bytes of the range, at least 1.
        tensor: the index in the manifest of the tensor whose bytes are in the range, in its source
            dtype; None for the next bytes of the rest.

    """

    size: int
    tensor: int | None = None


@dataclass(frozen=True, slots=True)
class Member:
    """A file of a model.

    Attributes:
        path: the relative path, with slashes.
        size: bytes of the restored file.
        sha256: the SHA-256 of the restored file, as 64 hexadecimal digits.
        pieces: the ranges of the file, in order and without gaps.

    """

    path: str
    size: int
    sha256: str
    pieces: tuple[Piece, ...]

    @property
    def rest_size(self) -> int:
        """Bytes of the file that are not those of a tensor in the manifest."""
        return sum(piece.size for piece in self.pieces if piece.tensor is None)


@dataclass(frozen=True, slots=True)
class RestBlock:
    """A part of the rest: the bytes of all members outside their tensors, in order.

    Attributes:
        entry: the index of the entry that holds the part.
        size: bytes of the part.

    """

    entry: int
    size: int


@dataclass(frozen=True, slots=True)
class Model:
    """A model: one or more files.

    Attributes:
        main: the path of the main member; `WHOLE_FOLDER` for the folder of all members.
        members: the files, in the order in which they take bytes from the rest.
        rest: the parts of the rest, in order.
        folders: the relative paths of empty folders beside the files, with slashes.

    """

    main: str
    members: tuple[Member, ...]
    rest: tuple[RestBlock, ...]
    folders: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all restored files."""
        return sum(member.size for member in self.members)

    @property
    def rest_size(self) -> int:
        """Bytes of all restored files outside their tensors."""
        return sum(member.rest_size for member in self.members)
