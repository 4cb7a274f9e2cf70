"""The files that `restore.py` reads: packed files, and the same values in other formats."""

from __future__ import annotations

import shutil
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from restore_readers import PACKAGE

import vggq

if TYPE_CHECKING:
    from collections.abc import Collection

WEIGHTS: Final = Path(__file__).resolve().parents[1] / "sample_project" / "weights" / "vgg19.h5"
_GRID_SQNR: Final = 41.36
_SMALL_TENSORS, _SMALL_SIDE = 3000, 64
_TINY_TENSORS, _TINY_SIDE = 16, 256


@dataclass(frozen=True)
class Recipe:
    """The source and the options of a packed file.

    Attributes:
        options: the options of packing.
        tensors: the number of random square matrices; 0 for the weights of VGG19.
        side: the side of each matrix.

    """

    options: dict[str, Any] = field(default_factory=dict)
    tensors: int = 0
    side: int = 0


RECIPES: Final = {
    "vgg19": Recipe({"layout": "torch"}),
    "vgg19-grid": Recipe({"layout": "torch", "sqnr": _GRID_SQNR, "dependent": False}),
    "vgg19-dependent": Recipe({"layout": "torch", "sqnr": _GRID_SQNR}),
    "vgg19-model": Recipe({"restore": "model"}),
    "small": Recipe(tensors=_SMALL_TENSORS, side=_SMALL_SIDE),
    "tiny": Recipe(tensors=_TINY_TENSORS, side=_TINY_SIDE),
}
"""The packed files by the stem of their name."""


def pack_missing(folder: Path, weights: Path, stems: Collection[str] = RECIPES.keys()) -> None:
    """Pack the files of `RECIPES` that are not in the folder; needs hatch-vggq[build]."""
    folder.mkdir(parents=True, exist_ok=True)
    for stem in stems:
        target = folder / f"{stem}.vggq"
        if not target.exists():
            print(f"packing {target.name}", flush=True)
            _pack(RECIPES[stem], weights, target)


def _pack(recipe: Recipe, weights: Path, target: Path) -> None:
    from vggq.packing import pack  # noqa: PLC0415 - not installed where packed files are given

    with tempfile.TemporaryDirectory() as folder:
        source = weights
        if recipe.tensors:
            source = Path(folder, "random.npz")
            np.savez(source, **_random_matrices(recipe))  # type: ignore[arg-type]
        elif "restore" in recipe.options:
            source = Path(folder, "vgg19.vggq")
            # The weights of Keras, exactly, as a checkpoint that can be restored as a file.
            pack(weights, source, layout="torch", keep=["*"])
            write_torch(source)
            source = source.with_suffix(".pth")
        pack(source, target, **recipe.options)


def _random_matrices(recipe: Recipe) -> dict[str, np.ndarray[Any, Any]]:
    """Return matrices of 256 different values: their codebooks take no time to find."""
    rng = np.random.default_rng(2)
    values = rng.standard_normal(256, np.float32)
    shape = (recipe.side, recipe.side)
    return {f"{n}.weight": rng.choice(values, shape) for n in range(recipe.tensors)}


def copy_packed(source: Path, folder: Path, stems: Collection[str]) -> None:
    """Copy packed files, so that they are as new in the page cache as those of the other formats.

    Linux reads a file in a third of the time from the large pages into which it writes new files.
    """
    for stem in stems:
        shutil.copyfile(source / f"{stem}.vggq", folder / f"{stem}.vggq")


def write_rivals(packed: Path) -> None:
    """Write the values of a packed file in other formats to its folder.

    `STEM.npy` has all values as one array. The other files have the tensors by name.
    """
    import safetensors.numpy  # noqa: PLC0415 - not needed to pack

    arrays = vggq.load(packed)
    safetensors.numpy.save_file(arrays, packed.with_suffix(".safetensors"))
    np.savez(packed.with_suffix(".npz"), **arrays)  # type: ignore[arg-type]
    np.save(packed.with_suffix(".npy"), np.concatenate([a.reshape(-1) for a in arrays.values()]))


def write_torch(packed: Path) -> None:
    """Write the values of a packed file as a torch checkpoint in its folder."""
    import torch  # noqa: PLC0415 - not installed everywhere

    state = {name: torch.from_numpy(array) for name, array in vggq.load(packed).items()}
    torch.save(state, packed.with_suffix(".pth"))


def write_model(packed: Path) -> None:
    """Write the file that a packed model restores to its folder, as `STEM.model`."""
    packed.with_suffix(".model").write_bytes(vggq.read_bytes(packed))


def write_packages(folder: Path, stem: str) -> None:
    """Write a package with the files of a model: in a folder, and in two zip archives.

    Wheels are deflated; `zipimport` reads them without unpacking, and stored archives as well.
    """
    package = folder / "installed" / PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    for suffix in ("vggq", "safetensors", "npz"):
        (package / f"model.{suffix}").write_bytes((folder / f"{stem}.{suffix}").read_bytes())
    for name, method in (("stored", zipfile.ZIP_STORED), ("deflated", zipfile.ZIP_DEFLATED)):
        with zipfile.ZipFile(folder / f"{name}.zip", "w", method) as archive:
            for path in sorted(package.iterdir()):
                archive.write(path, f"{PACKAGE}/{path.name}")
