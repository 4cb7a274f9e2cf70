"""A small model: its arrays, an .npz source, and a file that the command packed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.helpers import save_npz
from vggq.packing.cli import main

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray


@pytest.fixture
def arrays() -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(3)
    return {
        "a.weight": rng.standard_normal((50, 40)).astype(np.float32),
        "a.bias": rng.standard_normal(50).astype(np.float32),
        "count": np.array(3),
    }


@pytest.fixture
def source(tmp_path: Path, arrays: dict[str, NDArray[Any]]) -> str:
    return str(save_npz(tmp_path / "model.npz", arrays))


@pytest.fixture
def packed(tmp_path: Path, source: str, capsys: pytest.CaptureFixture[str]) -> str:
    target = str(tmp_path / "model.vggq")
    assert main(["pack", source, target]) == 0
    capsys.readouterr()
    return target
