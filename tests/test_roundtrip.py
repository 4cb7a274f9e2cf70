"""Any state dict, packed and loaded."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import vggq
from vggq.encode import pack

from . import strategies
from .helpers import save_npz

if TYPE_CHECKING:
    from numpy.typing import NDArray


@settings(deadline=None, max_examples=80, suppress_health_check=[HealthCheck.too_slow])
@given(strategies.states, st.integers(1, 8))
def test_any_state_dict(state: dict[str, NDArray[Any]], bits: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        source = save_npz(Path(folder, "s.npz"), state)
        packed = pack(source, Path(folder, "s.vggq"), bits=bits)
        restored = vggq.load(packed.target)
    assert set(restored) == set(state)
    infos = {tensor.name: tensor for tensor in packed.manifest.tensors}
    for name, array in state.items():
        back = restored[name]
        assert back.shape == array.shape
        with np.errstate(over="ignore"):
            expected = array.astype(np.float32) if array.dtype.kind == "f" else array
        assert back.dtype == expected.dtype.newbyteorder("=")
        if infos[name].quantized:
            assert np.unique(back).size <= 2**bits
            assert np.isfinite(back).all()
        if not infos[name].quantized or np.unique(expected).size <= 2**bits:
            np.testing.assert_array_equal(back, expected)
