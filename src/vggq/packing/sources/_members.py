"""Members of an archive that a format does not read."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ._source import unsupported_tensor

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ._source import SourceTensor

CHECKPOINT_SUFFIXES: Final = (
    ".h5", ".hdf5", ".keras", ".weights.json", ".safetensors", ".index.json", ".pth", ".pt", ".bin",
    ".npz", ".npy", ".onnx", ".tflite",
)  # fmt: skip
"""The suffixes of all formats; the registry, which has them too, imports this module."""

PROBLEM: Final = "a checkpoint in the archive, which is not read"


def split_members(names: Iterable[str]) -> tuple[list[SourceTensor], list[str]]:
    """Return a tensor that only `drop` can exclude for each checkpoint, and the other names."""
    tensors, others = [], []
    for name in names:
        if name.lower().endswith(CHECKPOINT_SUFFIXES):
            tensors.append(unsupported_tensor(name, PROBLEM))
        else:
            others.append(name)
    return tensors, others
