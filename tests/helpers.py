"""Functions that several test modules use."""

from __future__ import annotations

import json
import math
import os
import zipfile
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import ml_dtypes
import numpy as np
import onnx

from vggq._codecs import Codec, Raw
from vggq._dtypes import restored_dtype

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def untraced() -> dict[str, str]:
    """Return an environment in which processes do not measure coverage, which slows them down."""
    return {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}


def decoded(codec: Codec, content: bytes, count: int) -> NDArray[Any]:
    """Validate content and decode it into a new array of the restored dtype."""
    codec.validate(content, count)
    dtype = restored_dtype(codec.dtype) if isinstance(codec, Raw) else np.dtype(np.float32)
    values = np.empty(count, dtype)
    codec.decode_into(content, values)
    return values


def assert_own_memory(arrays: Iterable[NDArray[Any]]) -> None:
    """Assert that contiguous arrays can be written to, and that each has memory of its own."""
    ranges = []
    for array in arrays:
        assert array.flags.writeable
        begin = array.__array_interface__["data"][0]
        ranges.append((begin, begin + array.nbytes))
    ranges.sort()
    assert all(end <= begin for (_, end), (begin, _) in pairwise(ranges))


def saturated(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Round values of up to 32 bits to a dtype with ml_dtypes and numpy; finite ones saturate.

    In float8 E4M3, which has no infinities, infinite values saturate as well.
    """
    limit = float(ml_dtypes.finfo(dtype).max)
    with np.errstate(all="ignore"):
        exact = values.astype(np.float64)
        stays = np.isinf(exact) & (dtype.name != "float8_e4m3fn")
        limited = np.where(stays, exact, np.clip(exact, -limit, limit))
        # ml_dtypes would round float64 to float32 first, which is exact here.
        return limited.astype(np.float64 if dtype == np.float64 else np.float32).astype(dtype)


def measured_sqnr(values: NDArray[Any], restored: NDArray[Any]) -> float:
    """Return the SQNR in dB, calculated from the arrays alone; infinite if they are equal."""
    exact = values.astype(np.float64)
    noise = float(np.square(exact - restored).sum())
    energy = float(np.square(exact).sum())
    if noise == 0:
        return math.inf
    return 10 * math.log10(energy / noise) if energy else -math.inf


def assert_same_arrays(
    found: Mapping[str, NDArray[Any]], expected: Mapping[str, NDArray[Any]]
) -> None:
    """Assert the same names in the same order, dtypes, shapes and bits."""
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert (found[name].dtype, found[name].shape) == (array.dtype, array.shape), name
        assert found[name].tobytes() == array.tobytes(), name


def read_nothing(offset: int, size: int) -> bytes:
    """Read an empty file."""
    return b""


def save_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Write an archive like numpy.savez, which does not accept an array named "file"."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            # ZipInfo has a fixed date by default, so equal arrays give equal files.
            with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return path


def save_onnx(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Write a model that has only these initializers."""
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    return save_initializers(path, tensors)


def save_initializers(path: Path, tensors: Sequence[onnx.TensorProto]) -> Path:
    """Write a model that has only these initializers."""
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors)), path)
    return path


def save_safetensors(path: Path, tensors: Mapping[str, tuple[str, NDArray[Any]]]) -> Path:
    """Write a checkpoint whose dtypes numpy may lack.

    Args:
        path: the file.
        tensors: the safetensors name of the dtype, and an array of the bits, by name.

    """
    header, end = {}, 0
    for name, (dtype, bits) in tensors.items():
        offsets = [end, end + bits.nbytes]
        header[name] = {"dtype": dtype, "shape": bits.shape, "data_offsets": offsets}
        end += bits.nbytes
    text = json.dumps(header).encode()
    content = b"".join(bits.tobytes() for _, bits in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    return path
