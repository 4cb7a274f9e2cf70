"""Restore the files of a model: to memory, to a folder, or piece by piece in order."""

from __future__ import annotations

import io
from itertools import groupby
from typing import TYPE_CHECKING, Final

from . import _threads, _zstd
from ._buffers import Target
from ._huge_pages import advise_huge_pages
from ._memory_gate import MemoryGate
from ._pieces import Rest, TensorTask, plan_tasks
from ._tensor_bytes import tensor_bytes, unrounded_size, write_tensor
from .errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from ._buffers import Buffer, Buffers, Memory
    from ._manifest import TensorInfo
    from ._model_info import Member, Model, RestBlock
    from ._packed_file import PackedFile
    from ._pieces import BlockTask

# Each thread keeps memory of up to this size for the next tensor. More is given back.
_MAX_KEPT: Final = 1 << 22
# Memory that all threads together may take beyond what they keep; a tensor that needs more is
# restored alone.
_MAX_TAKEN: Final = 1 << 25
# Less content is decompressed faster into memory of its own, and copied.
_MIN_DIRECT: Final = 1 << 16
# A weight in memory usually takes four bytes: threads get blocks as if these were weights.
_WEIGHT_SIZE: Final = 4


def restore_to_memory(
    packed: PackedFile, model: Model, member: Member, threads: int | None
) -> bytes:
    """Return the bytes of a member.

    Raises:
        DataError: the packed file is damaged.

    """
    # The memory becomes the result without a copy: nothing else refers to it.
    buffer = io.BytesIO(bytes(member.size))
    restorer = _Restorer(packed)
    with buffer.getbuffer() as out:
        advise_huge_pages(out)
        tasks = plan_tasks(model, packed.manifest.tensors, [member])
        _run(lambda task: restorer.to_memory(task, out), tasks, threads)
    return buffer.getvalue()


def restore_to_folder(packed: PackedFile, model: Model, folder: Path, threads: int | None) -> None:
    """Write all members to an empty folder, and create the empty folders of the model.

    Raises:
        DataError: the packed file is damaged.
        OSError: a file cannot be written.

    """
    for member in model.members:
        path = folder / member.path
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("xb").close()
    create_folders(model, folder)
    restorer = _Restorer(packed)
    tasks = plan_tasks(model, packed.manifest.tensors, model.members)
    _run(lambda task: restorer.to_folder(task, folder), tasks, threads)


def create_folders(model: Model, folder: Path) -> None:
    """Create the empty folders of a model.

    Raises:
        OSError: a folder cannot be created.

    """
    for path in model.folders:
        (folder / path).mkdir(parents=True, exist_ok=True)


def _run(
    function: Callable[[TensorTask | BlockTask], None],
    tasks: Sequence[TensorTask | BlockTask],
    threads: int | None,
) -> None:
    counts = [
        task.tensor.count if isinstance(task, TensorTask) else task.block.size // _WEIGHT_SIZE
        for task in tasks
    ]
    threads = _threads.default_for_loading(threads)
    for _ in _threads.map_threaded(function, tasks, counts, threads, caller_works=True):
        pass


