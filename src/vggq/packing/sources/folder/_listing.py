"""The files of a folder that are restored."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Final

from ...._member_paths import MAX_PARTS
from ...._model_checks import MAX_MEMBERS
from ...._readable import LFS_POINTER
from ....errors import SourceError
from .._links import is_below
from .._selection import check_patterns, matches_any

if TYPE_CHECKING:
    from pathlib import Path

    from .._source import ReadOptions

SKIPPED: Final = (".git*", ".cache", ".DS_Store", "__pycache__")
"""Patterns of the names of files and folders that are left out: they belong to no model."""

# Git LFS pointers are smaller than this: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md
_MAX_POINTER_SIZE: Final = 1024
# `stat.IO_REPARSE_TAG_MOUNT_POINT`, which only Windows has.
_JUNCTION_TAG: Final = 0xA0000003


@dataclass(frozen=True, slots=True)
class Listing:
    """The contents of a folder.

    Attributes:
        files: the files to restore, in the order of their relative paths.
        folders: the relative paths of the empty folders to restore, in order.
        skipped: the relative paths of what belongs to no model, in order.

    """

    files: list[Path]
    folders: list[str]
    skipped: list[str]


def list_folder(root: Path, read_options: ReadOptions) -> Listing:
    """Return the contents of a folder that `include` and `exclude` select.

    The result does not depend on the order in which the system lists them.

    Raises:
        OptionError: a pattern matches no file.
        SourceError: the folder cannot be read, has no or too many files, or contains something
            that cannot be restored: a link that leads outside, a pipe, a pointer of Git LFS.

    """
    scan = _Scan(root, read_options)
    scan.run()
    seen = sorted([*scan.files, *scan.folders, *scan.excluded])
    for option in ("include", "exclude"):
        check_patterns(option, getattr(read_options, option), seen, "file")
    if not scan.files:
        raise SourceError("the folder has no files", path=root)
    files = [root / path for path in sorted(scan.files)]
    for file in files:
        _check_content(file)
    return Listing(files, sorted(scan.folders), sorted(scan.skipped))


@dataclass
class _Scan:
    """The search for files.

    Attributes:
        root: the folder.
        options: the options with the patterns.
        files: the paths of the files found.
        folders: those of empty folders.
        skipped: those of what belongs to no model.
        excluded: those that the patterns do not select.

    """

    root: Path
    options: ReadOptions
    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    excluded: list[str] = field(default_factory=list)

    def run(self) -> None:
        """Find the files of all folders, which may be deeper than Python can recurse."""
        folders = [self.root]
        while folders:
            folders += reversed(self._visit(folders.pop()))

    def _visit(self, folder: Path) -> list[Path]:
        """Add the files of a folder, and return the folders in it."""
        entries = _read_entries(folder)
        found = [entry for entry in entries if not _is_skipped(entry.path.name)]
        self.skipped += [self._relative(e.path) for e in entries if _is_skipped(e.path.name)]
        if not found and folder != self.root:
            self._add(folder, self.folders)
        for entry in found:
            if not entry.is_folder:
                self._add_file(entry.path)
        return [entry.path for entry in found if entry.is_folder]

    def _add_file(self, path: Path) -> None:
        # What is left out may be anything.
        if self._add(path, self.files):
            _check_kind(path, self.root)

    def _add(self, path: Path, found: list[str]) -> bool:
        """Add a path, and return whether the patterns select it."""
        relative = self._relative(path)
        include, exclude = self.options.include, self.options.exclude
        is_included = not include or matches_any(relative, include)
        if not is_included or matches_any(relative, exclude):
            self.excluded.append(relative)
            return False
        if relative.count("/") >= MAX_PARTS:
            problem = f"the path has more than {MAX_PARTS} parts; `exclude` can leave it out"
            raise SourceError(problem, path=path)
        found.append(relative)
        if len(found) > MAX_MEMBERS:
            kind = "files" if found is self.files else "empty folders"
            reason = f"more than {MAX_MEMBERS} {kind}, the limit of a packed file"
            raise SourceError(f"{reason}; `exclude` leaves files out", path=self.root)
        return True

    def _relative(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()


@dataclass(frozen=True, slots=True)
class _Entry:
    """A file or a folder, and whether it is a folder, not a link to one."""

    path: Path
    is_folder: bool


def _read_entries(folder: Path) -> list[_Entry]:
    """Return the entries of a folder in the order of their names."""
    try:
        with os.scandir(folder) as entries:
            found = [_Entry(folder / entry.name, _is_folder(entry)) for entry in entries]
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", path=folder) from error
    return sorted(found, key=lambda entry: entry.path.name)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    if not entry.is_dir(follow_symlinks=False):
        return False
    # A junction is a link to a folder, which only Windows has. `DirEntry.is_junction` is new in
    # Python 3.12.
    tag = getattr(entry.stat(follow_symlinks=False), "st_reparse_tag", 0)
    return bool(tag != _JUNCTION_TAG)


def _is_skipped(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in SKIPPED)


def _check_kind(path: Path, root: Path) -> None:
    """Reject what is no file, and links that lead outside of the folder."""
    try:
        resolved = path.resolve(strict=True)
        mode = resolved.stat().st_mode
        is_outside = not is_below(resolved, root.resolve())
    except (OSError, RuntimeError) as error:
        problem = "a link that leads nowhere" if path.is_symlink() else f"cannot be read: {error}"
        raise SourceError(problem, path=path) from error
    if is_outside:
        raise SourceError("a link that leads outside of the folder; copy the file", path=path)
    if stat.S_ISDIR(mode):
        raise SourceError("a link to a folder, which is not followed; copy the folder", path=path)
    if not stat.S_ISREG(mode):
        raise SourceError("not a regular file; `exclude` can leave it out", path=path)


def _check_content(file: Path) -> None:
    """Reject a pointer of Git LFS."""
    try:
        if file.stat().st_size >= _MAX_POINTER_SIZE:
            return
        with file.open("rb") as opened:
            head = opened.read(len(LFS_POINTER))
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror}", path=file) from error
    if head == LFS_POINTER:
        raise SourceError("a Git LFS pointer, not the file; run `git lfs pull`", path=file)
