"""A model with a tensor of each kind, packed, and a browser to look at its page with."""

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

ODD_NAME = "<script>alert('x')</script> & \"y\""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HOW = (
    "no browser is installed: `apt-get install chromium`, or `playwright install chromium`; "
    "`-m 'not browser'` leaves these tests out"
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
        ODD_NAME: wide[:40] * 3,
    }


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory, model: dict[str, NDArray[Any]]) -> Path:
    return save_npz(tmp_path_factory.mktemp("report") / "model.npz", model)


@pytest.fixture(scope="session")
def packed(source: Path) -> Path:
    return pack(source, source.with_suffix(".vggq"), bits=4).target


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """A headless Chromium: Debian's, or the one that Playwright installs."""
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    with sync_playwright() as playwright:
        found = next(filter(None, map(shutil.which, BROWSERS)), playwright.chromium.executable_path)
        if not os.path.exists(found):  # noqa: PTH110
            pytest.fail(HOW)
        browser = playwright.chromium.launch(executable_path=found, args=QUIET)
        yield browser
        browser.close()
