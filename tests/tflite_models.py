"""Small TFLite models, written byte by byte, so that tests know and can break each offset.

https://github.com/google-ai-edge/LiteRT/blob/main/tflite/converter/schema/schema.fbs
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TYPES = {
    "<f4": 0, "<f2": 1, "<i4": 2, "|u1": 3, "<i8": 4, "|b1": 6, "<i2": 7, "<c8": 8, "|i1": 9,
    "<f8": 10, "<c16": 11, "<u8": 12, "<u4": 15, "<u2": 16,
}  # fmt: skip
BUILTINS = {"DEQUANTIZE": 6, "FULLY_CONNECTED": 9}
FULLY_CONNECTED_OPTIONS = 8


@dataclass
class Table:
    """A table: numbers with their layouts in `struct`, or other nodes, by the field's number."""

    fields: dict[int, Any]


@dataclass
class Vector:
    """A vector of numbers of a layout, or of nodes if the layout is empty."""

    layout: str
    items: Sequence[Any]


@dataclass
class Data:
    """A vector of bytes; the first of them is aligned."""

    content: bytes
    alignment: int = 16


@dataclass
class Writer:
    """Writes nodes one after the other: what an offset leads to always follows."""

    data: bytearray = field(default_factory=lambda: bytearray(4) + b"TFL3")

    def write_root(self, node: Table) -> bytes:
        self._point(0, node)
        return bytes(self.data)

    def _point(self, position: int, node: Any) -> None:
        """Write a node, and the offset that leads to it."""
        start = self._write(node)
        self.data[position : position + 4] = struct.pack("<I", start - position)

    def _align(self, alignment: int, ahead: int = 0) -> None:
        self.data += bytes(-(len(self.data) + ahead) % alignment)

    def _write(self, node: Any) -> int:
        if isinstance(node, Table):
            return self._write_table(node)
        if isinstance(node, Data):
            return self._write_bytes(node)
        self._align(8, 4)
        start = len(self.data)
        self.data += struct.pack("<I", len(node.items))
        if node.layout:
            self.data += struct.pack(f"<{len(node.items)}{node.layout}", *node.items)
            return start
        self.data += bytes(4 * len(node.items))
        for index, item in enumerate(node.items):
            self._point(start + 4 + 4 * index, item)
        return start

    def _write_bytes(self, node: Data) -> int:
        self._align(node.alignment, 4)
        start = len(self.data)
        self.data += struct.pack("<I", len(node.content)) + node.content + b"\0"
        return start

    def _write_table(self, node: Table) -> int:
        places, size = {}, 4
        for number, value in node.fields.items():
            width = struct.calcsize(value[0]) if isinstance(value, tuple) else 4
            size += -size % width
            places[number] = size
            size += width
        count = max(places, default=-1) + 1
        self._align(8, 4 + 2 * count)
        vtable = len(self.data)
        listed = [places.get(number, 0) for number in range(count)]
        self.data += struct.pack(f"<HH{count}H", 4 + 2 * count, size, *listed)
        start = len(self.data)
        self.data += struct.pack("<i", start - vtable) + bytes(size - 4)
        for number, value in node.fields.items():
            position = start + places[number]
            if isinstance(value, tuple):
                struct.pack_into(f"<{value[0]}", self.data, position, value[1])
            else:
                self._point(position, value)
        return start


@dataclass
class Model:
    """The parts of a model; each can be changed before `build`.

    Attributes:
        buffers: the buffers; the first one is that of tensors without values.
        tensors: the tensors of the graph.
        operators: the operators of the graph, with the builtins that they use.
        metadata: tables of metadata.
        inputs: the numbers of the tensors that are inputs.
        outputs: the numbers of the tensors that are outputs.
        graphs: how many graphs have these tensors and operators.

    """

    buffers: list[Table] = field(default_factory=lambda: [Table({})])
    tensors: list[Table] = field(default_factory=list)
    operators: list[tuple[str, Table]] = field(default_factory=list)
    metadata: list[Table] = field(default_factory=list)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    graphs: int = 1

    def add_buffer(self, content: bytes) -> int:
        """Return the number of a new buffer."""
        self.buffers.append(Table({0: Data(content)}))
        return len(self.buffers) - 1

    def add_tensor(
        self,
        name: str | None,
        shape: Sequence[int],
        type_number: int = 0,
        buffer: int = 0,
        **fields: Any,
    ) -> int:
        """Return the number of a new tensor; more fields are named f4, f6 and so on."""
        table = {0: Vector("i", shape), 1: ("b", type_number), 2: ("I", buffer)}
        if name is not None:
            table[3] = Data(name.encode("utf-8", "surrogateescape"), 4)
        more = {int(key[1:]): value for key, value in fields.items()}
        self.tensors.append(Table(table | more))
        return len(self.tensors) - 1

    def add_constant(self, name: str | None, array: NDArray[Any], **fields: Any) -> int:
        """Return the number of a new tensor with a buffer of its own."""
        buffer = self.add_buffer(array.tobytes())
        return self.add_tensor(name, array.shape, TYPES[array.dtype.str], buffer, **fields)

    def add_operator(self, builtin: str, inputs: Sequence[int], outputs: Sequence[int]) -> None:
        operator: dict[int, Any] = {
            0: ("I", list(BUILTINS).index(builtin)),
            1: Vector("i", inputs),
            2: Vector("i", outputs),
        }
        if builtin == "FULLY_CONNECTED":
            operator |= {3: ("B", FULLY_CONNECTED_OPTIONS), 4: Table({})}
        self.operators.append((builtin, Table(operator)))

    def build(self) -> bytes:
        codes = [
            Table({0: ("b", number), 2: ("i", 1), 3: ("i", number)}) for number in BUILTINS.values()
        ]
        graph = Table(
            {
                0: Vector("", self.tensors),
                1: Vector("i", self.inputs),
                2: Vector("i", self.outputs),
                3: Vector("", [table for _, table in self.operators]),
                4: Data(b"main", 4),
            }
        )
        model: dict[int, Any] = {
            0: ("I", 3),
            1: Vector("", codes),
            2: Vector("", [graph] * self.graphs),
            3: Data(b"a test", 4),
            4: Vector("", self.buffers),
        }
        if self.metadata:
            model[6] = Vector("", self.metadata)
        return Writer().write_root(Table(model))


def network(seed: int = 0, width: int = 48) -> Model:
    """Return three layers, with weights in float32, in float16, and in 8-bit integers."""
    rng = np.random.default_rng(seed)
    model = Model()
    size = (width, width)
    weights: dict[str, NDArray[Any]] = {
        "first/kernel": rng.standard_normal(size).astype(np.float32) / 7,
        "second/kernel": (rng.standard_normal(size) / 7).astype(np.float16),
        "third/kernel": rng.integers(-127, 128, size).astype(np.int8),
    }
    bias = model.add_constant("bias", rng.standard_normal(width).astype(np.float32))
    scale = Table({2: Vector("f", [0.002]), 3: Vector("q", [0])})
    scales: dict[str, dict[str, Any]] = {"third/kernel": {"f4": scale}}
    current = model.add_tensor("input", [1, width])
    model.inputs = [current]
    for name, array in weights.items():
        kernel = model.add_constant(name, array, **scales.get(name, {}))
        if array.dtype == np.float16:
            wide = model.add_tensor(f"{name}/wide", size)
            model.add_operator("DEQUANTIZE", [kernel], [wide])
            kernel = wide
        output = model.add_tensor(f"{name}/output", [1, width])
        model.add_operator("FULLY_CONNECTED", [current, kernel, bias], [output])
        current = output
    model.outputs = [current]
    return model
