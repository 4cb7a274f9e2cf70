"""Values that are derived from a manifest."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest

from vggq._codecs import Codebook
from vggq._codecs._scales import Slices
from vggq._manifest import compute_sqnr

from .manifests import EXACT, MANIFEST, QUANTIZED


def test_properties_of_a_manifest() -> None:
    assert MANIFEST.float32_size == 4 * 6 + 8 * 3
    assert MANIFEST.worst == QUANTIZED
    assert MANIFEST.sqnr == QUANTIZED.sqnr == pytest.approx(20)


def test_properties_of_a_tensor() -> None:
    assert math.isinf(EXACT.sqnr)
    assert EXACT.dtype == "int64"
    assert QUANTIZED.dtype == "float32"
    assert (QUANTIZED.count, EXACT.count) == (6, 3)
    assert (QUANTIZED.content_size, EXACT.content_size) == (4 * 4 + 2, 3 * 8)
    assert (QUANTIZED.quantized, EXACT.quantized) == (True, False)


def test_sizes_follow_from_the_codec_and_the_shape() -> None:
    changed = replace(QUANTIZED, shape=(5, 2), codec=Codebook(256))
    assert (changed.count, changed.content_size) == (10, 4 * 256 + 10)
    with pytest.raises(ValueError, match="6 weights cannot be split into 4 slices of runs of 1"):
        replace(QUANTIZED, codec=Codebook(4, Slices(4, 1)))


@pytest.mark.parametrize(
    ("energy", "noise", "expected"),
    [
        (1, 0, math.inf),
        (0, 0, math.inf),
        (0, 1, -math.inf),
        (100, 1, 20),
        (1e308, 1e-308, 6160),
        (1e-308, 1e308, -6160),
    ],
)
def test_sqnr_of_energy_and_noise(energy: float, noise: float, expected: float) -> None:
    assert compute_sqnr(energy, noise) == pytest.approx(expected)
