"""The remarks on a folder: what is left out, and which files are programs."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final

from .._remarks import list_names, remark_unpacked

if TYPE_CHECKING:
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


def remark_folder(root: Path, listing: Listing) -> tuple[str, ...]:
    """Return a remark on what is left out, and one on programs among the files."""
    unpacked = remark_unpacked({"files and folders": listing.skipped})
    programs = [file.relative_to(root).as_posix() for file in listing.files if _is_program(file)]
    if not programs:
        return unpacked
    return (*unpacked, f"the folder has programs, which will ship: {list_names(programs)}")


def _is_program(file: Path) -> bool:
    """Return whether a file is a script, a program or a shared library."""
    if file.name.lower().endswith(_PROGRAM_SUFFIXES) or ".so." in file.name:
        return True
    # A file that cannot be read is reported when it is hashed.
    with suppress(OSError), file.open("rb") as opened:
        return opened.read(4).startswith(_PROGRAM_STARTS)
    return False
