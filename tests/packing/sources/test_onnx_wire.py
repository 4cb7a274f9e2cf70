"""ONNX files that no exporter writes: damaged, hostile, or valid in an unusual way.

The onnx library and protobuf are the oracle for what is valid, and for the values.
"""

from __future__ import annotations

import random
import struct
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from onnx import numpy_helper

from vggq.errors import SourceError
from vggq.packing.sources import ReadOptions, open_source
from vggq.packing.sources.onnx import _graph, _numbers, _outline, _tensor, _values

from .protobuf import FIXED32, FIXED64, VARINT, field, group, integer, key, varint

if TYPE_CHECKING:
    from pathlib import Path

    from vggq.packing.sources import SourceTensor

FLOATS = np.arange(6, dtype="<f4")
RAW = FLOATS.tobytes()
OPSET = field(8, integer(2, 21))
HEAD = integer(1, 10)


def model(*graph: bytes, tail: bytes = OPSET) -> bytes:
    """Return a model whose graph is of these parts."""
    return HEAD + field(7, *graph) + tail


def initializer(*parts: bytes, data_type: int = 1, dims: tuple[int, ...] = (2, 3)) -> bytes:
    """Return the initializer "w", with these fields for its values."""
    return field(5, integer(1, *dims), integer(2, data_type), field(8, b"w"), *parts)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def oracle(content: bytes) -> Any:
    """Return the values of the first initializer, as onnx reads them."""
    return numpy_helper.to_array(onnx.ModelProto.FromString(content).graph.initializer[0])


def check_value(path: Path, content: bytes, *, has_place: bool) -> SourceTensor:
    """Compare the first tensor with what onnx reads, and with the bytes at its place."""
    write(path, content)
    with open_source(path, ReadOptions(restore="tensors")) as source:
        found = source.tensors[0]
        values = found.read()
        assert (values.shape, values.tobytes()) == (
            (expected := oracle(content)).shape,
            expected.tobytes(),
        )
        assert (found.place is not None) == has_place
        if found.place:
            stop = found.place.start + found.place.size
            assert content[found.place.start : stop] == expected.tobytes()
        return found


def error_of(path: Path, content: bytes) -> str:
    """Return the reason why a model is refused; it is found within a second."""
    write(path, content)
    begin = time.perf_counter()
    with pytest.raises(SourceError) as caught, open_source(path):
        pass
    assert time.perf_counter() - begin < 1
    assert caught.value.path == path
    return caught.value.reason.removeprefix("cannot be read as ONNX: ")


def test_numbers_of_fields_are_those_of_onnx() -> None:
    def number(message: Any, name: str) -> int:
        found: int = message.DESCRIPTOR.fields_by_name[name].number
        return found

    def names(message: Any, keys: Any) -> set[str]:
        return {message.DESCRIPTOR.fields_by_number[item >> 3].name for item in keys}

    assert names(onnx.ModelProto, _outline._MODEL) == {
        "graph", "opset_import", "metadata_props", "training_info", "functions",
    }  # fmt: skip
    assert names(onnx.NodeProto, _graph._NODE) == {"output", "name", "op_type", "attribute"}
    # All fields of an attribute that may have tensors, now and in later versions of onnx.
    fields = onnx.AttributeProto.DESCRIPTOR.fields
    nested = {
        f.number
        for f in fields
        if f.message_type
        and f.message_type.name in {"TensorProto", "GraphProto", "SparseTensorProto"}
    }
    assert nested <= {item >> 3 for item in _graph._ATTRIBUTE}
    assert names(onnx.SparseTensorProto, _graph._SPARSE_PARTS) == {"values", "indices"}
    assert names(onnx.TrainingInfoProto, _outline._TRAINING_GRAPHS) == {
        "initialization", "algorithm",
    }  # fmt: skip
    for name in ("float_data", "int32_data", "int64_data", "double_data", "uint64_data"):
        assert getattr(_tensor, name.upper()) == number(onnx.TensorProto, name)
    types = onnx.TensorProto.DataType.items()
    known = dict(enumerate(_values._NAMES))
    assert {number: known[number] for _, number in types} == {n: name for name, n in types}


