"""Write the missing golden files, and the digests of the arrays that they restore to.

::

    python -m tests.golden.make [--replace]

An existing golden file is not written again, because every later release has to read it.
`--replace` is for a format version that was not released yet. Files that no case describes were
written by an earlier encoder, and are never written again.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from unittest import mock

import numpy as np

import vggq
from tests.helpers import save_npz, save_safetensors
from tests.packed_models import PackedModel, Stored, small_model
from vggq._codecs._trellis import POLYNOMIALS
from vggq._dtypes import NARROW, STORAGE
from vggq._weights import underlying_file
from vggq.packing import Packed, pack
from vggq.packing.goals import EFFORTS, Effort

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    State = dict[str, tuple[str, NDArray[Any]]]

FOLDER: Final = Path(__file__).parent / "format-1"
EXPECTED: Final = FOLDER / "expected.json"


_COMPLEX: Final = ("C64", "C128")


def exact() -> State:
    """Return tensors of every real dtype, of unusual shapes, and tied."""
    rng = np.random.default_rng(1)
    state: State = {}
    for name, dtype in STORAGE.items():
        if name in _COMPLEX:
            continue
        bits = rng.integers(0, 256, 24 * dtype.itemsize, np.uint8)
        state[name] = (name, (bits % 2 if name == "BOOL" else bits).view(dtype).reshape(2, 3, 4))
    state["scalar"] = ("F32", np.full((), 0.1, np.float32))
    state["none"] = ("F32", np.empty((3, 0, 2), np.float32))
    state["größe/\n*"] = ("I64", np.arange(-2, 3))
    return state | {"tied.a": state["F32"], "tied.b": state["F32"]}


def complex_tensors() -> State:
    """Return tensors of every complex dtype: of any bits, of unusual shapes, and tied."""
    rng = np.random.default_rng(8)
    state: State = {}
    for name in _COMPLEX:
        dtype = STORAGE[name]
        bits = rng.integers(0, 256, 24 * dtype.itemsize, np.uint8)
        state[name] = (name, bits.view(dtype).reshape(2, 3, 4))
        state[f"{name} scalar"] = (name, np.full((), 0.1 - 0.2j, dtype))
        state[f"{name} none"] = (name, np.empty((3, 0, 2), dtype))
        state[f"{name} tied"] = state[name]
    return state


def normal(*shape: int, seed: int = 2) -> tuple[str, NDArray[Any]]:
    return "F32", np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def heavy() -> tuple[str, NDArray[Any]]:
    """Return heavy-tailed weights, some of whose levels need escapes."""
    values = np.random.default_rng(3).standard_t(1.2, (40, 101)).astype(np.float32)
    return "F32", values


def kernels(*shape: int) -> tuple[str, NDArray[Any]]:
    """Return correlated weights in rows of different spread, for a basis and a row order."""
    rng = np.random.default_rng(4)
    values = rng.standard_normal(shape) * 0.2
    small = tuple(size > 8 for size in shape)
    values += rng.standard_normal([n if big else 1 for n, big in zip(shape, small, strict=True)])
    axis = small.index(True)
    spread = np.exp2(rng.integers(-6, 7, shape[axis]))
    values *= spread.reshape([-1 if at == axis else 1 for at in range(len(shape))])
    return "F32", values.astype(np.float32)


GRID: Final[State] = {
    "normal": normal(33, 37),
    "heavy": heavy(),
    "last": kernels(48, 24, 3, 3),
    "first": kernels(3, 3, 24, 48),
    "half": ("F16", normal(30, 40)[1].astype(np.float16)),
    "bias": normal(5),
}
CODEBOOK: Final[State] = {
    "odd": normal(31, 33),
    "even": normal(32, 32, seed=5),
    "few": ("F32", (np.arange(1027) % 11).astype(np.float32).reshape(13, 79)),
    "one": ("F64", np.full((10, 101), 0.1)),
    "bf16": ("BF16", np.random.default_rng(7).integers(0, 0x4000, (40, 30)).astype("<u2")),
}
# Slices that the decoder multiplies in different ways: short and long ones, with few and with many
# periods.
SCALED: Final[State] = {
    "last": kernels(48, 24, 3, 3),
    "first": kernels(3, 3, 24, 48),
    "zeros": ("F32", normal(40, 50, seed=9)[1] * (np.arange(50) % 3 > 0).astype(np.float32)),
    "half": ("F16", normal(30, 40)[1].astype(np.float16)),
}

CASES: Final[dict[str, tuple[State, Mapping[str, Any]]]] = {
    "raw": (exact(), {}),
    "raw-complex": (complex_tensors(), {}),
    **{f"codebook-{bits}": (CODEBOOK, {"bits": bits}) for bits in (1, 2, 3, 4, 6, 8)},
    # Enough weights to be looked up in pairs.
    "codebook-pairs": ({"large": normal(257, 257, seed=6)}, {"bits": 8}),
    "codebook-1-rows": (SCALED | {"large": normal(3, 22_001)}, {"bits": 1, "scale": "rows"}),
    "codebook-4-last": (SCALED, {"bits": 4, "scale": -1}),
    "codebook-8-columns": (SCALED | {"large": normal(22_001, 3)}, {"bits": 8, "scale": "columns"}),
    "grid-20-rows": (SCALED, {"sqnr": 20, "scale": "rows", "dependent": False}),
    "grid-45-columns": (SCALED, {"sqnr": 45, "scale": "columns"}),
    "grid-45-last": (SCALED, {"sqnr": 45, "scale": -1, "effort": "fast"}),
    **{
        f"grid-{sqnr}-independent": (GRID, {"sqnr": sqnr, "dependent": False})
        for sqnr in (6, 20, 45, 60, 100)
    },
    **{
        f"grid-{sqnr}-{states}": (GRID, {"sqnr": sqnr, "states": states})
        for states in POLYNOMIALS
        for sqnr in (12, 40)
    },
    **{f"grid-{sqnr}-256": (GRID, {"sqnr": sqnr, "states": 256}) for sqnr in (6, 60, 100)},
}
"""The tensors and the options of each file that today's encoder writes; `states` is no option.

