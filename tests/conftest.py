"""Fixtures of several test modules."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from filelock import FileLock
from hypothesis import settings

from vggq.packing import pack

from .helpers import save_npz

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    BuildOnce = Callable[[str, Callable[[Path], object]], Path]


# A limit of wall time for each example fails by chance on a busy machine.
settings.register_profile("no-deadline", settings(), deadline=None)
settings.load_profile("no-deadline")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes() -> None:
    """Limit torch and BLAS to one thread in each worker of pytest-xdist.

    The workers keep all processors busy. More threads would only wait for each other.
    """
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run the slow tests first if workers share the tests, so that no worker waits at the end."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def build_once(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> BuildOnce:
    """Return a function that creates a folder, once for all workers, and fills it with `fill`."""
    base = tmp_path_factory.getbasetemp()
    if hasattr(pytestconfig, "workerinput"):
        base = base.parent

    def build(name: str, fill: Callable[[Path], object]) -> Path:
        folder = base / name
        with FileLock(base / f"{name}.lock"):
            if not folder.exists():
                # A folder that could not be filled does not get the name.
                unfinished = Path(tempfile.mkdtemp(dir=base))
                fill(unfinished)
                unfinished.rename(folder)
        return folder

    return build


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty folder that is the system's folder for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


@pytest.fixture
def state() -> dict[str, NDArray[Any]]:
    """Return a small state dict of quantized and exactly stored tensors of several dtypes."""
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
    """Return a file with the tensors of `state`, packed with 8 bits."""
    source = save_npz(tmp_path / "state.npz", state)
    return pack(source, tmp_path / "state.vggq").target
