"""A packed model with tensors of every kind, and a browser for its page."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
import pytest
from filelock import FileLock

from tests.helpers import save_npz
from vggq.packing import pack

from .browsers import find_chromium, install_chromium, prepare_driver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from playwright.sync_api import Browser

MARKUP_NAME = "<script>alert('x')</script> & \"y\""
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="session")
def model() -> dict[str, NDArray[Any]]:
    rng = np.random.default_rng(8)
    wide = rng.standard_normal((50, 40)).astype(np.float32)
    return {
        "layer.2.weight": wide * 0.1,
        "layer.10.weight": np.concatenate([wide, wide * 5]),
        "layer.10.bias": np.arange(50, dtype=np.float32),
        "broken": np.full((40, 40), np.nan, np.float32),
        "none": np.zeros((0, 3), np.float32),
        MARKUP_NAME: wide[:40] * 3,
    }


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory, model: dict[str, NDArray[Any]]) -> Path:
    return save_npz(tmp_path_factory.mktemp("report") / "model.npz", model)


@pytest.fixture(scope="session")
def packed(source: Path) -> Path:
    return pack(source, source.with_suffix(".vggq"), bits=4).target


def provide_chromium(shared: Path, downloaded: Path) -> Path | str:
    """Return a Chromium, or the reason why none can be had; only one process tries to install it.

    Args:
        shared: a folder that all processes of the test run share.
        downloaded: the path where Playwright puts its Chromium.

    """
    with FileLock(shared / "chromium.lock"):
        if (found := find_chromium(downloaded)) is not None:
            return found
        outcome = shared / "no-chromium.txt"
        if not outcome.exists():
            installed = install_chromium(downloaded)
            if isinstance(installed, Path):
                return installed
            outcome.write_text(installed, encoding="utf-8")
        return outcome.read_text(encoding="utf-8")


def shared_folder(factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Return the temporary folder of the test run; each worker of pytest-xdist has one inside."""
    base = factory.getbasetemp()
    return base if worker_id == "master" else base.parent


def stop_without_browser(reason: str) -> NoReturn:
    stop = pytest.fail if os.environ.get("CI") else pytest.skip
    stop(f"no Chromium for the tests of the HTML pages: {reason}")


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Iterator[Browser]:
    """Start a headless Chromium; skip the tests if none can be had, but fail in CI."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    shared = shared_folder(tmp_path_factory, worker_id)
    with FileLock(shared / "driver.lock"):
        reason = prepare_driver()
    if reason is not None:
        stop_without_browser(reason)
    with sync_playwright() as playwright:
        found = provide_chromium(shared, Path(playwright.chromium.executable_path))
        if isinstance(found, str):
            stop_without_browser(found)
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()
