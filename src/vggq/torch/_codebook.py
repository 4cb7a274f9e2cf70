"""Look-ups of codes: on a device, or with numpy in dtypes that numpy lacks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import torch

from .. import _decode
from .._codecs._look_up import centroid_table, look_up
from . import _torch_dtypes
from ._scales import multiply_by_scales

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .._buffers import Buffer
    from .._codecs import Codebook
    from .._codecs._scales import Slices
    from .._manifest import TensorInfo
    from ._transfer import Move

_INTEGER_DTYPES: Final = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}

_MIN_NORMAL: Final = float(np.finfo(np.float32).tiny)

# Bytes of codes to look up at a time on a device: an index takes four bytes for each.
_CHUNK: Final = 1 << 21


def look_up_with_numpy(
    codebook: NDArray[np.float32],
    codes: NDArray[np.uint8],
    width: int,
    count: int,
    dtype: torch.dtype,
) -> torch.Tensor:
    """Look up the weights of a codebook on the CPU, in a dtype that numpy may lack."""
    # Copied because torch warns about read-only memory; looked up as integers because numpy lacks
    # some of the floating-point dtypes.
    centroids = _torch_dtypes.round_to(codebook.copy(), dtype)
    table = centroids.view(_INTEGER_DTYPES[dtype.itemsize]).numpy()
    out = np.empty(count, table.dtype)
    look_up(table, codes, width, out)
    return torch.from_numpy(out).view(dtype)


@dataclass(slots=True)
class CodebookParts:
    """The parts of codes and codebook, in the form in which a device uses them.

    Attributes:
        table: the weights that each byte of codes stands for, as integers of the dtype's size:
            not every device can look up every floating-point dtype.
        codes: the bytes of the codes.
        count: the number of weights.
        dtype: the dtype of the weights; float32 if there are scales.
        slices: the slices of the tensor that have scales; None if there are no scales.
        scales: the scale of each slice; empty if there are no scales.

    """

    table: torch.Tensor
    codes: NDArray[np.uint8] | torch.Tensor
    count: int
    dtype: torch.dtype
    slices: Slices | None
    scales: NDArray[np.float32]


def split_plain(
    content: Buffer, codec: Codebook, tensor: TensorInfo, dtype: torch.dtype
) -> CodebookParts:
    """Split the validated content of a tensor without scales.

    Args:
        content: the content.
        codec: the codec of the tensor.
        tensor: the manifest's description of the tensor.
        dtype: any floating-point dtype.

    """
    codebook, codes = _decode.split_codebook(content, codec, tensor)
    table = _make_table(codebook, codec.width, dtype)
    return CodebookParts(table, codes, tensor.count, dtype, None, np.empty(0, np.float32))


def split_scaled(content: Buffer, codec: Codebook, count: int) -> CodebookParts:
    """Split the validated content of `count` weights with scales."""
    assert codec.slices
    codebook, codes = codec.split(content)
    table = _make_table(codebook, codec.width, torch.float32)
    scales = codec.slices.read(content)
    return CodebookParts(table, codes, count, torch.float32, codec.slices, scales)


def _make_table(codebook: NDArray[np.float32], width: int, dtype: torch.dtype) -> torch.Tensor:
    table = _torch_dtypes.round_to(centroid_table(codebook, width), dtype)
    return table.view(_INTEGER_DTYPES[dtype.itemsize])


def restore(parts: CodebookParts, move: Move, *, chunk: int = _CHUNK) -> torch.Tensor:
    """Look up the weights on a device, and multiply them by their scales there.

    Args:
        parts: the parts of the codes and the codebook.
        move: moves values to the device.
        chunk: the number of bytes of codes to look up at a time.

    """
    table, codes = move(parts.table), move(parts.codes)
    out = torch.empty((len(codes), table.shape[1]), dtype=table.dtype, device=table.device)
    for start in range(0, len(codes), chunk):
        part = slice(start, start + chunk)
        torch.index_select(table, 0, codes[part].int(), out=out[part])
    weights = out.view(parts.dtype).reshape(-1)[: parts.count]
    if parts.slices:
        multiply_by_scales(weights, parts.slices, move(parts.scales))
    return weights


def has_normal_products(content: Buffer, codec: Codebook) -> bool:
    """Whether no factor and no product of centroids and scales is a subnormal number.

    Some devices replace these by zeros.
    """
    assert codec.slices
    smallest = [
        float(values[values > 0].min(initial=1.0))
        for values in (np.abs(codec.split(content)[0]), codec.slices.read(content))
    ]
    return min(*smallest, smallest[0] * smallest[1]) >= _MIN_NORMAL
