"""Hypothesis strategies of several test modules."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Names that often cause errors, and any text that UTF-8 can encode.
names = st.one_of(
    st.sampled_from(
        ["", "0", "__metadata__", "a/b", "a.b", "a b", "größe", "file", "*.bias", "\n"]
    ),
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8),
)

shapes = st.one_of(
    st.just(()),
    npst.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5),
    st.sampled_from([(999,), (1000,), (27, 37), (25, 40), (10, 10, 10), (1, 1001)]),
)

exact_dtypes = st.sampled_from(
    ["?", "u1", "i1", "<u2", ">u2", "i2", "u4", "i4", "u8", "i8"],
).map(np.dtype)

floating_dtypes = st.sampled_from(["<f2", "<f4", ">f4", "<f8"]).map(np.dtype)


@st.composite
def arrays(draw: st.DrawFn) -> NDArray[Any]:
    """Draw any array that a source can contain, with NaN, infinities and subnormal numbers."""
    dtype = draw(exact_dtypes | floating_dtypes)
    return draw(npst.arrays(dtype, draw(shapes), fill=npst.from_dtype(dtype)))


states = st.dictionaries(names, arrays(), min_size=1, max_size=4)

# Every finite float32, including the extremes of the range.
finite_weights = npst.arrays(
    np.float32,
    st.integers(1, 400),
    elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
)
