"""Results of evaluations on disk."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from vggq.errors import OptionError, TargetError
from vggq.packing.tuning.cache import ResultCache, default_folder, digest_of


def test_results_are_there_in_the_next_run(tmp_path: Path) -> None:
    ResultCache(tmp_path / "new", "context").put("key", {"size": 3})
    assert ResultCache(tmp_path / "new", "context").get("key") == {"size": 3}


def test_other_contexts_have_other_results(tmp_path: Path) -> None:
    ResultCache(tmp_path, "context").put("key", {"size": 3})
    assert ResultCache(tmp_path, "other").get("key") is None


@pytest.mark.parametrize("cut", range(1, 30))
def test_line_that_was_cut_off_loses_only_its_own_result(tmp_path: Path, cut: int) -> None:
    cache = ResultCache(tmp_path, "c")
    cache.put("one", {"size": 1})
    cache.put("two", {"size": 2})
    path = tmp_path / "c.jsonl"
    path.write_bytes(path.read_bytes()[:-cut])
    again = ResultCache(tmp_path, "c")
    assert again.get("one") == {"size": 1}
    assert again.get("two") == (None if cut > 1 else {"size": 2})
    again.put("three", {"size": 3})
    assert ResultCache(tmp_path, "c").get("three") == {"size": 3}


def test_other_lines_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_bytes(b'[]\n{"key":1,"result":{}}\n\xff\n{"key":"a"}\n')
    assert len(ResultCache(tmp_path, "c")) == 0


def test_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(TargetError, match=r"cannot be written|cannot be read"):
        ResultCache(tmp_path / "file", "c").put("key", {})


def test_without_a_folder_results_are_in_memory() -> None:
    cache = ResultCache(None, "c")
    cache.put("key", {"size": 1})
    assert cache.get("key") == {"size": 1}


def test_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest_of({"a": 1, "b": 2}) == digest_of({"b": 2, "a": 1}) != digest_of({"a": 1})


def test_default_folder_is_that_of_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/caches")
    monkeypatch.setattr("sys.platform", "linux")
    assert default_folder() == Path("/caches/vggq/tune")


def test_user_without_a_home_folder_must_name_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("XDG_CACHE_HOME", "LOCALAPPDATA", "HOME", "USERPROFILE", "HOMEPATH", "HOMEDRIVE"):
        monkeypatch.delenv(name, raising=False)
    if sys.platform != "win32":
        # A user of a container may have no entry here either.
        monkeypatch.setattr("pwd.getpwuid", {}.__getitem__)
    with pytest.raises(OptionError, match=r"cache: this user has no home folder .* with --cache"):
        default_folder()
