"""The lines of .gitignore, in repositories of git and without one."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from vggq.errors import TargetError
from vggq.packing.init._git import plan_gitignore

if TYPE_CHECKING:
    from pathlib import Path

ON_WINDOWS = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such names")
WILD = pytest.param("a*b?[c].pth", marks=ON_WINDOWS)
SPACE_LAST = pytest.param("b.pth ", marks=ON_WINDOWS)


def git(root: Path, *arguments: str) -> str:
    command = ["git", "-C", str(root), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    git(tmp_path, "init", "-q")
    for name in ("weights/m.pth", "pkg/m.vggq"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    return tmp_path


def plan(root: Path) -> str | None:
    change = plan_gitignore(root, [root / "pkg/m.vggq"], [root / "weights/m.pth"])
    return change.new if change else None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("*.vggq\n/weights/m.pth\n", None),
        ("/pkg/*.vggq\nweights\n", None),
        ("*.pth\n", "*.pth\n*.vggq\n"),
        ("# packed\n*.vggq", "# packed\n*.vggq\n/weights/m.pth\n"),
        ("*\n!*.pth\n!/weights/\n", "*\n!*.pth\n!/weights/\n/weights/m.pth\n"),
    ],
)
def test_only_missing_lines_are_added(repository: Path, old: str, new: str | None) -> None:
    (repository / ".gitignore").write_bytes(old.encode())
    assert plan(repository) == new


def test_tracked_files_are_not_ignored(repository: Path) -> None:
    git(repository, "add", "weights/m.pth")
    assert plan(repository) == f"*.vggq{os.linesep}"
    git(repository, "add", "pkg/m.vggq")
    assert plan(repository) is None


@pytest.mark.parametrize("line", ["weights/", "/weights", "weights", "/weights/", "/weights/m.pth"])
def test_lines_are_found_without_git(tmp_path: Path, line: str) -> None:
    (tmp_path / ".gitignore").write_bytes(f"{line}\n".encode())
    assert plan(tmp_path) == f"{line}\n*.vggq\n"


def test_ignore_file_above_a_folder_without_a_repository_is_not_used(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_text("x\n")
    root = tmp_path / "project"
    root.mkdir()
    change = plan_gitignore(root, [root / "m.vggq"], [])
    assert change is not None
    assert (change.path, change.old) == (root / ".gitignore", None)


@pytest.mark.parametrize("name", [WILD, "#a.pth", "!a.pth", "a .pth", "größe.pth", "b.pth "])
def test_patterns_match_names_with_special_characters(tmp_path: Path, name: str) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / name).touch()
    (tmp_path / "other.pth").touch()
    change = plan_gitignore(tmp_path, [], [tmp_path / name])
    assert change is not None
    change.path.write_bytes(change.new.encode())
    assert git(tmp_path, "status", "--short", "-uall", ".").split() == [
        "??", ".gitignore", "??", "other.pth",
    ]  # fmt: skip
    assert plan_gitignore(tmp_path, [], [tmp_path / name]) is None


def test_unreadable_ignore_files_are_reported(tmp_path: Path) -> None:
    (tmp_path / ".gitignore").write_bytes(b"\xff")
    with pytest.raises(TargetError, match="cannot be read"):
        plan(tmp_path)
