"""Headers of safetensors checkpoints: what the library accepts is accepted, and nothing else."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import safetensors
import safetensors.numpy

from tests.helpers import read_nothing
from vggq._container import read_header
from vggq.errors import HeaderError, SourceError
from vggq.packing.sources import ReadOptions, open_source
from vggq.packing.sources._safetensors_header import read_checkpoint_header

from .problems import problem_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

VALUES = np.arange(4, dtype=np.float32)
ENTRY = {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}
TEXT = json.dumps(ENTRY)


def entry(**changes: Any) -> dict[str, Any]:
    return {**ENTRY, **changes}


def build(header: object, content: bytes = VALUES.tobytes()) -> bytes:
    """Return a file with a header, given as JSON or as bytes."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content


def build_after(keys: str) -> bytes:
    """Return a file with more keys before those of its entry."""
    return build(f'{{"w":{{{keys},{TEXT[1:]}}}'.encode())


HALVES = {
    "a": {"dtype": "F32", "shape": [2], "data_offsets": [8, 16]},
    "b": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
}
ACCEPTED = {
    "no metadata": build({"w": ENTRY}),
    "null metadata": build({"__metadata__": None, "w": ENTRY}),
    "empty metadata": build({"__metadata__": {}, "w": ENTRY}),
    "metadata": build({"__metadata__": {"format": "pt", "": ""}, "w": ENTRY}),
    "metadata after the entries": build({"w": ENTRY, "__metadata__": {"a": "b"}}),
    "metadata with a key twice": build(
        b'{"__metadata__":{"a":"b","a":"c"},"w":%s}' % TEXT.encode()
    ),
    "an unknown key": build({"w": entry(comment="x")}),
    "unknown keys of all types": build({"w": entry(a=None, b=[1, {"c": 1.5}], d=True, e=-3)}),
    "an unknown key twice": build_after('"x":1,"x":2'),
    "an object in an unknown key": build_after('"x":{"a":1,"a":2}'),
    "a name twice": build(f'{{"w":{TEXT},"w":{TEXT}}}'.encode()),
    "entries in another order": build(HALVES),
    "offsets in another order": build({name: HALVES[name] for name in ("b", "a")}),
    "an empty tensor at the end": build(
        {"w": ENTRY, "e": {"dtype": "F32", "shape": [0, 3], "data_offsets": [16, 16]}}
    ),
    "an empty tensor at the start": build(
        {"e": {"dtype": "F32", "shape": [0, 3], "data_offsets": [0, 0]}, "w": ENTRY}
    ),
    "a scalar": build({"w": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]}}, b"1234"),
    "spaces at the end": build(json.dumps({"w": ENTRY}).encode() + b"   "),
    "white space at the end": build(json.dumps({"w": ENTRY}).encode() + b"\n\t\r "),
    "spaces at the start": build(b"  " + json.dumps({"w": ENTRY}).encode()),
    "an empty name": build({"": ENTRY}),
    "32 dimensions": build({"w": entry(shape=[1] * 31 + [4])}),
}
REFUSED = {
    "an empty file": b"",
    "a file of seven bytes": b"1234567",
    "metadata with a number": build({"__metadata__": {"a": 1}, "w": ENTRY}),
    "metadata with null": build({"__metadata__": {"a": None}, "w": ENTRY}),
    "metadata with an object": build({"__metadata__": {"a": {}}, "w": ENTRY}),
    "metadata that is a list": build({"__metadata__": [], "w": ENTRY}),
    "metadata that is a string": build({"__metadata__": "x", "w": ENTRY}),
    "metadata twice": build(f'{{"__metadata__":{{}},"__metadata__":{{}},"w":{TEXT}}}'.encode()),
    "a dtype twice": build_after('"dtype":"F32"'),
    "a shape twice": build_after('"shape":[4]'),
    "offsets twice": build_after('"data_offsets":[0,16]'),
    "no offsets": build({"w": {"dtype": "F32", "shape": [4]}}),
    "a null entry": build({"w": ENTRY, "v": None}),
    "NaN": build_after('"x":NaN'),
    "a dtype that is a number": build({"w": entry(dtype=3)}),
    "a fractional shape": build({"w": entry(shape=[4.0])}),
    "a negative shape": build({"w": entry(shape=[-4])}),
    "a shape that is a number": build({"w": entry(shape=4)}),
    "a shape with true": build({"w": entry(shape=[4, True])}),
    "a wrong shape": build({"w": entry(shape=[5])}),
    "one offset": build({"w": entry(data_offsets=[0])}),
    "three offsets": build({"w": entry(data_offsets=[0, 16, 16])}),
    "a negative offset": build({"w": entry(data_offsets=[-16, 0])}),
    "offsets backwards": build({"w": entry(data_offsets=[16, 0])}),
    "bytes after the last entry": build({"w": ENTRY}, VALUES.tobytes() + b"x"),
    "bytes before the first entry": build({"w": entry(data_offsets=[4, 20])}, bytes(20)),
    "too few bytes": build({"w": ENTRY}, bytes(15)),
    "overlapping entries": build({"w": ENTRY, "v": ENTRY}),
    "an empty tensor within another": build(
        {"w": ENTRY, "e": {"dtype": "F32", "shape": [0], "data_offsets": [8, 8]}}
    ),
    "a name twice with two ranges": build(
        b'{"w":%s,"w":%s}' % tuple(json.dumps(HALVES[name]).encode() for name in ("b", "a"))
    ),
    "four bits in three quarters of a byte": build(
        {"w": {"dtype": "F4", "shape": [3], "data_offsets": [0, 2]}}, b"12"
    ),
    "zeros at the end": build(json.dumps({"w": ENTRY}).encode() + b"\0\0"),
    "a byte order mark": build(b"\xef\xbb\xbf" + json.dumps({"w": ENTRY}).encode()),
    "Latin-1": build(b'{"__metadata__":{"a":"\xff"},"w":%s}' % TEXT.encode()),
    "a list": build([ENTRY]),
}


