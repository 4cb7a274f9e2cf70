"""The safetensors header, compared with the safetensors library, and its errors."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from vggq._container import Entry, build_header, read_header
from vggq.errors import HeaderError

from . import strategies

if TYPE_CHECKING:
    from pathlib import Path

    from vggq._container import Header

U8 = {"dtype": "U8", "shape": [4], "data_offsets": [0, 4]}


def parse(data: bytes) -> Header:
    return read_header(lambda offset, size: data[offset : offset + size], len(data))


def build(header: object, body: bytes = b"1234") -> bytes:
    """Return a file with a header, given as JSON or as bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def header_error(data: bytes) -> str:
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
def test_headers_of_the_library_are_read(
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


def test_headers_are_read_by_the_library(tmp_path: Path) -> None:
    body = b"abcde" + b"" + b"xyz"
    data = build_header({"0": 5, "1": 0, "2": 3}, {"key": "välue"}) + body
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


def test_file_without_entries() -> None:
    assert parse(build({}, b"")).entries == {}


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file has only 0 bytes, too few for a header"),
        (b"\0" * 7, "the file has only 7 bytes, too few for a header"),
        (b"\x01" + b"\0" * 7, "the declared header length, 1 bytes, exceeds the file or "),
        (b"\xff" * 8 + b"{}", f"the declared header length, {2**64 - 1} bytes, exceeds the file"),
        (build(b"\xff"), "not valid JSON: 'utf-8' codec can't decode byte 0xff in position 0"),
        (build(b"{"), "not valid JSON: Expecting property name"),
        (build(b"[]"), "not a JSON object"),
        (build(b"[" * 100_000), "not valid JSON: "),
        (build(b'{"a": NaN}'), "not valid JSON: NaN is not JSON"),
        (build(b'{"a": 1, "a": 2}'), "not valid JSON: an object has a key twice"),
        (build({"__metadata__": 3}), "__metadata__ is not an object of strings"),
        (build({"__metadata__": {"a": 3}}), "__metadata__ is not an object of strings"),
        (build({"a": 3}), "entry 'a': expected exactly the keys dtype, shape and"),
        (build({"a": U8 | {"b": 1}}), "entry 'a': expected exactly the keys dtype, shape and"),
        (build({"a": U8 | {"dtype": "F99"}}), "entry 'a': unknown dtype 'F99'"),
        (build({"a": U8 | {"dtype": []}}), "entry 'a': unknown dtype []"),
        (build({"a": U8 | {"shape": 4}}), "entry 'a': shape 4 is not a list of sizes"),
        (build({"a": U8 | {"shape": [True, 4]}}), "entry 'a': shape [True, 4] is not a list"),
        (build({"a": U8 | {"shape": [-4]}}), "entry 'a': shape [-4] is not a list of sizes"),
        (build({"a": U8 | {"shape": [4.0]}}), "entry 'a': shape [4.0] is not a list of sizes"),
        (build({"a": U8 | {"shape": [2**40, 2**40]}}), "entry 'a': shape [1099511627776, 1099"),
        (build({"a": U8 | {"shape": [2**53, 0, 2]}}), "entry 'a': shape [9007199254740992, 0,"),
        (build({"a": U8 | {"shape": [1] * 32 + [4]}}), "entry 'a': shape [1, 1, 1, 1,"),
        (build({"a": U8 | {"data_offsets": [0]}}), "entry 'a': data_offsets [0] is not a range"),
        (build({"a": U8 | {"data_offsets": [4, 0]}}), "entry 'a': data_offsets [4, 0] is not a"),
        (build({"a": U8 | {"data_offsets": [-4, 0]}}), "entry 'a': data_offsets [-4, 0] is not"),
        (build({"a": U8 | {"shape": [5]}}), "entry 'a': 4 bytes do not match shape [5] of U8"),
        (build({"a": U8 | {"shape": [2**53]}}), "entry 'a': 4 bytes do not match shape [90071"),
        (build({"a": U8}, b"12345"), "the file has bytes after its last entry: it has "),
        (build({"a": U8}, b"123"), "the file is truncated: it has "),
        (build({}, b"1"), "the file has bytes after its last entry: it has "),
        (build({"a": U8 | {"data_offsets": [1, 5]}}, b"12345"), "the entries leave a gap at "),
        (build({"a": U8, "b": U8}), "the entries overlap at byte "),
    ],
)  # fmt: skip
def test_invalid_header_is_rejected(data: bytes, message: str) -> None:
    assert header_error(data).startswith(message)


def test_long_list_of_sizes_is_rejected_before_it_is_multiplied() -> None:
    huge = [2**53] * 100_000
    assert "is not a list of sizes" in header_error(build({"a": U8 | {"shape": huge}}))


def test_header_that_is_too_large_is_not_written() -> None:
    with pytest.raises(HeaderError, match="more than the limit of 100000000"):
        build_header({"0": 0}, {"key": "x" * 100_000_000})
