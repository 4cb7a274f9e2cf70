"""The safetensors header: agreement with the library, and what is refused."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from vggq._container import Entry, read_header, write_header
from vggq.errors import HeaderError

from . import strategies

if TYPE_CHECKING:
    from pathlib import Path

    from vggq._container import Header

U8 = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}


def parse(data: bytes) -> Header:
    return read_header(lambda offset, size: data[offset : offset + size], len(data))


def made(header: object, body: bytes = b"1234") -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def refused(data: bytes) -> str:
    with pytest.raises(HeaderError) as caught:
        parse(data)
    return str(caught.value)


@settings(deadline=None, max_examples=60)
@given(
    st.dictionaries(
        strategies.names.filter(lambda n: n != "__metadata__"), strategies.arrays(), min_size=1
    ),
    st.none() | st.dictionaries(st.text(max_size=3), st.text(max_size=3), max_size=3),
)
def test_agrees_with_the_library(
    tensors: dict[str, np.ndarray[Any, Any]], metadata: dict[str, str] | None
) -> None:
    native = {
        k: np.ascontiguousarray(v, v.dtype.newbyteorder("=")).reshape(v.shape)
        for k, v in tensors.items()
    }
    data = safetensors.numpy.save(native, metadata)
    header = parse(data)
    assert header.metadata == (metadata or {})
    assert set(header.entries) == set(tensors)
    for name, entry in header.entries.items():
        assert entry.shape == tensors[name].shape
        assert data[entry.start : entry.start + entry.size] == native[name].tobytes()


def test_the_library_reads_what_is_written(tmp_path: Path) -> None:
    body = b"abcde" + b"" + b"xyz"
    data = write_header({"0": 5, "1": 0, "2": 3}, {"key": "välue"}) + body
    path = tmp_path / "written.safetensors"
    path.write_bytes(data)
    with safetensors.safe_open(path, "np") as file:
        assert file.metadata() == {"key": "välue"}
        assert {name: bytes(file.get_tensor(name)) for name in file.keys()} == {  # noqa: SIM118
            "0": b"abcde",
            "1": b"",
            "2": b"xyz",
        }
    assert parse(data).entries["2"] == Entry("U8", (3,), len(data) - 3, 3)
    assert (len(data) - len(body)) % 8 == 0


def test_a_file_without_entries() -> None:
    assert parse(made({}, b"")).entries == {}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file has 0 bytes, too few for a header"),
        (b"\0" * 7, "the file has 7 bytes, too few for a header"),
        (b"\x01" + b"\0" * 7, "the header's length, 1, is more than the file holds"),
        (b"\xff" * 8 + b"{}", f"the header's length, {2**64 - 1}, is more than the file holds"),
        (made(b"\xff"), "not valid JSON: 'utf-8' codec can't decode byte 0xff in position 0"),
        (made(b"{"), "not valid JSON: Expecting property name"),
        (made(b"[]"), "not a JSON object"),
        (made(b"[" * 100_000), "not valid JSON: "),
        (made(b'{"a": NaN}'), "not valid JSON: NaN is not JSON"),
        (made(b'{"a": 1, "a": 2}'), "not valid JSON: a key stands twice in one object"),
        (made({"__metadata__": 3}), "__metadata__ is not a table of strings"),
        (made({"__metadata__": {"a": 3}}), "__metadata__ is not a table of strings"),
        (made({"a": 3}), "entry 'a': dtype, shape and data_offsets are expected"),
        (made({"a": U8 | {"b": 1}}), "entry 'a': dtype, shape and data_offsets are expected"),
        (made({"a": U8 | {"dtype": "F99"}}), "entry 'a': dtype 'F99' is unknown"),
        (made({"a": U8 | {"dtype": []}}), "entry 'a': dtype [] is unknown"),
        (made({"a": U8 | {"shape": 4}}), "entry 'a': shape 4 is not a list of sizes"),
        (made({"a": U8 | {"shape": [True, 4]}}), "entry 'a': shape [True, 4] is not a list"),
        (made({"a": U8 | {"shape": [-4]}}), "entry 'a': shape [-4] is not a list of sizes"),
        (made({"a": U8 | {"shape": [4.0]}}), "entry 'a': shape [4.0] is not a list of sizes"),
        (made({"a": U8 | {"shape": [2**40, 2**40]}}), "entry 'a': shape [1099511627776, 1099"),
        (made({"a": U8 | {"shape": [2**53, 0, 2]}}), "entry 'a': shape [9007199254740992, 0,"),
        (made({"a": U8 | {"shape": [1] * 32 + [4]}}), "entry 'a': shape [1, 1, 1, 1,"),
        (made({"a": U8 | {"data_offsets": [0]}}), "entry 'a': data_offsets [0] are not a range"),
        (made({"a": U8 | {"data_offsets": [4, 0]}}), "entry 'a': data_offsets [4, 0] are not"),
        (made({"a": U8 | {"data_offsets": [-4, 0]}}), "entry 'a': data_offsets [-4, 0] are not"),
        (made({"a": U8 | {"shape": [5]}}), "entry 'a': 4 bytes do not hold [5] of U8"),
        (made({"a": U8 | {"shape": [2**53]}}), "entry 'a': 4 bytes do not hold [9007199254740992]"),
        (made({"a": U8}, b"12345"), "the file goes on behind its last entry: it has "),
        (made({"a": U8}, b"123"), "the file was cut short: it has "),
        (made({}, b"1"), "the file goes on behind its last entry: it has "),
        (made({"a": U8 | {"data_offsets": [1, 5]}}, b"12345"), "the entries leave a gap at byte "),
        (made({"a": U8, "b": U8}), "the entries overlap at byte "),
    ],
)  # fmt: skip
def test_what_is_refused(data: bytes, message: str) -> None:
    assert refused(data).startswith(message)


def test_a_long_list_of_sizes_is_refused_before_it_is_multiplied() -> None:
    huge = [2**53] * 100_000
    assert "is not a list of sizes" in refused(made({"a": U8 | {"shape": huge}}))


def test_a_header_that_is_too_long_is_not_written() -> None:
    with pytest.raises(HeaderError, match="over the limit of 100000000"):
        write_header({"0": 0}, {"key": "x" * 100_000_000})