There are files of earlier encoders as well, such as those whose names end in "dependent".
"""


def folder_model() -> PackedModel:
    """Return a model that is a folder, with tensors that are stored exactly."""
    model = small_model()
    model.main = "."
    model.tensors = [stored for stored in model.tensors if not stored.info.quantized]
    model.members = {"a/weights.bin": ["exact"], "a/b/more.bin": [b"1", "exact half", b"2"]}
    return model


def empty_folders_model() -> PackedModel:
    """Return the same folder with empty folders in it."""
    model = folder_model()
    model.folders = ("a/logs", "empty/größe")
    return model


def quantized_model() -> PackedModel:
    """Return a model with a tensor of each floating-point dtype in each codec."""
    rng = np.random.default_rng(9)
    state: State = {}
    for dtype in ("F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"):
        bits = np.dtype(f"u{STORAGE[dtype].itemsize}")
        values = rng.standard_normal((60, 40)) * 2.0 ** rng.integers(-6, 7, (60, 1))
        if dtype in {"F64", "F32", "F16"}:
            state[dtype] = dtype, values.astype(STORAGE[dtype])
        else:
            # Any bits, but without those of the largest exponents, which have infinities and NaN.
            state[dtype] = (
                dtype,
                (rng.integers(0, 0x70, (60, 40)) << 8 * (bits.itemsize - 1)).astype(bits),
            )
    tensors = [
        stored
        for goal in ({"bits": 8}, {"bits": 3}, {"sqnr": 15, "dependent": True})
        for stored in _packed_tensors(state, str(goal), goal)
    ]
    parts: list[bytes | str] = [b"begin"]
    for stored in tensors:
        parts += [stored.info.name, b"odd"]
    return PackedModel({"net.onnx": parts[:7], "net.onnx.data": parts[7:]}, tensors, block_size=16)


def _packed_tensors(state: State, suffix: str, options: Mapping[str, Any]) -> list[Stored]:
    """Return tensors as `pack` quantizes them, rounded to their own dtypes."""
    with tempfile.TemporaryDirectory() as work:
        path = pack(save_source(Path(work), state), Path(work, "s.vggq"), **options).target
        with vggq.open(path) as weights:
            return [
                Stored(
                    replace(
                        info,
                        name=f"{name} {suffix}",
                        stored_dtype=name if name in NARROW else info.stored_dtype,
                    ),
                    bytes(underlying_file(weights).content(name)),
                )
                for name, info in weights.tensors.items()
            ]


MODELS: Final[dict[str, Callable[[], PackedModel]]] = {
    "model": small_model,
    "model-folder": folder_model,
    "model-empty-folders": empty_folders_model,
    "model-quantized": quantized_model,
}


def expected(path: Path) -> dict[str, Any]:
    """Return the digest of a file, the description of each array, and the digest of each member."""
    listed: dict[str, Any] = {
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "arrays": {name: described(array) for name, array in vggq.load(path).items()},
    }
    with vggq.open(path) as weights:
        if weights.members:
            paths = [member.path for member in weights.members]
            files = {name: vggq.read_bytes(path, member=name) for name in paths}
            listed["files"] = {
                name: hashlib.sha256(content).hexdigest() for name, content in files.items()
            }
        if weights.manifest.model is not None and weights.manifest.model.folders:
            listed["folders"] = list(weights.manifest.model.folders)
    return listed


def described(array: NDArray[Any]) -> list[Any]:
    """Return the dtype, the shape, and the digest of the little-endian bytes."""
    little = array.astype(array.dtype.newbyteorder("<"))
    return [array.dtype.name, list(array.shape), hashlib.sha256(little.tobytes()).hexdigest()]


def save_source(folder: Path, state: State) -> Path:
    """Write a checkpoint: a safetensors file, or an archive of numpy if it has complex128."""
    if any(dtype == "C128" for dtype, _ in state.values()):
        return save_npz(folder / "s.npz", {name: array for name, (_, array) in state.items()})
    return save_safetensors(folder / "s.safetensors", state)


def pack_case(name: str, folder: Path, target: Path) -> Packed:
    """Pack the tensors of a case; their source is written to the folder."""
    state, options = CASES[name]
    keywords = {key: value for key, value in options.items() if key != "states"}
    states = {"default": Effort(options["states"])} if "states" in options else {}
    with mock.patch.dict(EFFORTS, states):
        return pack(save_source(folder, state), target, **keywords)


def make(folder: Path, *, replace: bool) -> dict[str, Any]:
    """Write the missing files, and return the description of every file of the folder."""
    listed = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    folder.mkdir(exist_ok=True)
    for name in CASES:
        target = folder / f"{name}.vggq"
        if replace or name not in listed:
            with tempfile.TemporaryDirectory() as work:
                pack_case(name, Path(work), target)
            listed[name] = expected(target)
    for name, make_model in MODELS.items():
        target = folder / f"{name}.vggq"
        if name not in listed:
            target.write_bytes(make_model().build())
            listed[name] = expected(target)
    return listed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m tests.golden.make")
    parser.add_argument("--replace", action="store_true", help="write all files again")
    listed = make(FOLDER, replace=parser.parse_args().replace)
    EXPECTED.write_text(json.dumps(listed, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
