"""Store encoded tensors as the entries of a packed file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .._manifest import TensorInfo
    from .encoded_tensor import EncodedTensor
    from .frame_spool import FrameSpool
    from .sources import SourceTensor

# In dB: half of the energy is error.
_LOST_SQNR: Final = 3


def store_tensors(
    groups: list[list[SourceTensor]], results: Iterable[EncodedTensor], frames: FrameSpool
) -> tuple[dict[str, TensorInfo], tuple[str, ...]]:
    """Store all frames and return the description of each tensor by name, and the remarks.

    Args:
        groups: tensors that share an entry.
        results: the encoded first tensor of each group.
        frames: the storage.

    """
    infos: dict[str, TensorInfo] = {}
    remarks = []
    for group, result in zip(groups, results, strict=True):
        tensor = group[0]
        # Tensors with identical results share an entry.
        entry = frames.add(result.frame, (tensor.shape, tensor.dtype, result.measures))
        infos |= {alias.name: result.describe(alias, entry) for alias in group}
        if result.non_finite:
            remarks.append(
                f"tensor {tensor.name!r} is stored exactly: {result.non_finite} of its "
                f"{tensor.count} values are not finite"
            )
    remarks += _remarks_on_lost_tensors(list(infos.values()))
    return infos, tuple(remarks)


def _remarks_on_lost_tensors(infos: list[TensorInfo]) -> list[str]:
    """Return a line if tensors were quantized to little more than zeros."""
    lost = sorted((info.sqnr, info.name) for info in infos if info.sqnr < _LOST_SQNR)
    if not lost:
        return []
    worst, name = lost[0]
    quantized = sum(info.quantized for info in infos)
    return [
        (
            f"{len(lost)} of {quantized} quantized tensors have an SQNR below {_LOST_SQNR} dB, so "
            f"little of them is left; the worst is {name!r} with {worst:.2f} dB: allow more "
            "bytes, or give it a goal in `tensors`"
        )
    ]
