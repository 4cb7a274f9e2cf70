"""Finding and installing a Chromium for the tests."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from . import browsers
from .browsers import find_chromium, install_chromium, prepare_driver

if TYPE_CHECKING:
    from pathlib import Path


def script(folder: Path, name: str, code: str) -> Path:
    """Write an executable that runs Python code."""
    path = folder / name
    path.write_text(f"#!{sys.executable}\n{code}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def bare_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Replace the search path by an empty folder."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder


def test_chromium_of_the_system_comes_first(bare_path: Path, tmp_path: Path) -> None:
    downloaded = script(tmp_path, "downloaded", "")
    assert find_chromium(downloaded) == downloaded
    system = script(bare_path, "chromium", "")
    assert find_chromium(downloaded) == system


def test_no_chromium_is_found_on_a_bare_system(bare_path: Path, tmp_path: Path) -> None:
    assert not list(bare_path.iterdir())
    assert find_chromium(tmp_path / "none") is None


def test_playwright_is_tried_first(
    bare_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    downloaded = tmp_path / "downloaded"
    code = f"import os, shutil; shutil.copy('/bin/true', {str(downloaded)!r})"
    monkeypatch.setattr(browsers, "PLAYWRIGHT", (sys.executable, "-c", code))
    assert bare_path.exists()
    assert install_chromium(downloaded) == downloaded


@pytest.mark.parametrize("root", [True, False])
def test_debian_is_tried_as_root_if_playwright_fails(
    bare_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, root: bool
) -> None:
    chromium = bare_path / "chromium"
    script(bare_path, "apt-get", f"import shutil; shutil.copy('/bin/true', {str(chromium)!r})")
    failing = (sys.executable, "-c", "import sys; sys.exit('no connection')")
    monkeypatch.setattr(browsers, "PLAYWRIGHT", failing)
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    found = install_chromium(tmp_path / "none")
    if root:
        assert found == chromium
    else:
        assert isinstance(found, str)
        assert found.endswith("failed: no connection")
        assert not chromium.exists()


def test_reason_names_every_failed_attempt(
    bare_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(bare_path, "apt-get", "import sys; sys.exit('E: no such package')")
    failing = (sys.executable, "-c", "import sys; sys.exit('no connection')")
    monkeypatch.setattr(browsers, "PLAYWRIGHT", failing)
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    reason = install_chromium(tmp_path / "none")
    assert isinstance(reason, str)
    assert "no connection" in reason
    assert "`apt-get -qq update` failed: E: no such package" in reason


def test_driver_that_runs_needs_nothing(bare_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(browsers, "DRIVER", (sys.executable, "-c", ""))
    script(bare_path, "apt-get", "import sys; sys.exit('E: not to be called')")
    assert prepare_driver() is None


@pytest.mark.parametrize("root", [True, False])
def test_library_of_the_driver_is_installed_as_root(
    bare_path: Path, monkeypatch: pytest.MonkeyPatch, *, root: bool
) -> None:
    library = bare_path / "library"
    script(bare_path, "apt-get", f"import pathlib; pathlib.Path({str(library)!r}).touch()")
    check = f"import pathlib, sys; sys.exit(not pathlib.Path({str(library)!r}).exists())"
    monkeypatch.setattr(browsers, "DRIVER", (sys.executable, "-c", check))
    monkeypatch.setattr(os, "geteuid", lambda: 0 if root else 1000)
    assert (prepare_driver() is None) is root
    assert library.exists() is root