@pytest.mark.parametrize(
    ("parts", "has_place"),
    [
        ([field(9, RAW)], True),
        # The last one counts.
        ([field(9, bytes(24)), field(9, RAW)], True),
        ([field(9, b""), field(9, RAW)], True),
        ([field(4, bytes(24)), field(9, RAW)], True),
        ([field(4, RAW)], True),
        ([field(4, b""), field(4, RAW)], True),
        # Lists are joined.
        ([field(4, RAW[:8]), field(4, RAW[8:])], False),
        ([field(4, RAW[:8]), field(9, RAW), field(4, RAW[8:])], True),
        ([b"".join(key(4, FIXED32) + RAW[n : n + 4] for n in range(0, 24, 4))], False),
        ([b"".join(key(4, FIXED32, 3) + RAW[n : n + 4] for n in range(0, 24, 4))], False),
        ([key(4, FIXED32) + RAW[:4], field(4, RAW[4:20]), key(4, FIXED32) + RAW[20:]], False),
    ],
)
def test_floats_are_read_as_protobuf_does(
    tmp_path: Path, parts: list[bytes], *, has_place: bool
) -> None:
    check_value(tmp_path / "m.onnx", model(initializer(*parts)), has_place=has_place)
    doubles = [struct.pack("<d", value) for value in FLOATS]
    content = initializer(b"".join(key(10, FIXED64) + item for item in doubles), data_type=11)
    check_value(tmp_path / "m.onnx", model(content), has_place=False)
    content = initializer(field(10, *doubles), data_type=11)
    check_value(tmp_path / "m.onnx", model(content), has_place=True)


NUMBERS = (0, 1, 127, 128, 2**31 - 1, -1)


@pytest.mark.parametrize(
    ("number", "data_type"), [(5, 6), (5, 2), (5, 10), (7, 7), (11, 13), (11, 12)]
)
def test_integers_in_lists_have_values_but_no_place(
    tmp_path: Path, number: int, data_type: int
) -> None:
    # Values of float16 are the bits in an integer.
    numbers = [n % 2**16 if data_type == 10 else n for n in NUMBERS]
    packed = b"".join(map(varint, numbers))
    longer = b"".join(key(number, VARINT, 2) + varint(n, 10) for n in numbers)
    for parts in (
        field(number, packed),
        integer(number, *numbers),
        longer,
        integer(number, *numbers[:2]) + field(number, *map(varint, numbers[2:])),
    ):
        content = model(initializer(parts, data_type=data_type))
        with np.errstate(all="ignore"):
            check_value(tmp_path / "m.onnx", content, has_place=False)


@given(st.lists(st.integers(0, 2**64 - 1)), st.integers(1, 10))
def test_both_decoders_of_integers_return_the_numbers(numbers: list[int], size: int) -> None:
    content = b"".join(varint(number, size) for number in numbers)
    assert _numbers.decode_few_varints(content) == numbers
    assert _numbers.decode_varints(content).tolist() == numbers


@pytest.mark.parametrize("content", [b"\x80", b"\x00\x80", b"\x00" + b"\x80" * 10 + b"\x00"])
def test_both_decoders_of_integers_reject_what_is_none(content: bytes) -> None:
    for decode in (_numbers.decode_few_varints, _numbers.decode_varints):
        with pytest.raises(SourceError, match="a number is longer than"):
            decode(content)


@pytest.mark.parametrize(
    "parts",
    [
        # Sizes in one list, separate, in both ways, and the last dtype.
        [field(1, varint(2), varint(3)), integer(2, 1)],
        [integer(1, 2), field(1, varint(3)), integer(2, 7, 1)],
        [key(1, VARINT, 5) + varint(2, 10), integer(1, 3), integer(2, 1)],
        # A dtype is an integer of 32 bits.
        [integer(1, 2, 3), integer(2, 1 + 2**32)],
        # Known fields of another wire type, and unknown ones, are skipped.
        [integer(1, 2, 3), integer(2, 1), integer(9, 5), integer(4, 5), field(2, b"x")],
        [integer(1, 2, 3), integer(2, 1), field(99, b"x"), key(98, FIXED64) + bytes(8)],
        [group(77, group(78, integer(1, 9)) + field(9, b"")), integer(1, 2, 3), integer(2, 1)],
        [group(9, b""), integer(1, 2, 3), integer(2, 1)],
        # An unknown number of an enumeration is skipped too.
        [integer(1, 2, 3), integer(2, 1), integer(14, 7)],
        [integer(1, 2, 3), integer(2, 1), integer(14, 1), integer(14, 0)],
    ],
)
def test_fields_of_a_tensor_are_read_as_protobuf_does(tmp_path: Path, parts: list[bytes]) -> None:
    content = model(field(5, *parts, field(8, b"v"), field(9, RAW), field(8, b"w")))
    assert check_value(tmp_path / "m.onnx", content, has_place=True).name == "w"


