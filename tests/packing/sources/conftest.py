"""Fixtures that tests of several formats use."""

from __future__ import annotations

import warnings
from typing import Any

import pytest


@pytest.fixture(scope="module")
def keras(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return Keras, which computes with torch."""
    pytest.importorskip("torch")
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        patch.setenv("KERAS_BACKEND", "torch")
        patch.setenv("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
        warnings.simplefilter("ignore")
        found = pytest.importorskip("keras")
    found.utils.set_random_seed(1)
    return found
