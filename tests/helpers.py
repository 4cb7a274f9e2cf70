"""What tests of several parts share."""

from __future__ import annotations

import json
import os
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx

from vggq._codecs import Codec, Raw
from vggq._dtypes import restored_dtype

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray


def untraced() -> dict[str, str]:
    """The environment of a process that coverage is to leave alone: it takes time, and locks."""
    return {key: value for key, value in os.environ.items() if not key.startswith("COVERAGE")}


def decoded(codec: Codec, content: bytes, count: int) -> NDArray[Any]:
    """Validate and decode content into a new array of the dtype it is restored as."""
    codec.validate(content, count)
    dtype = restored_dtype(codec.dtype) if isinstance(codec, Raw) else np.dtype(np.float32)
    values = np.empty(count, dtype)
    codec.decode_into(content, values)
    return values


def no_file(offset: int, size: int) -> bytes:
    """Where there is nothing to read."""
    return b""


def save_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Write an archive as numpy.savez does, which has no room for a tensor named "file"."""
    with zipfile.ZipFile(path, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w") as file:
                np.lib.format.write_array(file, array, allow_pickle=False)
    return path


def save_onnx(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Write a model of initializers alone."""
    tensors = [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()]
    return save_initializers(path, tensors)


def save_initializers(path: Path, tensors: Sequence[onnx.TensorProto]) -> Path:
    """Write a model of these and nothing else."""
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [], tensors)), path)
    return path


def save_safetensors(path: Path, tensors: Mapping[str, tuple[str, NDArray[Any]]]) -> Path:
    """Write a checkpoint of dtypes that numpy lacks, from a dtype's name and an array of bits."""
    header, end = {}, 0
    for name, (dtype, bits) in tensors.items():
        offsets = [end, end + bits.nbytes]
        header[name] = {"dtype": dtype, "shape": bits.shape, "data_offsets": offsets}
        end += bits.nbytes
    text = json.dumps(header).encode()
    content = b"".join(bits.tobytes() for _, bits in tensors.values())
    path.write_bytes(len(text).to_bytes(8, "little") + text + content)
    return path
