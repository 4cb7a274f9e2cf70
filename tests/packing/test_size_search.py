"""The search for the step size that fills a size."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vggq.packing.size_search import COARSEST, FINEST, MAX_ATTEMPTS, MIN_FILL, SizeSearch

limits = st.integers(1, 10**9)
counts = st.integers(1, 10**8)
headers = st.integers(0, 10**5)
starts = st.floats(-40, 40)


def model_size(scale: float, count: int, header: int, roughness: int) -> int:
    """Return the size of a file whose weights take about a bit less for each doubled step."""
    size = header + int(count * np.log2(1 + 2.0 ** (4 - scale)) / 8)
    return size + int(roughness * abs(np.sin(scale * 1e3)))


def attempts(
    limit: int, count: int, header: int, roughness: int, start: float
) -> list[tuple[float, int]]:
    search = SizeSearch(limit, count, start)
    tried = []
    while (scale := search.propose()) is not None:
        size = model_size(scale, count, header, roughness)
        tried.append((scale, size))
        search.observe(size)
    return tried


@given(limits, counts, headers, st.integers(0, 200), starts)
def test_search_ends_and_finds_a_fitting_file_if_there_is_one(
    limit: int, count: int, header: int, roughness: int, start: float
) -> None:
    tried = attempts(limit, count, header, roughness, start)
    assert 1 <= len(tried) <= MAX_ATTEMPTS
    assert all(FINEST <= scale <= COARSEST for scale, _ in tried)
    fitting = [size for _, size in tried if size <= limit]
    # Nothing fits: the search has tried the coarsest scale, and tried it last.
    assert fitting or tried[-1][0] == COARSEST
    if model_size(COARSEST, count, header, 0) + roughness <= limit:
        assert fitting


@given(st.integers(10**5, 10**8), headers, st.floats(1, 24), st.floats(-8, 8))
def test_search_fills_the_size_from_a_guess_that_is_a_few_steps_off(
    count: int, header: int, bits: float, offset: float
) -> None:
    limit = header + int(count * bits / 8)
    tried = attempts(limit, count, header, 0, 4 - bits + offset)
    assert MIN_FILL * limit <= max(size for _, size in tried if size <= limit) <= limit


@given(limits, counts, headers, starts)
def test_search_stops_as_soon_as_a_file_fills_the_size(
    limit: int, count: int, header: int, start: float
) -> None:
    tried = attempts(limit, count, header, 0, start)
    filling = [MIN_FILL * limit <= size <= limit for _, size in tried]
    assert not any(filling[:-1])
