"""What tests of several parts share."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray


def save_npz(path: Path, arrays: Mapping[str, NDArray[Any]]) -> Path:
    """Write an archive with numpy, whatever the names are."""
    untyped: dict[str, Any] = dict(arrays)
    np.savez(path, **untyped)
    return path
