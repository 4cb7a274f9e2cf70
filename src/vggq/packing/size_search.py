"""The finest steps whose packed file is within a size: found by packing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

# A file of at least so much of the size is good enough; what is aimed at is between that and all.
ENOUGH: Final = 0.995
_AIMED_AT: Final = 0.9985
_TRIALS: Final = 24
# After so many whether anything fits is found out at once.
_PATIENCE: Final = 8
# Scales are powers of two: from more than float32 can tell apart to where nothing is left.
FINEST: Final = -44.0
COARSEST: Final = 40.0
_BYTE: Final = 8


def search(size_of: Callable[[float], int], budget: int, count: int, start: float) -> int:
    """Try scales until a size is within the budget and uses it well.

    Args:
        size_of: bytes of the packed file at a scale, log2 of the step; larger scales take less.
        budget: in bytes.
        count: weights that a scale is for. At high rates each takes a bit less where the scale
            is larger by one.
        start: the first scale.

    Returns:
        The size at the best scale, the last that was tried with that size; more than the budget
        where nothing fits.

    """
    fine: tuple[float, int] | None = None
    coarse: tuple[float, int] | None = None
    scale = start
    for trial in range(_TRIALS):
        size = size_of(scale)
        if size <= budget:
            coarse = (scale, size)
            if size >= ENOUGH * budget or scale <= FINEST:
                break
        else:
            fine = (scale, size)
            if scale >= COARSEST:
                return size
        if coarse is None and trial >= _PATIENCE:
            scale = COARSEST
            continue
        scale = _next(fine, coarse, _AIMED_AT * budget, count, 2 ** (trial // 2))
    return coarse[1] if coarse else budget + 1


def _next(
    fine: tuple[float, int] | None,
    coarse: tuple[float, int] | None,
    aimed_at: float,
    count: int,
    boldness: int,
) -> float:
    if fine and coarse:
        share = (fine[1] - aimed_at) / (fine[1] - coarse[1])
        return fine[0] + min(max(share, 0.05), 0.95) * (coarse[0] - fine[0])
    known = fine or coarse
    assert known
    change = (known[1] - aimed_at) * _BYTE / max(count, 1)
    return min(max(known[0] + boldness * change, FINEST), COARSEST)
