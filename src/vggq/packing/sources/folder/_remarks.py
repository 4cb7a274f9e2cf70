"""The remarks on a folder: what is left out, and which files are programs or misnamed."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from .._remarks import list_names, remark_unpacked

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from ._listing import Listing

_PROGRAM_SUFFIXES: Final = (
    ".py", ".pyc", ".pyd", ".so", ".dll", ".dylib", ".exe", ".sh", ".bat", ".cmd", ".ps1", ".js",
    ".jar", ".pl", ".rb", ".lua", ".wasm",
)  # fmt: skip
_PROGRAM_STARTS: Final = (
    b"#!", b"\x7fELF", b"MZ", b"\xfe\xed\xfa\xce", b"\xfe\xed\xfa\xcf", b"\xce\xfa\xed\xfe",
    b"\xcf\xfa\xed\xfe", b"\xca\xfe\xba\xbe", b"\x00asm",
)  # fmt: skip


def remark_folder(root: Path, listing: Listing, misnamed: Collection[Path]) -> tuple[str, ...]:
    """Return the remarks on what is left out, on programs and on misnamed files.

    Args:
        root: the folder.
        listing: its files.
        misnamed: those whose content is not that of their suffix.

    """
    remarks = [*remark_unpacked({"files and folders": listing.skipped})]
    if programs := [file for file in listing.files if _is_program(file)]:
        remarks.append(f"the folder has programs, which will ship: {_list_files(root, programs)}")
    if misnamed:
        names = _list_files(root, misnamed)
        remarks.append(f"stored exactly, because the content is not that of the suffix: {names}")
    return tuple(remarks)


def _list_files(root: Path, files: Collection[Path]) -> str:
    return list_names([file.relative_to(root).as_posix() for file in files])


def _is_program(file: Path) -> bool:
    """Return whether a file is a script, a program or a shared library."""
    if file.name.lower().endswith(_PROGRAM_SUFFIXES) or ".so." in file.name:
        return True
    # A file that cannot be read is reported when it is hashed.
    with suppress(OSError), file.open("rb") as opened:
        return opened.read(4).startswith(_PROGRAM_STARTS)
    return False
