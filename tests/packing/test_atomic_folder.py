"""Folders that appear complete or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from vggq.errors import TargetError
from vggq.packing.atomic_folder import atomic_folder


def test_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "new" / "out"
    with atomic_folder(target) as folder:
        (folder / "x").write_text("1")
        assert not target.exists()
    assert (target / "x").read_text() == "1"
    assert list(target.parent.iterdir()) == [target]


def test_relative_folder_is_written_to_the_current_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with atomic_folder(Path("out")) as folder:
        (folder / "x").write_text("1")
    assert os.listdir(tmp_path) == ["out"]  # noqa: PTH208


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_folder_of_a_failed_block_is_removed(tmp_path: Path, error: BaseException) -> None:
    def fail() -> None:
        with atomic_folder(tmp_path / "out") as folder:
            (folder / "x").write_text("1")
            raise error

    with pytest.raises(type(error)):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_files_that_appear_meanwhile_are_kept(tmp_path: Path) -> None:
    target = tmp_path / "out"

    def interfere() -> None:
        with atomic_folder(target):
            target.mkdir()
            (target / "other").write_text("1")

    with pytest.raises(TargetError, match="out: cannot be written: "):
        interfere()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "other"]


def test_parent_that_is_a_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TargetError, match="out: cannot be written: "):
        atomic_folder(tmp_path / "file" / "out").__enter__()