@pytest.mark.parametrize("location", [[1], [1, 7], [0, 1]])
def test_the_last_known_location_counts(tmp_path: Path, location: list[int]) -> None:
    (tmp_path / "w.bin").write_bytes(RAW)
    entry = field(13, field(1, b"location"), field(2, b"gone"), field(2, b"w.bin"))
    path = write(tmp_path / "m.onnx", model(initializer(integer(14, *location), entry)))
    with open_source(path) as source:
        (found,) = source.tensors
        assert found.read().tobytes() == RAW
        assert found.place is not None
        assert (found.place.member, found.place.start, found.place.size) == (1, 0, 24)


def test_messages_that_occur_again_are_merged(tmp_path: Path) -> None:
    """A graph and the tensor of an attribute may be in several parts."""
    tensor = [integer(1, 2), integer(1, 3) + field(9, RAW), integer(2, 1)]
    attribute = field(1, b"value") + b"".join(field(5, part) for part in tensor)
    node = field(1, field(2, b"c"), field(4, b"Constant"), field(5, attribute))
    content = HEAD + field(7, initializer(field(9, RAW))) + OPSET + field(7, node)
    path = write(tmp_path / "m.onnx", content)
    (merged,) = onnx.load(path).graph.node
    assert numpy_helper.to_array(merged.attribute[0].t).tobytes() == RAW
    with open_source(path) as source:
        assert [tensor.name for tensor in source.tensors] == ["c", "w"]
        for tensor_ in source.tensors:
            assert tensor_.place is not None
            stop = tensor_.place.start + tensor_.place.size
            assert content[tensor_.place.start : stop] == tensor_.read().tobytes() == RAW


def test_a_tensor_beyond_the_buffer_is_found(tmp_path: Path) -> None:
    """Runs of numbers, and skipped fields, cross the ends of the buffer."""
    ints = integer(8, *range(0, 60000, 3))
    floats = b"".join(key(7, FIXED32) + RAW[:4] for _ in range(20000))
    node = field(1, field(4, b"Any"), field(5, field(1, b"a"), ints, floats))
    parts = [node, initializer(field(9, bytes(24)), field(12, b"x" * 200_000)), node]
    content = model(*parts, initializer(field(9, RAW)), tail=OPSET + integer(5, 1) * 40_000)
    with open_source(write(tmp_path / "m.onnx", content)) as source:
        assert [tensor.name for tensor in source.tensors] == ["w", "w#2"]
        assert source.tensors[1].read().tobytes() == RAW


def nested(levels: int) -> bytes:
    """Return a graph with subgraphs within each other, and an initializer in the innermost."""
    parts = [b"", initializer(field(9, RAW))]
    # Written from the inside: each level is the end of the one before.
    size = len(parts[-1])
    for _ in range(levels):
        for number in (6, 5, 1):
            head = key(number, 2) + varint(size)
            parts.append(head)
            size += len(head)
    return b"".join(reversed(parts))


@pytest.mark.parametrize("levels", [10, 32, 33, 34, 50])
def test_subgraphs_may_be_as_deep_as_protobuf_allows(tmp_path: Path, levels: int) -> None:
    content = model(nested(levels))
    path = write(tmp_path / "m.onnx", content)
    try:
        onnx.ModelProto.FromString(content)
    except DecodeError:
        assert "is nested more than 100 levels deep" in error_of(path, content)
    else:
        with open_source(path) as source:
            (tensor,) = source.tensors
            assert tensor.name.endswith("/w")
            assert tensor.read().tobytes() == RAW