class _Restorer:
    """Restores tensors and blocks of a model, in any thread.

    Args:
        packed: the packed file.

    """

    def __init__(self, packed: PackedFile) -> None:
        self._packed = packed
        self._buffers = packed.buffers()
        self._gate = MemoryGate(_MAX_TAKEN)

    def to_memory(self, task: TensorTask | BlockTask, out: memoryview) -> None:
        """Restore the bytes of a task into the memory of its member."""
        if isinstance(task, TensorTask):
            self._tensor_to_memory(task.tensor, out[task.start :][: task.tensor.source_size])
        elif task.parts[0].size == task.block.size:
            place = out[task.parts[0].start :][: task.block.size]
            _decompress_to(place, lambda memory: self._block(task.block, memory))
        else:
            content = memoryview(self._block(task.block, self._buffers))
            for part in task.parts:
                out[part.start :][: part.size] = content[part.begin :][: part.size]

    def _tensor_to_memory(self, tensor: TensorInfo, out: memoryview) -> None:
        if not tensor.quantized:
            _decompress_to(out, lambda memory: self._content(tensor, memory))
            return
        with self._gate.reserve(tensor.content_size + unrounded_size(tensor)):
            write_tensor(self._content(tensor, self._kept(tensor.content_size)), tensor, out)

    def to_folder(self, task: TensorTask | BlockTask, folder: Path) -> None:
        """Restore the bytes of a task into files of a folder, which exist."""
        if isinstance(task, TensorTask):
            self._tensor_to_file(task.tensor, folder / task.member.path, task.start)
            return
        content = memoryview(self._block(task.block, self._buffers))
        for path, parts in groupby(task.parts, lambda part: part.member.path):
            with (folder / path).open("r+b") as file:
                for part in parts:
                    file.seek(part.start)
                    file.write(content[part.begin :][: part.size])

    def _tensor_to_file(self, tensor: TensorInfo, path: Path, start: int) -> None:
        size = max(tensor.source_size, unrounded_size(tensor))
        with self._gate.reserve(size + (tensor.content_size if tensor.quantized else 0)):
            content = self._content(tensor, self._kept(tensor.content_size))
            with path.open("r+b") as file:
                file.seek(start)
                file.write(tensor_bytes(content, tensor))

    def _kept(self, size: int) -> Buffers | None:
        return self._buffers if size <= _MAX_KEPT else None

    def _content(self, tensor: TensorInfo, memory: Memory | None) -> Buffer:
        # A large frame is given back before the content is decoded.
        frame_size = self._packed.entry_size(tensor.entry)
        frame = self._packed.frame(tensor.entry, self._kept(frame_size))
        return self._packed.decompress(frame, tensor, memory)

    def _block(self, block: RestBlock, memory: Memory | None) -> Buffer:
        return decompress_block(self._packed, block, self._buffers, memory)


def _decompress_to(out: memoryview, decompress: Callable[[Memory | None], Buffer]) -> None:
    """Fill memory with decompressed content, directly if there is much of it."""
    memory = None if len(out) < _MIN_DIRECT else Target(out)
    content = decompress(memory)
    # Bytes of their own: there was no memory, or the library cannot decompress into it.
    if memory is None or not isinstance(content, memoryview):
        out[:] = content


def decompress_block(
    packed: PackedFile,
    block: RestBlock,
    buffers: Buffers | None = None,
    memory: Memory | None = None,
) -> Buffer:
    """Read and decompress a block of the rest.

    Args:
        packed: the packed file.
        block: the block.
        buffers: memory to read into.
        memory: memory to decompress into.

    Raises:
        DataError: the bytes of the block are damaged.

    """
    try:
        return _zstd.decompress(packed.frame(block.entry, buffers), block.size, memory)
    except ValueError as error:
        reason = f"entry {block.entry}, a block of the rest: {error}"
        raise DataError(reason, path=packed.path) from error


class ModelReader:
    """Reads the files of a model from their beginnings to their ends, with little memory.

    Args:
        packed: the packed file.
        model: its model.

    """

    def __init__(self, packed: PackedFile, model: Model) -> None:
        self._packed = packed
        self._rest = Rest(model)
        self._block_index = -1
        self._block: Buffer = b""

    def pieces(self, member: Member) -> Iterator[Buffer]:
        """Yield the bytes of a member in order.

        Raises:
            DataError: the packed file is damaged.

        """
        tensors = self._packed.manifest.tensors
        position = self._rest.start_of(member)
        for piece in member.pieces:
            if piece.tensor is not None:
                tensor = tensors[piece.tensor]
                yield tensor_bytes(self._packed.content(tensor.name), tensor)
                continue
            for index, begin, size in self._rest.split(position, piece.size):
                yield memoryview(self._read_block(index))[begin : begin + size]
            position += piece.size

    def _read_block(self, index: int) -> Buffer:
        # Neighbouring pieces are in the same block, also those of two members.
        if index != self._block_index:
            self._block = decompress_block(self._packed, self._rest.blocks[index])
            self._block_index = index
        return self._block
