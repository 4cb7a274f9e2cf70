"""The encoder of the ``codebook`` codec."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.helpers import decoded
from vggq.packing.codecs.codebook import encoder as codebook

if TYPE_CHECKING:
    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]


@pytest.mark.parametrize("bits", range(1, 9))
def test_each_weight_gets_its_nearest_centroid(bits: int) -> None:
    values = np.random.default_rng(bits).standard_normal((31, 37)).astype(np.float32)
    codec, content = codebook.encode(values, bits)
    centroids = np.frombuffer(content, "<f4", codec.centroids).astype(np.float64)
    assert codec.centroids == 2**bits
    nearest = np.abs(values.reshape(-1, 1) - centroids).argmin(axis=1)
    restored = decoded(codec, content, values.size)
    np.testing.assert_array_equal(restored, centroids[nearest].astype(np.float32))
