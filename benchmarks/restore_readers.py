"""The readers that `restore.py` compares, each used as its documentation says.

Nothing is added to a reader: no copy, and no conversion. Some readers return before they have read
the values: their tensors are views of the mapped file (`lazy`), and the pages are read later, at
the first use. Such a reader has two rows: as documented, and with one value of every page read
in addition (`TOUCHED`), which is the time until the values are in memory.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE: Final = "benchmark_model"
"""The name of a package with a model in each format."""

Load = Callable[[], Any]
"""Loads a whole model and returns it."""

TOUCHED: Final = ", then every page read"
"""Ends the name of the row of a lazy reader whose pages are read after it has returned."""

_PAGE_SIZE: Final = 4096


@dataclass(frozen=True)
class Reader:
    """A way to load a model.

    Attributes:
        name: the call, as tables name it.
        suffix: the suffix of the file that it reads.
        prepare: imports the library, and returns the load of a file with this number of threads.
        lazy: whether its tensors are views of the mapped file.
        torch: whether it needs torch.

    """

    name: str
    suffix: str
    prepare: Callable[[Path, int | None], Load]
    lazy: bool = False
    torch: bool = False


def _vggq(path: Path, threads: int | None) -> Load:
    import vggq  # noqa: PLC0415

    return lambda: vggq.load(path, threads=threads)


def _vggq_torch(path: Path, threads: int | None) -> Load:
    import vggq.torch  # noqa: PLC0415

    return lambda: vggq.torch.load(path, threads=threads)


def _safetensors_numpy(path: Path, _: int | None) -> Load:
    from safetensors.numpy import load_file  # noqa: PLC0415

    return lambda: load_file(path)


def _safetensors_torch(path: Path, _: int | None) -> Load:
    from safetensors.torch import load_file  # noqa: PLC0415

    return lambda: load_file(path)


def _torch(path: Path, _: int | None) -> Load:
    import torch  # noqa: PLC0415

    return lambda: torch.load(path)


def _torch_mapped(path: Path, _: int | None) -> Load:
    import torch  # noqa: PLC0415

    return lambda: torch.load(path, mmap=True)


def _npz(path: Path, _: int | None) -> Load:
    import numpy as np  # noqa: PLC0415

    def load() -> dict[str, Any]:
        with np.load(path) as arrays:
            return dict(arrays)

    return load


def _npy(path: Path, _: int | None) -> Load:
    import numpy as np  # noqa: PLC0415

    return lambda: np.load(path)


def _npy_mapped(path: Path, _: int | None) -> Load:
    import numpy as np  # noqa: PLC0415

    return lambda: np.load(path, mmap_mode="r")


def _read_bytes(path: Path, threads: int | None) -> Load:
    import vggq  # noqa: PLC0415

    return lambda: vggq.read_bytes(path, threads=threads)


def _as_file(path: Path, threads: int | None) -> Load:
    import vggq  # noqa: PLC0415

    def load() -> ExitStack:
        stack = ExitStack()
        stack.enter_context(vggq.as_file(path, threads=threads))
        return stack

    return load


def _path_read_bytes(path: Path, _: int | None) -> Load:
    return path.read_bytes


def _vggq_resource(path: Path, threads: int | None) -> Load:
    import vggq  # noqa: PLC0415

    sys.path.insert(0, str(path))
    return lambda: vggq.load(PACKAGE, "model.vggq", threads=threads)


def _safetensors_resource(path: Path, _: int | None) -> Load:
    from safetensors.numpy import load_file  # noqa: PLC0415

    sys.path.insert(0, str(path))

    def load() -> Any:
        with resources.as_file(resources.files(PACKAGE) / "model.safetensors") as file:
            return load_file(file)

    return load


def _safetensors_bytes(path: Path, _: int | None) -> Load:
    from safetensors.numpy import load  # noqa: PLC0415

    sys.path.insert(0, str(path))
    return lambda: load((resources.files(PACKAGE) / "model.safetensors").read_bytes())


def _npz_bytes(path: Path, _: int | None) -> Load:
    import numpy as np  # noqa: PLC0415

    sys.path.insert(0, str(path))

    def load() -> dict[str, Any]:
        data = (resources.files(PACKAGE) / "model.npz").read_bytes()
        with np.load(io.BytesIO(data)) as arrays:
            return dict(arrays)

    return load


VGGQ: Final = "vggq.load"
VGGQ_TORCH: Final = "vggq.torch.load"
SAFETENSORS: Final = "safetensors.numpy.load_file"
SAFETENSORS_TORCH: Final = "safetensors.torch.load_file"
TORCH: Final = "torch.load"
VGGQ_RESOURCE: Final = "vggq.load(package, resource)"
SAFETENSORS_RESOURCE: Final = "safetensors.numpy.load_file, importlib.resources.as_file"
SAFETENSORS_BYTES: Final = "safetensors.numpy.load, Traversable.read_bytes"
NPZ_BYTES: Final = "numpy.load, Traversable.read_bytes"

FILE_READERS: Final = (
    Reader(VGGQ, ".vggq", _vggq),
    Reader(VGGQ_TORCH, ".vggq", _vggq_torch, torch=True),
    Reader(SAFETENSORS, ".safetensors", _safetensors_numpy),
    Reader(SAFETENSORS_TORCH, ".safetensors", _safetensors_torch, lazy=True, torch=True),
    Reader(TORCH, ".pth", _torch, torch=True),
    Reader("torch.load(mmap=True)", ".pth", _torch_mapped, lazy=True, torch=True),
    Reader("numpy.load, npz", ".npz", _npz),
    Reader("numpy.load, npy", ".npy", _npy),
    Reader("numpy.load(mmap_mode='r'), npy", ".npy", _npy_mapped, lazy=True),
)
"""The readers of a file with a whole model."""

MODEL_READERS: Final = (
    Reader("vggq.read_bytes", ".vggq", _read_bytes),
    Reader("vggq.as_file", ".vggq", _as_file),
    Reader("pathlib.Path.read_bytes", ".model", _path_read_bytes),
)
"""The readers of a model's file as it was before packing."""

RESOURCE_READERS: Final = (
    Reader(VGGQ_RESOURCE, "", _vggq_resource),
    Reader(SAFETENSORS_RESOURCE, "", _safetensors_resource),
    Reader(SAFETENSORS_BYTES, "", _safetensors_bytes),
    Reader(NPZ_BYTES, "", _npz_bytes),
)
"""The readers of a file in a package; their path is an entry of `sys.path`."""


def touch_pages(tensors: Any) -> None:
    """Read one value of every page of tensors, or of one array."""
    import numpy as np  # noqa: PLC0415

    values = tensors.values() if isinstance(tensors, dict) else [tensors]
    for value in values:
        int(np.asarray(value).reshape(-1).view(np.uint8)[::_PAGE_SIZE].sum())
