"""Write the tensors of a packed file to a .safetensors or an .npz file."""

from __future__ import annotations

import zipfile
from typing import IO, TYPE_CHECKING, Final

import numpy as np

from ...errors import TargetError
from ..optional import require

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._weights import Weights

    Advance = Callable[[int, int], None]

# The key of the metadata in the header of a safetensors file.
_RESERVED_NAME: Final = "__metadata__"
# A zip archive stores the length of a member's name in 16 bits.
_MAX_NAME_BYTES: Final = (1 << 16) - 1 - len(".npy")
_MAX_SHOWN_NAME: Final = 60


def _write_safetensors(weights: Weights, file: IO[bytes], advance: Advance) -> None:
    safetensors = require("safetensors", "build")
    save = require("safetensors.numpy", "build").save
    if _RESERVED_NAME in weights:
        raise TargetError(
            "a name that safetensors reserves; unpack to .npz instead", tensor=_RESERVED_NAME
        )
    tensors = {}
    for done, name in enumerate(weights, 1):
        tensors[name] = weights[name]
        advance(done, len(weights))
    try:
        file.write(save(tensors))
    except safetensors.SafetensorError as error:
        # It has no complex128, and releases before 0.6 have no complex64.
        raise TargetError(
            f"safetensors cannot store the tensors ({error}); unpack to .npz instead"
        ) from error


def _write_npz(weights: Weights, file: IO[bytes], advance: Advance) -> None:
    for name in weights:
        if "\0" in name or len(name.encode()) > _MAX_NAME_BYTES:
            shown = name if len(name) <= _MAX_SHOWN_NAME else f"{name[:_MAX_SHOWN_NAME]}…"
            raise TargetError(
                "a name that zip archives cannot store; unpack to .safetensors instead",
                tensor=shown,
            )
    # numpy.savez takes tensors as keyword arguments, and so none with the name "file".
    with zipfile.ZipFile(file, "w") as archive:
        for done, name in enumerate(weights, 1):
            # ZipInfo has a fixed date by default, so the output is reproducible.
            member = zipfile.ZipInfo(f"{name}.npy")
            with archive.open(member, "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, weights[name], allow_pickle=False)
            advance(done, len(weights))


TENSOR_WRITERS: Final = {".safetensors": _write_safetensors, ".npz": _write_npz}
"""The function that writes the tensors to a file, by the suffix of its name."""
