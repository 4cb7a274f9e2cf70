"""Diffs of planned changes, and writing them."""

from __future__ import annotations

import stat
import sys
from typing import TYPE_CHECKING

import pytest

from vggq.errors import TargetError
from vggq.packing.init import Change, render_diff, write_changes

if TYPE_CHECKING:
    from pathlib import Path


def test_diff_has_paths_relative_to_the_project(tmp_path: Path) -> None:
    changes = [
        Change(tmp_path / "a" / "x.toml", "1\n\x0c2", "1\n\x0c2\n3"),
        Change(tmp_path / ".gitignore", None, "y\r\n"),
    ]
    assert render_diff(changes, tmp_path / "a") == [
        "--- x.toml",
        "+++ x.toml",
        "@@ -1,2 +1,3 @@",
        " 1",
        "-\x0c2",
        "\\ No newline at end of file",
        "+\x0c2",
        "+3",
        "\\ No newline at end of file",
        "--- /dev/null",
        "+++ ../.gitignore",
        "@@ -0,0 +1 @@",
        "+y",
    ]


def test_files_keep_their_permissions_and_links(tmp_path: Path) -> None:
    real, link, new = tmp_path / "real.toml", tmp_path / "link.toml", tmp_path / "new"
    real.write_bytes(b"old\r\n")
    real.chmod(0o640)
    link.symlink_to(real)
    write_changes([Change(link, "old\r\n", "ü\r\n"), Change(new, None, "x")])
    assert link.is_symlink()
    assert real.read_bytes() == "ü\r\n".encode()
    if sys.platform != "win32":
        assert stat.S_IMODE(real.stat().st_mode) == 0o640
    assert new.read_bytes() == b"x"
    assert {path.name for path in tmp_path.iterdir()} == {"real.toml", "link.toml", "new"}


@pytest.mark.parametrize("found", [b"newer", b"\xff"])
def test_files_that_have_changed_are_not_replaced(tmp_path: Path, found: bytes) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    first.write_bytes(b"1")
    second.write_bytes(found)
    with pytest.raises(TargetError, match=r"changed meanwhile|cannot be read") as caught:
        write_changes([Change(first, "1", "2"), Change(second, "old", "new")])
    assert caught.value.path == second
    assert first.read_bytes() == b"1"
    assert second.read_bytes() == found
    assert {path.name for path in tmp_path.iterdir()} == {"first", "second"}


def test_no_file_is_replaced_if_one_cannot_be_written(tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "file" / "second"
    first.write_bytes(b"1")
    (tmp_path / "file").touch()
    for changes in (
        [Change(first, "1", "2"), Change(second, None, "new")],
        [Change(second, None, "new"), Change(first, "1", "2")],
    ):
        with pytest.raises(TargetError, match="cannot be written"):
            write_changes(changes)
        assert first.read_bytes() == b"1"
        assert {path.name for path in tmp_path.iterdir()} == {"first", "file"}