def test_open_rejects_100_000_levels(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    for content in (
        model(nested(100_000)),
        HEAD + OPSET + key(99, 3) * 100_000 + key(99, 4) * 100_000,
        model(field(1, field(5, key(99, 3) * 100_000))),
    ):
        reason = error_of(path, content)
        assert reason.startswith("the message at byte ")
        assert reason.endswith(" is nested more than 100 levels deep")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (
            key(7, 2) + varint(5) + b"1234",
            "the field at byte 6 has 5 bytes, but its message ends at byte 12",
        ),
        (
            field(7, key(5, 2) + varint(2**31) + b"x"),
            "the field at byte 8 has 2147483648 bytes, but its message ends at byte 15",
        ),
        (field(7, key(5, 2) + varint(2**32)), "the field at byte 8 has no valid key or length"),
        (key(7, 2) + varint(0, 6), "the field at byte 6 has no valid key or length"),
        (key(7, 2) + b"\x80", "the field at byte 6 has no valid key or length"),
        (key(7, 2), "the field at byte 6 has no valid key or length"),
        (b"\x80", "the field at byte 6 has no valid key or length"),
        (b"\xff" * 12, "the field at byte 6 has no valid key or length"),
        (key(1, 0) + b"\xff" * 10 + b"\x01", "the field at byte 6 has no valid number"),
        (key(1, 0), "the field at byte 6 has no valid number"),
        (key(50, 1) + bytes(7), "the field at byte 6 has no valid number"),
        (key(50, 5, 3) + bytes(3), "the field at byte 6 has no valid number"),
        (key(50, 6), "the field at byte 6 has the wire type 6"),
        (key(50, 7), "the field at byte 6 has the wire type 7"),
        (key(0, 2) + b"\x00", "the field at byte 6 has the number 0"),
        (key(50, 3), "the group at byte 6 has no end"),
        (key(50, 4), "the group that ends at byte 6 has no begin"),
        (key(50, 3) + key(51, 4), "the group that ends at byte 8 has another begin"),
        (
            field(7, initializer(field(4, b"123"))),
            "the 3 bytes at byte 21 are no list of numbers",
        ),
        (
            field(7, initializer(field(1, b"\x80"))),
            "a number is longer than its field, or than 10 bytes",
        ),
    ],
)
def test_open_rejects_damaged_messages(tmp_path: Path, content: bytes, reason: str) -> None:
    damaged = HEAD + OPSET + content
    assert error_of(tmp_path / "m.onnx", damaged) == reason
    with pytest.raises(DecodeError):
        onnx.ModelProto.FromString(damaged)


def test_open_rejects_models_without_operator_sets(tmp_path: Path) -> None:
    content = model(initializer(field(9, RAW)), tail=b"")
    reason = "truncated: the model names no operator sets"
    assert error_of(tmp_path / "m.onnx", content) == reason


def test_lists_of_integers_that_are_damaged_are_errors_or_stay_in_the_rest(tmp_path: Path) -> None:
    path = write(tmp_path / "m.onnx", model(initializer(field(7, b"\x80" * 11), data_type=7)))
    with open_source(path) as source:
        assert [tensor.name for tensor in source.kept] == ["w"]
    with (
        open_source(path, ReadOptions(restore="tensors")) as source,
        pytest.raises(SourceError, match="a number is longer than its field"),
    ):
        source.tensors[0].read()


@pytest.mark.parametrize(
    "dims", [integer(1, *[1] * 40), field(1, bytes([1]) * 40), field(1, bytes(400))]
)
def test_tensors_of_too_many_dimensions_stay_in_the_rest(tmp_path: Path, dims: bytes) -> None:
    content = model(field(5, dims, integer(2, 1), field(8, b"w"), field(9, RAW)))
    with open_source(write(tmp_path / "m.onnx", content)) as source:
        (kept,) = source.kept
        assert kept.problem == "tensors of more than 32 dimensions are not supported"


def test_damaged_files_are_errors_or_read_as_onnx_reads_them(tmp_path: Path) -> None:
    tensors = [
        initializer(field(9, RAW)),
        initializer(field(4, RAW[:12]), field(4, RAW[12:])),
        initializer(integer(5, *range(6)), data_type=6),
    ]
    node = field(
        1,
        field(2, b"c"),
        field(4, b"Constant"),
        field(5, field(5, integer(2, 10), field(9, b"12"))),
    )
    content = model(*tensors, node, group(60, integer(1, 2)))
    path = tmp_path / "m.onnx"
    rng = random.Random(2)
    compared = 0
    for number in range(2000):
        damaged = bytearray(content)
        for _ in range(1 + number % 2):
            damaged[rng.randrange(2, len(damaged))] = rng.randrange(256)
        write(path, bytes(damaged))
        try:
            with open_source(path, ReadOptions(restore="tensors")) as source:
                found = sorted(tensor.read().tobytes() for tensor in source.tensors)
        except SourceError:
            continue
        # Damage in parts that are not read is kept unchanged.
        try:
            graph = onnx.ModelProto.FromString(bytes(damaged)).graph
            arrays = [numpy_helper.to_array(item) for item in graph.initializer]
            arrays += [
                numpy_helper.to_array(a.t)
                for n in graph.node
                for a in n.attribute
                if a.HasField("t")
            ]
        except (DecodeError, ValueError, TypeError, KeyError):
            continue
        compared += 1
        assert found == sorted(array.tobytes() for array in arrays)
    assert compared > 200
