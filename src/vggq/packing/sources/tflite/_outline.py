"""The contents of a TFLite model: the tensors with values, and the names of what else it has.

https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from ...._json import MAX_DIMENSIONS
from .._unique_names import make_unique
from ._flatbuffer import Span, count_items, damaged

if TYPE_CHECKING:
    from ._flatbuffer import FlatFile, Table

# The numbers of the fields in the schema.
_SUBGRAPHS, _BUFFERS, _METADATA = 2, 4, 6
_TENSORS, _OPERATORS = 0, 3
_SHAPE, _TYPE, _BUFFER, _NAME, _SPARSITY, _EXTERNAL_BUFFER = 0, 1, 2, 3, 6, 10
_DATA, _DATA_OFFSET, _DATA_SIZE = 0, 1, 2
_METADATA_NAME, _METADATA_BUFFER = 0, 1

_MAX_TABLES: Final = 50_000
_MAX_NAME_SIZE: Final = 1024
UNNAMED: Final = "unnamed"


@dataclass(frozen=True, slots=True)
class Constant:
    """A tensor with values.

    Attributes:
        type_number: the number of its type.
        shape: its shape, which may be invalid. Beyond `MAX_DIMENSIONS` sizes there may be more.
        values: the span of its values; None if they are in another file.
        is_sparse: whether not all values are stored.

    """

    type_number: int
    shape: tuple[int, ...]
    values: Span | None
    is_sparse: bool = False


@dataclass(frozen=True, slots=True)
class Outline:
    """The contents of a model.

    Attributes:
        buffers: the tensors of each buffer that has values, by the name of the first of them.
        operator_count: the number of operators in all graphs.
        metadata: the names of the metadata.
        fixed: the spans that are used for something else than values of tensors.

    """

    buffers: dict[str, list[Constant]]
    operator_count: int
    metadata: list[str]
    fixed: set[Span]


def read_outline(file: FlatFile) -> Outline:
    """Return the contents of a model.

    Raises:
        SourceError: the file is damaged.

    """
    walk = _Walk(file)
    subgraphs = walk.root.tables(_SUBGRAPHS)
    walk.count(subgraphs)
    for subgraph in file.tables(subgraphs):
        walk.visit_subgraph(subgraph)
    metadata = walk.read_metadata()
    names = make_unique([name for name, _ in walk.found.values()])
    tensors = [constants for _, constants in walk.found.values()]
    return Outline(dict(zip(names, tensors, strict=True)), walk.operator_count, metadata, file.used)


class _Walk:
    """The search for the tensors of a model.

    Args:
        file: the model.

    Attributes:
        root: the main table.
        operator_count: the number of operators found.
        found: the name of the first tensor of a buffer and all its tensors, by the number of the
            buffer. A tensor whose values are in another file has a negative number of its own.

    """

    def __init__(self, file: FlatFile) -> None:
        self._file = file
        self.root = file.root()
        self._buffers = self.root.tables(_BUFFERS)
        self._tables = 0
        self._values: dict[int, Span] = {}
        self.operator_count = 0
        self.found: dict[int, tuple[str, list[Constant]]] = {}

    def count(self, vector: Span) -> None:
        """Reject a model with more tables than any real one, which would take too long to read."""
        self._tables += count_items(vector)
        if self._tables > _MAX_TABLES:
            raise damaged(f"more than {_MAX_TABLES} tensors, graphs and metadata")

    def visit_subgraph(self, subgraph: Table) -> None:
        """Collect the tensors of a graph."""
        tensors = subgraph.tables(_TENSORS)
        self.count(tensors)
        self.operator_count += count_items(subgraph.tables(_OPERATORS))
        for tensor in self._file.tables(tensors):
            self._visit_tensor(tensor)

    def _visit_tensor(self, tensor: Table) -> None:
        buffer, values = tensor.number(_BUFFER, "I"), None
        if tensor.number(_EXTERNAL_BUFFER, "I"):
            buffer = -1 - len(self.found)
        else:
            values = self._find_values(buffer)
            if values[0] == values[1]:
                # It is computed, or a scalar of no bytes.
                return
        constant = Constant(
            tensor.number(_TYPE, "b"),
            self._read_shape(tensor),
            values,
            tensor.target(_SPARSITY) is not None,
        )
        if buffer in self.found:
            self.found[buffer][1].append(constant)
        else:
            self.found[buffer] = self._read_text(tensor, _NAME) or UNNAMED, [constant]

    def _find_values(self, number: int) -> Span:
        """Return the span of a buffer's values, which is empty if it has none."""
        if number not in self._values:
            self._values[number] = self._read_buffer(number)
        return self._values[number]

    def _read_buffer(self, number: int) -> Span:
        # Buffer 0 is the one of tensors without values.
        if number == 0 and not count_items(self._buffers):
            return 0, 0
        buffer = self._file.item(self._buffers, number)
        start, size = buffer.number(_DATA_OFFSET, "Q"), buffer.number(_DATA_SIZE, "Q")
        if start > 1:
            # In models of more than 2 GB, values follow the flatbuffer.
            self._file.check_span(start, size)
            return start, start + size
        return buffer.vector(_DATA, 1)

    def _read_shape(self, tensor: Table) -> tuple[int, ...]:
        span = tensor.vector(_SHAPE, 4)
        self._file.mark(span)
        count = min((span[1] - span[0]) // 4, MAX_DIMENSIONS + 1)
        return struct.unpack(f"<{count}i", self._file.peek(span[0], 4 * count))

    def _read_text(self, table: Table, field: int) -> str:
        start, stop = table.vector(field, 1)
        self._file.mark((start, stop))
        content = self._file.peek(start, min(stop - start, _MAX_NAME_SIZE))
        return content.decode("utf-8", "backslashreplace")

    def read_metadata(self) -> list[str]:
        """Return the names of the metadata, and record that their buffers are used."""
        vector = self.root.tables(_METADATA)
        self.count(vector)
        names = []
        for entry in self._file.tables(vector):
            names.append(self._read_text(entry, _METADATA_NAME))
            self._file.mark(self._find_values(entry.number(_METADATA_BUFFER, "I")))
        return names
