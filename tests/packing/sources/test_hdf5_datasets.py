"""HDF5 datasets of every kind: read exactly, or an error that `drop` avoids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import h5py
import ml_dtypes
import numpy as np
import pytest

from vggq.errors import OptionError, SourceError
from vggq.packing.sources import ReadOptions, open_source

from .problems import problem_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

LONG_DOUBLE = pytest.mark.skipif(
    np.dtype(np.longdouble) == np.float64, reason="long double is float64 on this system"
)
VALUES = np.random.default_rng(9).standard_normal((6, 5))


def read(
    path: Path, *drop: str, dtypes: Sequence[tuple[str, str]] = ()
) -> dict[str, tuple[str, NDArray[Any]]]:
    with open_source(path, ReadOptions(drop=drop, dtypes=dtypes)) as source:
        return {tensor.name: (tensor.dtype, tensor.read()) for tensor in source.tensors}


def save(path: Path, make: Callable[[Any], object]) -> Path:
    """Write a file with a dataset "fine", and whatever `make` adds."""
    with h5py.File(path, "w") as file:
        file["fine"] = np.arange(3)
        make(file)
    return path


def error_of(path: Path, dtypes: Sequence[tuple[str, str]] = ()) -> str:
    with pytest.raises(SourceError) as caught:
        read(path, dtypes=dtypes)
    assert caught.value.path == path
    return str(caught.value).removeprefix(f"{path}: ")


def chunked(**options: Any) -> Callable[[Any], object]:
    return lambda file: file.create_dataset("w", data=VALUES, chunks=(4, 3), **options)


def scaled(file: Any) -> None:
    """Store integers in 5 bits, without loss."""
    values = np.arange(30).reshape(6, 5)
    file.create_dataset("w", data=values, chunks=(4, 3), scaleoffset=5)


def optional_filter(file: Any) -> None:
    """Name a filter that HDF5 did not have, and therefore did not apply."""
    make_filtered(file, mask=1)


def make_filtered(file: Any, mask: int) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((6, 5))
    properties.set_filter(32_001, h5py.h5z.FLAG_OPTIONAL, (1,))
    space = h5py.h5s.create_simple((6, 5))
    made = h5py.h5d.create(file.id, b"w", h5py.h5t.IEEE_F64LE, space, dcpl=properties)
    made.write_direct_chunk((0, 0), VALUES.tobytes(), filter_mask=mask)


@pytest.mark.parametrize(
    "make",
    [
        chunked(),
        chunked(compression="gzip"),
        chunked(compression="gzip", shuffle=True, fletcher32=True),
        chunked(compression="lzf"),
        chunked(maxshape=(None, None)),
        optional_filter,
        scaled,
        lambda file: file.create_dataset("w", data=VALUES.astype(">f4")),
        lambda file: file.create_dataset("w", data=VALUES.astype(np.complex64)),
        lambda file: file.create_dataset("w", data=VALUES.astype(np.complex128)),
        lambda file: file.create_dataset("w", data=VALUES > 0),
        lambda file: file.create_dataset("w", data=3.5),
        lambda file: file.create_dataset("w", data=np.zeros((0, 3), np.float32)),
        lambda file: file.create_dataset("w", (3, 4), "f4", fillvalue=7),
        lambda file: file.create_dataset("w", data=[1, 2], dtype=h5py.enum_dtype({"a": 1}, "i2")),
    ],
)
def test_reads_the_values_that_h5py_reads(tmp_path: Path, make: Callable[[Any], object]) -> None:
    path = save(tmp_path / "m.h5", make)
    with h5py.File(path) as file:
        expected = np.asarray(file["w"][()])
    _, found = read(path)["w"]
    assert found.shape == expected.shape
    assert found.dtype.kind == expected.dtype.kind
    assert found.tobytes() == expected.astype(expected.dtype.newbyteorder("<")).tobytes()


def strings(file: Any) -> None:
    file["w"] = np.array(["a", "b"], h5py.string_dtype())


def object_references(file: Any) -> None:
    file["w"] = np.array([file["fine"].ref], h5py.ref_dtype)


def region_references(file: Any) -> None:
    file["w"] = np.array([file["fine"].regionref[:2]], h5py.regionref_dtype)


def lists(file: Any) -> None:
    file.create_dataset("w", (2,), h5py.vlen_dtype("f4"))[0] = [1, 2]


def times(file: Any) -> None:
    h5py.h5d.create(file.id, b"w", h5py.h5t.UNIX_D32LE, h5py.h5s.create_simple((3,)))


REFERENCES = "references to objects are not supported"
STRINGS = "strings are not supported"
EMPTY = "an empty dataset, which has no shape, is not supported"


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        (strings, STRINGS),
        (lambda file: file.create_dataset("w", data="text"), STRINGS),
        (lambda file: file.create_dataset("w", data=np.array([b"ab"])), STRINGS),
        (object_references, REFERENCES),
        (region_references, REFERENCES),
        (lists, "lists of different lengths are not supported"),
        (
            lambda file: file.create_dataset("w", data=np.zeros(3, "f4,i4")),
            "the dtype [('f0', '<f4'), ('f1', '<i4')] is not supported",
        ),
        (
            lambda file: file.create_dataset("w", data=np.zeros(3, "V7")),
            "the dtype |V7 is not supported",
        ),
        pytest.param(
            lambda file: file.create_dataset("w", data=np.zeros(3, np.longdouble)),
            f"the dtype {np.dtype(np.longdouble)} is not supported",
            marks=LONG_DOUBLE,
        ),
        (lambda file: file.create_dataset("w", data=h5py.Empty("f4")), EMPTY),
        (lambda file: file.create_dataset("w", data=h5py.Empty("i8")), EMPTY),
        (
            times,
            "its HDF5 type is not supported: No NumPy equivalent for TypeTimeID exists",
        ),
        (
            lambda file: make_filtered(file, mask=0),
            "compressed with the filter 32001, which this installation of HDF5 cannot read",
        ),
    ],
)
def test_an_unsupported_dataset_is_an_error_or_dropped(
    tmp_path: Path, make: Callable[[Any], None], problem: str
) -> None:
    path = save(tmp_path / "m.h5", make)
    message = error_of(path)
    assert message.startswith("tensor 'w': ")
    assert problem_of(message, count=1) == problem
    assert list(read(path, "w")) == ["fine"]


@pytest.mark.parametrize(
    ("dtype", "name"), [("bfloat16", "BF16"), ("float8_e4m3fn", "F8_E4M3"), ("int4", None)]
)
def test_an_untyped_dataset_needs_a_declaration(
    tmp_path: Path, dtype: str, name: str | None
) -> None:
    values = VALUES.astype(getattr(ml_dtypes, dtype))
    path = save(tmp_path / "m.h5", lambda file: file.create_dataset("w", data=values))
    assert problem_of(error_of(path)).startswith("the file states only |V")
    assert list(read(path, "w")) == ["fine"]
    if name is not None:
        found, array = read(path, dtypes=[("w", dtype)])["w"]
        assert found == name
        assert array.tobytes() == values.tobytes()


def test_bfloat16_of_keras_needs_no_declaration(tmp_path: Path) -> None:
    def make(file: Any) -> None:
        file["w"] = VALUES.astype(ml_dtypes.bfloat16)
        file["w"].attrs["dtype"] = "bfloat16"

    path = save(tmp_path / "m.h5", make)
    assert read(path)["w"][0] == "BF16"
    with pytest.raises(OptionError, match="'w' matches no tensor whose dtype the file does not"):
        read(path, dtypes=[("w", "bfloat16")])


def test_named_datatypes_are_no_tensors(tmp_path: Path) -> None:
    def make(file: Any) -> None:
        file["type"] = np.dtype("f4")

    assert list(read(save(tmp_path / "m.h5", make))) == ["fine"]
