"""Results of evaluations on disk, so that an interrupted run goes on where it was."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import OptionError, TargetError

if TYPE_CHECKING:
    from collections.abc import Mapping


def default_folder() -> Path:
    """Return the folder of this user for caches of `vggq tune`.

    Raises:
        OptionError: the user has no home folder.

    """
    variable, *parts = (
        ("LOCALAPPDATA", "AppData", "Local")
        if sys.platform == "win32"
        else ("XDG_CACHE_HOME", ".cache")
    )
    base = os.environ.get(variable) or Path(_find_home(), *parts)
    return Path(base, "vggq", "tune")


def _find_home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        problem = "this user has no home folder for the results; name a folder with --cache"
        raise OptionError([("cache", problem)]) from error


def digest_of(*parts: object) -> str:
    """Return the SHA-256 of values that JSON can hold."""
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class ResultCache:
    """A file of results by key, one JSON line each.

    A line that was cut off by an interrupt is ignored, and so is one that is no result.

    Args:
        folder: the folder of the file, which is created; None to keep results only in memory.
        context: a digest of everything that results depend on besides their key.

    """

    def __init__(self, folder: Path | None, context: str) -> None:
        self._results: dict[str, dict[str, Any]] = {}
        self._path = None if folder is None else folder / f"{context}.jsonl"
        if self._path is not None:
            self._results = _read_results(self._path)

    def __len__(self) -> int:
        return len(self._results)

    def get(self, key: str) -> dict[str, Any] | None:
        """Return the result of a key, or None."""
        return self._results.get(key)

    def put(self, key: str, result: Mapping[str, Any]) -> None:
        """Store a result, also on disk.

        Raises:
            TargetError: the file cannot be written.

        """
        self._results[key] = dict(result)
        if self._path is None:
            return
        line = json.dumps({"key": key, "result": self._results[key]}) + "\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab", buffering=0) as file:
                # A line that an interrupt has cut off must not swallow this one.
                file.write((line if _ends_line(self._path) else f"\n{line}").encode())
        except OSError as error:
            raise TargetError(f"cannot be written: {error.strerror}", path=self._path) from error


def _ends_line(path: Path) -> bool:
    with path.open("rb") as file:
        if not file.seek(0, os.SEEK_END):
            return True
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


def _read_results(path: Path) -> dict[str, dict[str, Any]]:
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise TargetError(f"cannot be read: {error.strerror}", path=path) from error
    results = {}
    for line in lines:
        try:
            table = json.loads(line)
            key, result = table["key"], table["result"]
        except (ValueError, TypeError, KeyError):
            continue
        if isinstance(key, str) and isinstance(result, dict):
            results[key] = result
    return results
