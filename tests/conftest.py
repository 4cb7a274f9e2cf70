"""What tests of several parts start from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from vggq.packing import pack

from .helpers import save_npz

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture
def state() -> dict[str, NDArray[Any]]:
    """A state dict with one tensor of each kind of treatment."""
    rng = np.random.default_rng(5)
    return {
        "conv.bias": rng.standard_normal(40).astype(np.float32),
        "conv.weight": rng.standard_normal((40, 30)).astype(np.float32),
        "half.weight": rng.standard_normal((40, 30)).astype(np.float16),
        "mask": rng.random((50, 30)) < 0.5,
        "steps": np.array(7),
    }


@pytest.fixture
def packed(tmp_path: Path, state: dict[str, NDArray[Any]]) -> Path:
    """The same, packed at the default of 8 bits."""
    source = save_npz(tmp_path / "state.npz", state)
    return pack(source, tmp_path / "state.vggq").target
