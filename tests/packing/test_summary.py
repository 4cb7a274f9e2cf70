"""Short texts about packed files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tests.helpers import save_npz
from vggq.packing import (
    pack,
)
from vggq.packing.sizes import megabytes
from vggq.packing.summary import describe

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    State = dict[str, NDArray[Any]]


def test_describe(tmp_path: Path) -> None:
    exact = pack(save_npz(tmp_path / "e.npz", {"b": np.zeros(3000)}), tmp_path / "e.vggq")
    assert describe(exact.manifest, 6000) == "12.0 kB of weights in 6.0 kB (2.00x), exact"
    weight = np.random.default_rng(0).standard_normal((50, 50)).astype(np.float32)
    lossy = pack(save_npz(tmp_path / "l.npz", {"w": weight}), tmp_path / "l.vggq", bits=3)
    sqnr = lossy.manifest.sqnr
    assert describe(lossy.manifest, 2000) == (
        f"10.0 kB of weights in 2.0 kB (5.00x), SQNR {sqnr:.2f} dB (worst {sqnr:.2f} dB, w)"
    )
    assert [megabytes(n) for n in (0, 999, 1000, 100_000, 999_949, 999_950)] == [
        "0 B",
        "999 B",
        "1.0 kB",
        "100.0 kB",
        "999.9 kB",
        "1.0 MB",
    ]