def read(path: Path, drop: Sequence[str] = ()) -> dict[str, NDArray[Any]]:
    with open_source(path, ReadOptions(drop=drop)) as source:
        return {tensor.name: tensor.read() for tensor in source.tensors}


def packed_header(data: bytes) -> object:
    return read_header(lambda offset, size: data[offset : offset + size], len(data))


@pytest.mark.parametrize("label", ACCEPTED)
def test_reads_what_the_library_reads(tmp_path: Path, label: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(ACCEPTED[label])
    expected = safetensors.numpy.load(ACCEPTED[label])
    found = read(path)
    assert {name: (a.shape, a.tobytes()) for name, a in found.items()} == {
        name: (a.shape, a.tobytes()) for name, a in expected.items()
    }


@pytest.mark.parametrize("label", REFUSED)
def test_refuses_what_the_library_refuses(tmp_path: Path, label: str) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(REFUSED[label])
    with pytest.raises(safetensors.SafetensorError):
        safetensors.numpy.load(REFUSED[label])
    with pytest.raises(SourceError):
        read(path)


@pytest.mark.parametrize(
    "label", ["null metadata", "an unknown key", "an unknown key twice", "a name twice"]
)
def test_the_header_of_packed_files_stays_strict(label: str) -> None:
    with pytest.raises(HeaderError):
        packed_header(ACCEPTED[label])


@pytest.mark.parametrize(
    ("dtype", "shape", "size"),
    [
        ("F4", [4], 2),
        ("F6_E2M3", [4], 3),
        ("F6_E3M2", [4], 3),
        ("F8_E8M0", [4], 4),
        ("F8_E4M3FNUZ", [4], 4),
        ("F8_E5M2FNUZ", [4], 4),
        # Later versions of the library may have more dtypes.
        ("F128", [4], 64),
    ],
)
def test_an_unsupported_dtype_is_an_error_or_dropped(
    tmp_path: Path, dtype: str, shape: list[int], size: int
) -> None:
    path = tmp_path / "m.safetensors"
    odd = {"dtype": dtype, "shape": shape, "data_offsets": [16, 16 + size]}
    path.write_bytes(build({"w": ENTRY, "odd": odd}, VALUES.tobytes() + bytes(size)))
    with pytest.raises(SourceError) as caught:
        read(path)
    message = str(caught.value).removeprefix(f"{path}: ")
    assert message.startswith("tensor 'odd': ")
    assert problem_of(message, count=1) == f"the dtype {dtype} is not supported"
    assert list(read(path, ["odd"])) == ["w"]


@pytest.mark.parametrize("shape", [[1] * 33, [1] * 70, [0, 2**60, 2**60], [0, 2**62]])
def test_a_shape_that_numpy_1_lacks_is_an_error_or_dropped(
    tmp_path: Path, shape: list[int]
) -> None:
    path = tmp_path / "m.safetensors"
    size = 0 if 0 in shape else 4
    odd = {"dtype": "F32", "shape": shape, "data_offsets": [16, 16 + size]}
    path.write_bytes(build({"w": ENTRY, "odd": odd}, VALUES.tobytes() + bytes(size)))
    with safetensors.safe_open(path, "np") as library:
        assert set(library.keys()) == {"w", "odd"}
    with pytest.raises(SourceError) as caught:
        read(path)
    message = str(caught.value).removeprefix(f"{path}: ")
    assert problem_of(message, count=1) == f"the shape {shape} is not supported"
    assert list(read(path, ["odd"])) == ["w"]


def test_reads_complex64(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    path.write_bytes(build({"w": entry(dtype="C64", shape=[2])}))
    np.testing.assert_array_equal(read(path)["w"], VALUES.view(np.complex64))


def test_metadata_is_named_in_a_remark(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    safetensors.numpy.save_file({"w": VALUES}, path, {"format": "np"})
    with open_source(path) as source:
        assert source.remarks == ()
    safetensors.numpy.save_file({"w": VALUES}, path, {"format": "np", "epoch": "3"})
    with open_source(path) as source:
        assert source.remarks == ("not packed: the metadata 'epoch'",)


def test_rejects_a_header_that_is_longer_than_the_file() -> None:
    with pytest.raises(HeaderError, match="too few for a header"):
        read_checkpoint_header(read_nothing, 0)


def test_the_product_of_a_long_shape_ends_early(tmp_path: Path) -> None:
    """The product of a million large numbers would take minutes."""
    path = tmp_path / "m.safetensors"
    path.write_bytes(build({"w": entry(shape=[2**63] * 1_000_000)}))
    with pytest.raises(SourceError, match="16 bytes do not match shape"):
        read(path)
