"""The model in the manifest, and the entries with the rest of its files."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from .._decode import decompress_entry
from .._model_checks import MAX_BLOCK_SIZE
from .._model_info import WHOLE_FOLDER, Member, Model, Piece, RestBlock
from .._tensor_bytes import tensor_bytes
from .compression import compress
from .restored_file import RestoredFile

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .._buffers import Buffer
    from .._manifest import TensorInfo
    from .frame_spool import FrameSpool
    from .model_layout import MemberLayout
    from .sources import Source


def assemble_model(
    source: Source,
    layouts: Sequence[MemberLayout],
    infos: Sequence[TensorInfo],
    frames: FrameSpool,
) -> Model:
    """Restore all files of a model as a stream, and store their rest.

    Args:
        source: the source.
        layouts: its files; the main file first, if there is one.
        infos: the description of each tensor, whose frame is stored.
        frames: the frames of the tensors, to which those of the rest are added.

    Raises:
        SourceError: a file cannot be read.
        MissingDependencyError: zstandard is not installed.

    """
    rest = _Rest(frames)
    restore = partial(_restore_tensor, infos, frames)
    members = [_add_member(RestoredFile(layout, restore), rest) for layout in layouts]
    rest.flush()
    main = layouts[0].path if source.root is None else WHOLE_FOLDER
    return Model(main, tuple(members), tuple(rest.blocks), source.folders)


def _restore_tensor(infos: Sequence[TensorInfo], frames: FrameSpool, index: int) -> Buffer:
    info = infos[index]
    return tensor_bytes(decompress_entry(frames.read(info.entry), info), info)


def _add_member(file: RestoredFile, rest: _Rest) -> Member:
    sha256 = hashlib.sha256()
    pieces: list[Piece] = []
    for gap, content in file.with_checksums().chunks():
        sha256.update(content)
        if gap is not None:
            pieces.append(Piece(gap.size, gap.tensor))
            continue
        rest.add(content)
        if pieces and pieces[-1].tensor is None:
            pieces[-1] = Piece(pieces[-1].size + len(content))
        else:
            pieces.append(Piece(len(content)))
    layout = file.layout
    return Member(layout.path, layout.size, sha256.hexdigest(), tuple(pieces))


@dataclass(slots=True)
class _Rest:
    """The bytes of all files outside their gaps, in blocks.

    Attributes:
        frames: the storage for the blocks.
        blocks: those that are stored.

    """

    frames: FrameSpool
    blocks: list[RestBlock] = field(default_factory=list)
    _pending: bytearray = field(default_factory=bytearray)

    def add(self, content: Buffer) -> None:
        """Add bytes, and store the blocks that are complete."""
        self._pending += content
        while len(self._pending) >= MAX_BLOCK_SIZE:
            self._store(bytes(self._pending[:MAX_BLOCK_SIZE]))
            del self._pending[:MAX_BLOCK_SIZE]

    def flush(self) -> None:
        """Store the last bytes."""
        if self._pending:
            self._store(bytes(self._pending))
            self._pending.clear()

    def _store(self, block: bytes) -> None:
        # A block shares its entry with nothing, not even with an equal block.
        entry = self.frames.add(compress(block), ("rest", len(self.blocks)))
        self.blocks.append(RestBlock(entry, len(block)))
