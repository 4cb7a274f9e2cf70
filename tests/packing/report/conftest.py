"""A packed model with tensors of every kind, and a browser for its page."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.helpers import save_npz
from vggq.packing import pack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray
    from playwright.sync_api import Browser

MARKUP_NAME = "<script>alert('x')</script> & \"y\""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
NO_BROWSER = (
    "no browser is installed: run `apt-get install chromium` or `playwright install chromium`, or "
    "skip these tests with `-m 'not browser'`"
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


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Start a headless Chromium: that of the system, or the one that Playwright installs."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, BROWSERS)), playwright.chromium.executable_path)
        if not os.path.exists(found):  # noqa: PTH110
            pytest.fail(NO_BROWSER)
        browser = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield browser
        browser.close()
