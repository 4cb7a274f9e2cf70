"""The dtype that `load` restores a tensor as."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest

from vggq._arguments import resolve_dtype
from vggq._codecs import Codebook, Raw
from vggq._dtypes import STORAGE
from vggq._manifest import TensorInfo


def info(source_dtype: str) -> TensorInfo:
    return TensorInfo("w", (256,), source_dtype, "F32", 0, Codebook(256), 1.0, 0.0)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2"])
def test_float8_of_the_source_is_restored_as_a_dtype_of_ml_dtypes(name: str) -> None:
    stored = {"float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2"}[name]
    dtype = resolve_dtype("source")(info(stored))
    assert dtype == np.dtype(getattr(ml_dtypes, name))
    every = np.arange(256, dtype=np.uint8)
    out = np.zeros(256, dtype)
    Raw(stored).decode_into(every.tobytes(), out)
    np.testing.assert_array_equal(out.view(np.uint8), every)
    codebook = np.linspace(-2, 2, 256, dtype=np.float32)
    Codebook(256).decode_into(codebook.tobytes() + every.tobytes(), out)
    np.testing.assert_array_equal(out.astype("f4"), codebook.astype(dtype).astype("f4"))


@pytest.mark.parametrize("name", sorted(STORAGE))
def test_resolved_dtypes_are_native(name: str) -> None:
    for dtype in (None, "source", np.float16):
        assert resolve_dtype(dtype)(info(name)).isnative
