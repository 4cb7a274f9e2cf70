"""Search for the finest step size whose packed file is within a size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MIN_FILL: Final = 0.999
"""A file of at least this share of the size ends the search."""
# After this many attempts, a file of at least this share ends it as well.
_MANY_ATTEMPTS: Final = 16
_SUFFICIENT_FILL: Final = 0.995
# The search aims between the share that ends it and the whole size.
_AIM_FILL: Final = 0.9995
MAX_ATTEMPTS: Final = 24
# If nothing has fitted after this many attempts, the coarsest scale decides whether anything does.
_PATIENCE: Final = 8
# Scales are log2 of the step size: from finer than float32 can represent to where nothing is left.
FINEST: Final = -44.0
COARSEST: Final = 40.0
_BITS_PER_BYTE: Final = 8


@dataclass(frozen=True, slots=True)
class _Attempt:
    scale: float
    size: int


class SizeSearch:
    """Propose scales until a file fits and fills the size well.

    Call `propose` and `observe` in turn until `propose` returns None. The largest file within the
    limit is the result; if none is, no file is that small.

    Args:
        limit: the maximum size in bytes.
        count: the number of weights that share the size. At high rates each of them takes about
            one bit less if the scale is larger by one.
        start: the first scale to try.

    """

    def __init__(self, limit: int, count: int, start: float) -> None:
        self._limit = limit
        self._count = max(count, 1)
        self._scale = start
        self._attempts = 0
        self._done = False
        self._too_large: _Attempt | None = None
        self._fitting: _Attempt | None = None

    def propose(self) -> float | None:
        """Return the next scale to try; None when the search has ended."""
        return None if self._done or self._attempts == MAX_ATTEMPTS else self._scale

    def observe(self, size: int) -> None:
        """Record the size in bytes of the file at the scale that was proposed last."""
        attempt = _Attempt(self._scale, size)
        if size <= self._limit:
            self._fitting = attempt
            self._done = size >= MIN_FILL * self._limit or attempt.scale <= FINEST
        else:
            self._too_large = attempt
            self._done = attempt.scale >= COARSEST
        if self._attempts >= _MANY_ATTEMPTS and self._fitting:
            self._done |= self._fitting.size >= _SUFFICIENT_FILL * self._limit
        if not self._done:
            self._scale = self._next_scale(attempt)
            self._attempts += 1

    def _next_scale(self, last: _Attempt) -> float:
        if self._fitting is None and self._attempts >= _PATIENCE:
            return COARSEST
        if self._too_large and self._fitting:
            return self._interpolate(self._too_large, self._fitting)
        excess = last.size - _AIM_FILL * self._limit
        # Later steps are bolder, in case the size follows the scale more slowly than expected.
        boldness: int = 1 << self._attempts // 2
        step = boldness * excess * _BITS_PER_BYTE / self._count
        return min(max(last.scale + step, FINEST), COARSEST)

    def _interpolate(self, too_large: _Attempt, fitting: _Attempt) -> float:
        excess = too_large.size - _AIM_FILL * self._limit
        share = excess / (too_large.size - fitting.size)
        return too_large.scale + min(max(share, 0.05), 0.95) * (fitting.scale - too_large.scale)
