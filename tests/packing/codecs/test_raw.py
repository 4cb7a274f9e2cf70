"""The choice of tensors that are stored exactly."""

from __future__ import annotations

import numpy as np
import pytest

from vggq.packing.codecs import raw
from vggq.packing.sources import SourceTensor


def tensor(shape: tuple[int, ...], dtype: str = "F32", name: str = "layer.weight") -> SourceTensor:
    return SourceTensor(name, dtype, shape, lambda: np.zeros(shape))


@pytest.mark.parametrize(
    ("described", "patterns", "expected"),
    [
        (tensor((1000,)), (), True),
        (tensor((27, 37)), (), True),
        (tensor((25, 40)), (), False),
        (tensor((10, 10, 10)), (), False),
        (tensor((25, 40), "I32"), (), True),
        (tensor((25, 40), "BOOL"), (), True),
        (tensor((25, 40), "BF16"), (), False),
        (tensor((0, 40)), (), True),
        (tensor(()), (), True),
        (tensor((25, 40)), ("*.bias",), False),
        (tensor((25, 40)), ("*.bias", "layer.*"), True),
        (tensor((25, 40)), ("LAYER.*",), False),
    ],
)
def test_small_integer_and_named_tensors_are_stored_exactly(
    *, described: SourceTensor, patterns: tuple[str, ...], expected: bool
) -> None:
    assert raw.is_stored_exactly(described, patterns) is expected
